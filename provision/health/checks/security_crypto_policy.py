"""Whether the declared crypto policy is in force."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, decide


def judge(case: Case) -> Outcome:
    """Compare the policy with the declaration; one that is stricter will do."""
    wanted = str(case.expected.said("security", "crypto_policy"))
    found = str(case.part("security.crypto_policy"))
    base, *modules = wanted.split(":")
    seen, *more = found.split(":")
    right = seen in (base, "FIPS")
    # A module may open what the policy closes; the names of those that only close begin so.
    opened = [name for name in more if name not in modules and not name.startswith("NO-")]
    return decide(right and set(modules) <= set(more) and not opened, found or "none", wanted)


CHECK = Check(
    id="security.crypto_policy",
    title="the declared crypto policy is in force, or a stricter one",
    what="Reads which system-wide crypto policy was applied last.",
    why="It is lowered to reach an old server, and then holds for everything.",
    signal="/etc/crypto-policies/state/current",
    severity="high",
    action="inspect",
    advice="update-crypto-policies --set with the declared policy, then restart the services",
    clears="the current policy is the declared one, with no module that opens more",
    judge=judge,
    needs=("security.crypto_policy",),
)

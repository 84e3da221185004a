"""Whether the declared crypto policy is in force."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, decide


def judge(case: Case) -> Outcome:
    """Compare the policy with the declaration."""
    wanted = str(case.expected.said("security", "crypto_policy"))
    found = str(case.part("security.crypto_policy"))
    return decide(found == wanted, found or "none", wanted)


CHECK = Check(
    id="security.crypto_policy",
    title="the declared crypto policy is in force",
    what="Reads which system-wide crypto policy was applied last.",
    why="It is lowered to reach an old server, and then holds for everything.",
    signal="/etc/crypto-policies/state/current",
    severity="high",
    action="inspect",
    advice="update-crypto-policies --set with the declared policy, then restart the services",
    clears="the declared policy is the current one",
    judge=judge,
    needs=("security.crypto_policy",),
)

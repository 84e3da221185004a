"""Whether the kernel is in the declared FIPS mode."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, decide


def judge(case: Case) -> Outcome:
    """Compare the mode with the declaration."""
    word = {True: "on", False: "off"}
    wanted = bool(case.expected.said("security", "fips"))
    found = bool(case.part("security.fips"))
    return decide(found == wanted, word[found], word[wanted])


CHECK = Check(
    id="security.fips",
    title="FIPS mode is as declared",
    what="Reads whether the running kernel is in FIPS mode.",
    why="It is set when the system is installed; an image built without it looks the same.",
    signal="/proc/sys/crypto/fips_enabled",
    severity="high",
    action="inspect",
    advice="install the node again with fips=1: switching it on later is not supported",
    clears="the kernel says the declared mode",
    judge=judge,
    needs=("security.fips",),
)

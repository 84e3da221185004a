"""Whether Secure Boot is as declared."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, NotMeant, Outcome, decide


def judge(case: Case) -> Outcome:
    """Compare the firmware's variable with the declaration."""
    if case.expected.kind == "container":
        raise NotMeant("a container is not booted by firmware")
    word = {True: "on", False: "off"}
    wanted = bool(case.expected.said("security", "secure_boot"))
    found = bool(case.part("security.secure_boot"))
    return decide(found == wanted, word[found], word[wanted])


CHECK = Check(
    id="security.secure_boot",
    title="Secure Boot is as declared",
    what="Reads the firmware's own SecureBoot variable.",
    why="It is switched off in service to start something, and then any kernel module loads.",
    signal="/sys/firmware/efi/efivars/SecureBoot-*",
    severity="high",
    action="inspect",
    advice="switch it on in the firmware's setup; the modules' signer must be enrolled first",
    clears="the firmware says the declared state",
    judge=judge,
    needs=("security.secure_boot",),
)

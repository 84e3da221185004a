"""Whether the container toolkit is the declared one."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, decide


def judge(case: Case) -> Outcome:
    """Compare the toolkit's version with the declared one."""
    case.need_gpus()
    wanted = str(case.expected.said("containers", "toolkit"))
    found = str(case.part("containers.toolkit"))
    return decide(found == wanted, found, wanted)


CHECK = Check(
    id="container.toolkit",
    title="the container toolkit is the declared one",
    what="Asks nvidia-ctk for its version.",
    why="Older versions have known ways out of the container, and write other specifications.",
    signal="nvidia-ctk --version",
    severity="medium",
    action="none",
    advice="install the locked version of all packages of the toolkit",
    clears="the declared version is installed",
    judge=judge,
    needs=("containers.toolkit",),
)

"""Whether library, loaded module and module on disk are of one version."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import UNKNOWN, Check, Outcome, Unseen, fails, holds


def judge(case: Case) -> Outcome:
    """Compare the versions that are loaded, linked and installed."""
    case.need_gpus()
    loaded = str(case.part("driver.loaded")["version"])
    expected = "one version of module, library and the module on disk"
    try:
        case.part("nvml.init")
    except Unseen as error:
        if error.kind == "mismatch":
            return fails(f"loaded {loaded}; {error}", expected)
        raise
    library = str(case.part("nvml.driver"))
    seen = f"loaded {loaded}, library {library}"
    if library != loaded:
        return fails(seen, expected)
    if case.expected.kind == "container":
        return holds(f"{seen}; the module on disk is the host's", expected)
    try:
        disk = str(case.part("driver.disk"))
    except Unseen as error:
        return Outcome(UNKNOWN, f"{seen}; {error}", expected, reason=str(error))
    seen += f", on disk {disk}"
    if disk != loaded:
        return fails(
            f"{seen}: an update waits for a restart",
            expected,
            severity="medium",
            advice="drain the node and restart it, so that the installed driver runs",
        )
    return holds(seen, expected)


CHECK = Check(
    id="gpu.driver.agreement",
    title="library, loaded module and installed module are of one version",
    what="Compares the version of the running kernel module with the library's and with that of"
    " the module that the next start would load.",
    why="After an update without a restart new programs fail to start while old ones still run,"
    " and a restart may bring a driver that nobody has tested.",
    signal="/proc/driver/nvidia/version, nvmlSystemGetDriverVersion, modinfo -F version nvidia",
    severity="critical",
    action="reboot",
    advice="drain the node and restart it; if it still differs, install the locked unit again",
    clears="the three versions are equal",
    judge=judge,
    needs=("driver", "nvml"),
)

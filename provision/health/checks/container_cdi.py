"""Whether there is one CDI specification, and it fits the node."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, NotMeant, Outcome, counted, fails, holds, listed

_KIND = "nvidia.com/gpu"


def judge(case: Case) -> Outcome:
    """Compare the specification with the node's devices, files and driver."""
    case.need_gpus()
    if not case.expected.said("containers", "cdi"):
        raise NotMeant("the declaration says that containers use no CDI")
    found = [s for s in case.part("containers.cdi") if s["kind"] == _KIND]
    expected = f"one specification of {_KIND} that fits the running driver"
    if len(found) != 1:
        names = ", ".join(s["file"] for s in found) or "none"
        return fails(f"{counted(len(found), 'specification')}: {names}", expected)
    told = found[0]
    if told["absent"]:
        return fails(
            f"{told['file']} names what is not there: {listed(told['absent'], 4)}", expected
        )
    running = str(case.part("driver.loaded")["version"])
    if not told["versions"]:
        return fails(f"{told['file']} names no library of the driver", expected)
    other = [v for v in told["versions"] if v != running]
    if other:
        return fails(
            f"{told['file']} is made for driver {', '.join(other)}, not {running}", expected
        )
    whole = [
        d
        for d in told["devices"]
        if d != "all" and ":" not in d and not d.startswith(("GPU-", "MIG-"))
    ]
    cut = [d for d in told["devices"] if ":" in d]
    if "all" not in told["devices"] or not (cut or len(whole) >= case.declared_count):
        return fails(
            f"{told['file']} has the devices {', '.join(told['devices']) or 'none'}", expected
        )
    return holds(f"{told['file']}: {listed(told['devices'], 12)}", expected)


CHECK = Check(
    id="container.cdi",
    title="one CDI specification, and it fits the node",
    what="Reads the CDI specifications, checks that there is one for NVIDIA's GPUs, that the"
    " devices and libraries that it names are there, and that they are of the running driver.",
    why="A specification from before a driver update or a new MIG layout starts containers that"
    " see no GPU or fail at the first call; two specifications contradict each other.",
    signal="/etc/cdi, /var/run/cdi",
    severity="high",
    action="none",
    advice="systemctl restart nvidia-cdi-refresh.service; remove any other specification",
    clears="one specification, made for the running driver, with every GPU",
    judge=judge,
    needs=("containers.cdi", "driver.loaded"),
)

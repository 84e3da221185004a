"""Whether hardware holds the clocks down."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Outcome, Unseen

_HARDWARE = {0x08: "hardware slowdown", 0x40: "hardware thermal slowdown", 0x80: "power brake"}
_SOFTWARE = {0x20: "software thermal slowdown"}
_HARMLESS = {
    0x01: "idle",
    0x02: "application clocks",
    0x04: "power cap",
    0x10: "sync boost",
    0x100: "display clocks",
}


def judge(case: Case) -> Outcome:
    """Read why the clocks are where they are."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        bits = int(gpu.read("reasons"))
        bad = [w for b, w in {**_HARDWARE, **_SOFTWARE}.items() if bits & b]
        known = sum({**_HARDWARE, **_SOFTWARE, **_HARMLESS})
        if bits & ~known:
            raise Unseen(f"a reason that is not known: {bits & ~known:#x}")
        usual = [w for b, w in _HARMLESS.items() if bits & b]
        return not bad, ", ".join(bad or usual) or "nothing holds the clocks"

    return case.each_gpu(one, "neither heat nor power supply holds the clocks down")


CHECK = Check(
    id="gpu.clocks",
    title="neither heat nor power supply holds the clocks down",
    what="Reads the reasons for which the clocks are below their maximum. Idle, a power cap and"
    " chosen clocks are in order.",
    why="One slowed GPU slows the whole job, and it is cooling or power supply that failed.",
    signal="nvmlDeviceGetCurrentClocksEventReasons, bits 0x08, 0x20, 0x40, 0x80",
    severity="high",
    action="inspect",
    advice="look at cooling and power supplies; a power brake is asserted by the chassis",
    clears="none of the four bits is set",
    judge=judge,
    needs=("nvml", "gpu"),
)

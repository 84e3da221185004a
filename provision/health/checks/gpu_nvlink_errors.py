"""Whether NVLink links err."""

from __future__ import annotations

from provision.health.case import Case, Gpu, links_of
from provision.health.words import Check, Limit, Outcome

_GRAVE = ("replay", "recovery")


def judge(case: Case) -> Outcome:
    """Judge replays, recoveries and CRC errors of each GPU's links by their rate."""
    declared = case.expected.gpus.get("nvlinks")

    def one(gpu: Gpu) -> tuple[bool, str]:
        links_of(gpu, declared)
        texts: list[str] = []
        well = True
        for name, limit in (("grave", "grave_per_minute"), ("crc", "crc_per_minute")):
            count = sum(_count(link, name) for link in gpu.read("link_errors"))
            what = "replays and recoveries" if name == "grave" else "CRC errors"
            good, text = case.per_minute(
                f"nvlink.{name}.{gpu.bus}",
                count,
                case.limit(f"gpu.nvlink.errors.{limit}", gpu),
                what,
            )
            well, texts = well and good, [*texts, text]
        return well, ", ".join(texts)

    return case.each_gpu(one, "NVLink links rarely err")


def _count(link: dict[str, int], name: str) -> int:
    return sum(v for k, v in link.items() if (k in _GRAVE) == (name == "grave"))


CHECK = Check(
    id="gpu.nvlink.errors",
    title="NVLink links rarely err",
    what="Sums the error counters of a GPU's links and compares them with the audit before.",
    why="A link that replays and recovers still counts as up, and slows every collective"
    " operation; it comes before a link that is down.",
    signal="nvmlDeviceGetNvLinkErrorCounter or fields 161 to 163, twice",
    severity="high",
    action="inspect",
    advice="drain the node, reset GPUs and switches; if errors come back, inspect the board",
    clears="the rates between two audits are below the limits",
    judge=judge,
    needs=("nvml", "gpu"),
    limits=(
        Limit(
            "gpu.nvlink.errors.grave_per_minute",
            "errors a minute",
            1,
            0,
            10000,
            "DCGM's health watch: one replay or recovery a minute",
        ),
        Limit(
            "gpu.nvlink.errors.crc_per_minute",
            "errors a minute",
            6000,
            1,
            1000000,
            "DCGM's health watch: 100 CRC errors a second",
        ),
    ),
)

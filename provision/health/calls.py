"""Every call that the audit makes of NVML: what came back, and how long it took.

For the first run on hardware, where it is to be seen which calls a model answers, which it does not
support, and what each costs. It makes the audit's own calls, once, in this process: a call that
hangs here hangs the command.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from provision.health.probes import nvml
from provision.health.probes.ask import Ask, Progress
from provision.health.state import write_whole

SCHEMA = "holdfast.health.calls/1"


class _Watch(Progress):
    """Notes when each call begins."""

    def __init__(self) -> None:
        super().__init__()
        self.what, self.since = "", 0.0

    def doing(self, what: str, slow: float = 1.0) -> None:
        """Note it, and when."""
        super().doing(what, slow)
        self.what, self.since = what, time.perf_counter()


def look(library: str = "") -> dict[str, Any]:
    """Make every call once.

    Args:
        library: another libnvidia-ml.so.1 than the system's.

    Returns:
        A document: for every reading the call, what came back (``value``, or ``why`` with the
        words of the code), and ``ms``, the time since that call began. Readings that come of one
        call, as fields do, share its time.
    """
    watch = _Watch()
    seen: list[dict[str, Any]] = []

    def tell(line: bytes) -> None:
        now = time.perf_counter()
        told = json.loads(line)
        row = {"part": told["p"], "call": watch.what, "ms": round(1000 * (now - watch.since), 3)}
        row.update({"why": f"{told['k']}: {told['r']}"} if "k" in told else {"value": told["v"]})
        seen.append(row)

    began = time.perf_counter()
    nvml.look(Ask(tell=tell, progress=watch, library=library))
    whole = round(1000 * (time.perf_counter() - began), 1)
    return {"schema": SCHEMA, "readings": seen, "ms": whole}


def parser() -> argparse.ArgumentParser:
    """The options of the command ``calls``."""
    made = argparse.ArgumentParser(
        prog="holdfast-health calls",
        description="Make each of the audit's calls of NVML once; say what came back, and when.",
        allow_abbrev=False,
    )
    made.add_argument("--nvml", default="", metavar="FILE", help="another libnvidia-ml.so.1")
    made.add_argument("--out", type=Path, metavar="FILE", help="write it here as JSON, whole")
    return made


def main(words: list[str]) -> int:
    """The command ``calls``; returns its exit code: 0 when NVML answered, 1 when it did not."""
    asked = parser().parse_args(words)
    told = look(asked.nvml)
    if asked.out:
        write_whole(asked.out, json.dumps(told, indent=1) + "\n")
    for row in told["readings"]:
        came = row.get("why") or json.dumps(row["value"])
        print(f"{row['ms']:9.3f} ms  {row['part']:44} {came[:100]}")
    print(f"{told['ms']:9.1f} ms  in all")
    return 0 if any("value" in row for row in told["readings"]) else 1

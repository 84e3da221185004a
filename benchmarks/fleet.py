"""How long the fleet view takes over many nodes: results in files, to a report.

    python benchmarks/fleet.py [--nodes N] [--runs N]

The results are those of the real audit on simulated nodes of several kinds, healthy and not, told
as if by N nodes with GPUs of their own. Each run reads and judges all files, keeps them in a
history that has earlier pulls in it, and makes the report; what each form of it takes is told
beside. The audit itself and SSH are not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
AGGREGATED = ("read_and_judge", "history", "report", "terminal")
EARLIER = 3
"""Pulls that are in the history before the first that is measured."""


def main() -> int:
    """Measure, and print one JSON document."""
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        told = measured(Path(scratch), asked.nodes, asked.runs)
    print(json.dumps(told, indent=1))
    return 0


class Clock:
    """Seconds by the name of what took them."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    def of(self, name: str, work: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """Do something, and keep how long it took."""
        before = time.perf_counter(), time.process_time()
        found = work(*args, **given)
        self.spent.setdefault(name, []).append(time.perf_counter() - before[0])
        self.cpu.setdefault(name, []).append(time.process_time() - before[1])
        return found


def figures(told: dict[str, list[float]], one: Callable[[list[float]], float]) -> dict[str, float]:
    """One figure for each name, and that of the way from files to the report on the terminal."""
    whole = [sum(step) for step in zip(*(told[name] for name in AGGREGATED), strict=True)]
    return {name: round(one(found), 3) for name, found in {**told, "aggregated": whole}.items()}


def measured(scratch: Path, count: int, runs: int) -> dict[str, Any]:
    """The figures of `runs` pulls of `count` nodes."""
    from provision.fleet.history import History
    from tests.unit.fleet_support import rack

    nodes = rack(*(f"gpu-{n:04}" for n in range(count)), name="fleet")
    with History(scratch / "history.sqlite") as history:
        for number in range(EARLIER + runs):
            size = written(scratch, [n.name for n in nodes.nodes], number)
            if number <= EARLIER:
                clock = Clock()
            made, sizes = pulled(scratch, nodes, history, clock)
    kept = (scratch / "history.sqlite").stat().st_size
    return {
        "nodes": count,
        "runs": runs,
        "status": made.counts(),
        "changes": len(made.changes),
        "repeats": len(made.repeats),
        "seconds_median": figures(clock.spent, statistics.median),
        "seconds_worst": figures(clock.spent, max),
        "cpu_seconds_median": figures(clock.cpu, statistics.median),
        "bytes": {"results": size, **sizes, "history": kept},
        "largest_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "load_average": [round(x, 1) for x in os.getloadavg()],
    }


def pulled(scratch: Path, nodes: Any, history: Any, clock: Clock) -> tuple[Any, dict[str, int]]:
    """One pull: its report, and how large each form of it is."""
    from provision.fleet import html, metrics, pull, report, terminal

    at = time.time()
    ask = pull.from_files(scratch)
    visits = clock.of("read_and_judge", lambda: [ask(n) for n in nodes.nodes])
    recorded = clock.of("history", history.record, visits, at=at, verb="report")
    made = clock.of("report", report.make, nodes, visits, recorded, history, at=at, source="files")
    text = clock.of("terminal", terminal.render, made)
    valid = {n.name: pull.stale_after(n) for n in nodes.nodes}
    forms = {
        "terminal": text,
        "html": clock.of("html", html.render, made),
        "openmetrics": clock.of("openmetrics", metrics.openmetrics, made, valid),
        "json": clock.of("json", lambda: json.dumps(made.to_json())),
    }
    return made, {name: len(form) for name, form in forms.items()}


def written(scratch: Path, names: list[str], pull: int) -> int:
    """Write a result for each node; most are healthy, and who is not changes from pull to pull."""
    from tests.unit.fleet_support import KINDS, raw, result

    size, now = 0, time.time()
    bad = [k for k in KINDS if k != "healthy"]
    plain = {kind: result(kind) for kind in KINDS}
    for number, name in enumerate(names):
        kind = "healthy"
        if number % 10 == 7 or (number + pull * 13) % 25 == 3:
            kind = bad[(number + pull) % len(bad)]
        told, ended = plain[kind], now - number % 250
        gpus = [{**g, "serial": f"16{number:06}{n:05}", "uuid": f"GPU-{number}-{n}"}
                for n, g in enumerate(told["gpus"])]  # fmt: skip
        text = raw({**told, "node": name, "gpus": gpus, "started": ended - 1, "ended": ended})
        (scratch / f"{name}.json").write_bytes(text)
        size += len(text)
    return size


if __name__ == "__main__":
    sys.exit(main())

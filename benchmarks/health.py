"""What one passive audit of an eight-GPU node costs in processor time and memory, as shipped.

    python benchmarks/health.py [--runs N] [--python PYTHON]

The node is the recorded one of the unit tests with the simulated driver, so the figures hold the
audit's own cost and its children's, not that of NVIDIA's driver. Processor time is that of the
whole process tree; memory is the largest of one process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Measure, and print one JSON document."""
    sys.path.insert(0, str(ROOT))
    from provision.health.build import build
    from tests.unit.health_support import recorded

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--python", default=sys.executable)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        node = recorded(Path(scratch) / "node")
        node.lay()
        program, declaration = Path(scratch) / "audit.pyz", Path(scratch) / "expect.json"
        build(program)
        declaration.write_text(json.dumps(node.expected))
        argv = [
            asked.python, "-I", str(program), "--json", "--expect", str(declaration),
            "--root", str(node.root), "--nvml", str(node.library.nvml), "--journal", "/log.jsonl",
            "--state", str(Path(scratch) / "state"),
        ]  # fmt: skip
        environment = {**os.environ, "HOLDFAST_GPUS_STATE": str(node.state_file)}
        figures = [one(argv, environment) for _ in range(asked.runs)]
    cpu = [f[0] for f in figures]
    told = {
        "runs": len(figures),
        "cpu_s_median": round(statistics.median(cpu), 3),
        "cpu_s_worst": round(max(cpu), 3),
        "largest_process_mib": round(figures[-1][1] / 1024, 1),
        "not_passing": sum(f[2] for f in figures),
    }
    print(json.dumps(told, indent=1))
    return 0


def one(argv: list[str], environment: dict[str, str]) -> tuple[float, float, bool]:
    """Processor seconds of one audit, KiB of the largest process so far, and whether it failed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, after.ru_maxrss, done.returncode != 0


if __name__ == "__main__":
    sys.exit(main())

"""How long a rehearsal takes and how much memory it needs, as whole processes.

    python benchmarks/rehearsal.py              two nodes, then a second `up`, then twelve nodes
    python benchmarks/rehearsal.py --nodes 2    one rehearsal of so many nodes

Run it on a machine that does nothing else: every figure is wall time. Memory is what the whole
machine had less available at the worst moment than before it began.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self


class Memory:
    """Samples the machine's available memory, ten times a second."""

    def __enter__(self) -> Self:
        self.before = self.least = available()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(0.1):
            self.least = min(self.least, available())

    @property
    def peak_mib(self) -> int:
        """How much less was available at the worst moment, in MiB."""
        return (self.before - self.least) // 1024


def available() -> int:
    """MemAvailable in KiB."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1])
    raise RuntimeError("this kernel does not say how much memory is available")


def holdfast(*words: str, inside: list[str] | None = None) -> tuple[int, float, str]:
    """Run holdfast; returns its exit code, seconds and standard output."""
    argv = [*(inside or []), sys.executable, "-m", "provision.cli.main", *words]
    begin = time.monotonic()
    done = subprocess.run(
        argv, env={**os.environ, "CI": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.returncode, time.monotonic() - begin, done.stdout


def rehearse(nodes: int) -> None:
    """One rehearsal from start to end."""
    with Memory() as memory:
        _, seconds, _ = holdfast("rehearse", "--nodes", str(nodes))
    print(f"rehearse --nodes {nodes}: {seconds:.1f} s, {memory.peak_mib} MiB", flush=True)


def second_up(nodes: int) -> None:
    """A provisioned rack, brought up again three times."""
    _, _, out = holdfast("rehearse", "--start-only", "--nodes", str(nodes), "--json")
    rack = json.loads(out)
    try:
        _, first, _ = holdfast("up", rack["inventory"], inside=rack["inside"])
        print(f"first up of {nodes} nodes: {first:.1f} s", flush=True)
        for _ in range(3):
            _, again, said = holdfast("up", rack["inventory"], "--json", inside=rack["inside"])
            report = json.loads(said)
            looked = max(node["looked"] for node in report["plan"]["nodes"])
            changes = report["plan"]["counts"]
            print(f"second up: {again:.1f} s, {looked} tasks a node, {changes}", flush=True)
    finally:
        holdfast("rehearse", "--down", rack["name"])


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--nodes", type=int)
    args = parser.parse_args()
    if args.nodes:
        rehearse(args.nodes)
        return
    rehearse(2)
    second_up(2)
    rehearse(12)


if __name__ == "__main__":
    main()

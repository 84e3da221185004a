"""What audits cost the engine: tokens a second with and without them, in pairs.

    python benchmarks/audit_cost.py --rack NAME [--pairs 20] [--seconds 10]

NAME is a kept rack whose first node has GPUs and the audit (`holdfast rehearse --gpus h100-sxm
--nodes 1 --keep`). Each pair is two windows of the same length, one after the other, in random
order: in one of them the node's own unit, holdfast-health.service, runs once. One client asks
for tokens all the time.

A window of ten seconds with an audit in it has thirty times as many as the timer makes, which runs
one in five minutes. Printed are the median change over the pairs as it was measured, the same as it
comes to at the timer's rate (what an audit costs is spread over five minutes), and for both an
interval that holds the median with 95 % by order statistics. A pair counts only when its audit
began and ended within its window.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
INTERVAL = {20: (5, 14), 10: (1, 8), 6: (0, 5)}
"""For so many pairs, the places of the sorted changes that bound the median with 95 %."""
EVERY_S = 300.0
"""What the timer's unit says."""
UNIT = "holdfast-health"
RESULT = "/var/lib/holdfast/health/result.json"

CLIENT = """
import json, ssl, sys, time, urllib.request
told = json.load(sys.stdin)
context = ssl.create_default_context(cafile=told["ca"])
body = json.dumps({"model": "tiny", "max_tokens": 64, "temperature": 0,
                   "messages": [{"role": "user", "content": "Count."}]}).encode()
head = {"Authorization": "Bearer " + told["key"], "Content-Type": "application/json"}
count, began = 0, time.monotonic()
while time.monotonic() - began < told["seconds"]:
    request = urllib.request.Request(told["base"] + "/v1/chat/completions", body, head)
    with urllib.request.urlopen(request, context=context, timeout=60) as answer:
        count += json.load(answer)["usage"]["completion_tokens"]
print(json.dumps(count / (time.monotonic() - began)))
"""


class Bench:
    """One rack's first node, its engine and its audit."""

    def __init__(self, name: str, seconds: float) -> None:
        from provision.rehearsal import rack as racks
        from tests.rehearsal.conftest import SimulatedRack

        self.rehearsal = racks.load(name)
        self.rack = SimulatedRack(self.rehearsal, self.rehearsal.folder)
        self.node = self.rehearsal.nodes[0]
        self.seconds = seconds
        secrets = self.rehearsal.folder / "secrets"
        self.told = {
            "base": f"https://{self.node.address}:8443",
            "key": (secrets / "api-key").read_text().strip(),
            "ca": os.fspath(secrets / "ca.crt"),
            "seconds": seconds,
        }

    def on_node(self, script: str) -> str:
        """Run a script on the node; what it says."""
        return self.rack.ssh(self.node.name, script).out

    def rate(self) -> float:
        """Tokens a second over one window."""
        argv = [*self.rehearsal.inside(), sys.executable, "-c", CLIENT]
        done = subprocess.run(argv, input=json.dumps(self.told), capture_output=True, text=True,
                              check=True)  # fmt: skip
        return float(json.loads(done.stdout))

    def rate_with_audit(self) -> tuple[float, dict[str, Any]]:
        """The same with one audit in it; the rate, and what the audit says it cost."""
        with ThreadPoolExecutor(1) as pool:
            began = time.time()
            audit = pool.submit(self._audit)
            rate = self.rate()
            ended = time.time()
            found = audit.result()
        whole = began < found["started"] and found["ended"] < ended
        return rate, {"whole": whole, "cpu_s": found["cost"]["cpu_s"]}

    def _audit(self) -> dict[str, Any]:
        time.sleep(random.uniform(0.05, 0.3) * self.seconds)
        found: dict[str, Any] = json.loads(
            self.on_node(f"systemctl start {UNIT}.service; cat {RESULT}")
        )
        return found


def main() -> int:
    """Measure, and print one JSON document."""
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rack", required=True)
    parser.add_argument("--pairs", type=int, default=20, choices=sorted(INTERVAL))
    parser.add_argument("--seconds", type=float, default=10)
    asked = parser.parse_args()
    bench = Bench(asked.rack, asked.seconds)
    bench.on_node(f"systemctl stop {UNIT}.timer")
    try:
        bench.rate_with_audit()
        changes, plain, cpu, cut = measured(bench, asked.pairs)
    finally:
        bench.on_node(f"systemctl start {UNIT}.timer")
    low, high = INTERVAL[asked.pairs]
    whole = {
        "pairs": asked.pairs,
        "seconds": asked.seconds,
        "pairs_left_out": cut,
        "tokens_per_s_median": round(statistics.median(plain), 2),
        "audit_cpu_s_median": round(statistics.median(cpu), 3),
        "with_one_audit_a_window": shown(changes, low, high, 1.0),
        "at_the_timers_rate": shown(changes, low, high, asked.seconds / EVERY_S),
        "load_at_the_end": os.getloadavg()[0],
    }
    print(json.dumps(whole, indent=1))
    return 0


def measured(bench: Bench, pairs: int) -> tuple[list[float], list[float], list[float], int]:
    """Changes in percent, plain rates, CPU seconds of the audits, and how many pairs were cut."""
    changes: list[float] = []
    plain: list[float] = []
    cpu: list[float] = []
    cut = 0
    while len(changes) < pairs:
        if cut > pairs:
            raise SystemExit(f"{cut} audits did not fit into their windows: give --seconds")
        if random.random() < 0.5:
            (rate, audit), without = bench.rate_with_audit(), bench.rate()
        else:
            without, (rate, audit) = bench.rate(), bench.rate_with_audit()
        if not audit["whole"]:
            cut += 1
            continue
        changes.append(100 * (rate / without - 1))
        plain.append(without)
        cpu.append(audit["cpu_s"])
    return sorted(changes), plain, cpu, cut


def shown(changes: list[float], low: int, high: int, share: float) -> dict[str, Any]:
    """Median and interval of the changes, each a `share` of what was measured."""
    return {
        "change_percent_median": round(statistics.median(changes) * share, 3),
        "interval_95_percent": [round(changes[at] * share, 3) for at in (low, high)],
    }


if __name__ == "__main__":
    sys.exit(main())

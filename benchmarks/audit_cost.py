"""What audits cost the engine: tokens a second with and without them, in pairs.

    python benchmarks/audit_cost.py --rack NAME [--pairs 20] [--seconds 30]

NAME is a kept rack whose first node has GPUs and the audit (`holdfast rehearse --gpus h100-sxm
--nodes 1 --keep`). Each pair is two windows of the same length in random order: in one of them the
node's own unit, holdfast-health.service, runs once at a random moment. With windows of 30 s that is
ten times as often as the timer does. One client asks for tokens all the time. Printed are the
median change over the pairs, and an interval that holds it with 95 % by order statistics.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INTERVAL = {20: (5, 14), 10: (1, 8), 6: (0, 5)}
"""For so many pairs, the places of the sorted changes that bound the median with 95 %."""

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


def main() -> int:
    """Measure, and print one JSON document."""
    sys.path.insert(0, str(ROOT))
    from provision.rehearsal import rack as racks
    from tests.rehearsal.conftest import SimulatedRack

    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rack", required=True)
    parser.add_argument("--pairs", type=int, default=20, choices=sorted(INTERVAL))
    parser.add_argument("--seconds", type=float, default=30)
    asked = parser.parse_args()
    rehearsal = racks.load(asked.rack)
    node = rehearsal.nodes[0]
    rack = SimulatedRack(rehearsal, rehearsal.folder)
    secrets = rehearsal.folder / "secrets"
    told = {
        "base": f"https://{node.address}:8443",
        "key": (secrets / "api-key").read_text().strip(),
        "ca": os.fspath(secrets / "ca.crt"),
        "seconds": asked.seconds,
    }

    def window(*, audited: bool) -> float:
        wait = random.uniform(0.1, 0.6) * asked.seconds
        audit = threading.Timer(wait, rack.ssh, [node.name, f"systemctl start {UNIT}.service"])
        if audited:
            audit.start()
        argv = [*rehearsal.inside(), sys.executable, "-c", CLIENT]
        done = subprocess.run(argv, input=json.dumps(told), capture_output=True, text=True,
                              check=True)  # fmt: skip
        if audited:
            audit.join()
        return float(json.loads(done.stdout))

    rack.ssh(node.name, f"systemctl stop {UNIT}.timer")
    window(audited=True)
    changes, plain = [], []
    for _ in range(asked.pairs):
        order = random.sample([True, False], 2)
        rates = {audited: window(audited=audited) for audited in order}
        plain.append(rates[False])
        changes.append(100 * (rates[True] / rates[False] - 1))
    rack.ssh(node.name, f"systemctl start {UNIT}.timer")
    changes.sort()
    low, high = INTERVAL[asked.pairs]
    document = {
        "pairs": asked.pairs,
        "seconds": asked.seconds,
        "tokens_per_s_median": round(statistics.median(plain), 2),
        "change_percent_median": round(statistics.median(changes), 2),
        "interval_95_percent": [round(changes[low], 2), round(changes[high], 2)],
        "load_at_the_end": os.getloadavg()[0],
    }
    print(json.dumps(document, indent=1))
    return 0


UNIT = "holdfast-health"

if __name__ == "__main__":
    sys.exit(main())

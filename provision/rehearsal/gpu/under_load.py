"""Simulated programs that put GPUs under load: dcgmi diag, nvbandwidth and all_reduce_perf.

Nothing is put under load: they answer, in the form of the real ones, from the state file of the
simulated GPUs, and say that they are a simulation. Run under the name of the program that is meant;
Python 3.9, standard library only. No part of it comes from NVIDIA.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

PLACE = "/var/lib/holdfast-simulated-gpus/state.json"
SAYS = "a simulation by Holdfast"
USUAL = {
    "h100-sxm": (2_540_000, 382.0, 470.0),
    "a100-sxm": (1_564_000, 264.0, 234.0),
    "b200": (5_430_000, 760.0, 830.0),
    "l40s": (700_000, 24.0, 22.0),
}
"""By model what is usual: memory in MB/s, a pair of GPUs and all of them in GB/s. Made up within
what others published."""


def main(words: list[str]) -> int:
    """Answer as the program does by whose name this runs."""
    program = Path(words[0]).name
    state = json.loads(Path(os.environ.get("HOLDFAST_GPUS_STATE") or PLACE).read_text())
    text, status = {"dcgmi": _dcgmi, "nvbandwidth": _nvbandwidth, "all_reduce_perf": _nccl}[
        program
    ](state, words[1:])
    for fault in state["faults"]:
        if fault["call"] != program:
            continue
        if fault["hang"]:
            if fault["hang"] == "unkillable":
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            time.sleep(fault["hang_s"] or 1e6)
        if fault["signal"]:
            os.kill(os.getpid(), fault["signal"])
        if fault["bytes"]:
            text = bytes.fromhex(fault["bytes"]).decode("latin-1")
        if fault["truncate"] is not None:
            text = text[: fault["truncate"]]
        status = fault["answer"] or status
    sys.stdout.write(text)
    return int(status)


def _shown(state: dict[str, Any]) -> list[dict[str, Any]]:
    return [gpu for gpu in state["gpus"] if gpu["enumerated"]]


def _dcgmi(state: dict[str, Any], words: list[str]) -> tuple[str, int]:
    """``dcgmi diag -j -r TESTS -p memory_bandwidth.minimum_bandwidth=N``."""
    wanted = words[words.index("-r") + 1].split(",")
    least = float(words[words.index("-p") + 1].partition("=")[2])
    gpus = _shown(state)
    usual = USUAL[state["model"]][0]
    tests: list[dict[str, Any]] = []
    for name in wanted:
        results: list[dict[str, Any]] = []
        for number, gpu in enumerate(gpus):
            under = gpu["load"]
            result: dict[str, Any] = {
                "entity_group": "GPU", "entity_group_id": 1, "entity_id": number, "status": "Pass",
            }  # fmt: skip
            if name == "memory_bandwidth":
                found = under["memory"] * usual
                result["info"] = [f"GPU {number} memory bandwidth: {found:.0f} MB/s ({SAYS})"]
                if found < least:
                    text = f"GPU {number}: {found:.0f} MB/s is below the minimum of {least:.0f}"
                    result |= {"status": "Fail", "warnings": [_warning(text)]}
            elif under["compute"] != "Pass":
                text = f"GPU {number}: results of two multiplications differ"
                result |= {"status": under["compute"], "warnings": [_warning(text)]}
            results.append(result)
        worst = next((r["status"] for r in results if r["status"] != "Pass"), "Pass")
        tests.append({"name": name, "results": results, "test_summary": {"status": worst}})
    document = {
        "DCGM Diagnostic": {"test_categories": [{"category": "Stress", "tests": tests}]},
        "entity_groups": [{
            "entity_group": "GPU", "entity_group_id": 1,
            "entities": [
                {"entity_id": number, "device_id": f"{gpu['pci']['device']:04x}",
                 "serial_num": gpu["serial"]} for number, gpu in enumerate(gpus)
            ],
        }],
        "metadata": {"version": "4.6.0", "Driver Version Detected": state["module"]["version"],
                     "note": SAYS},
    }  # fmt: skip
    bad = any(test["test_summary"]["status"] != "Pass" for test in tests)
    return json.dumps(document, indent=1) + "\n", 226 if bad else 0


def _warning(text: str) -> dict[str, Any]:
    return {"warning": f"{text} ({SAYS})", "error_id": 1, "error_category": 3, "error_severity": 2}


def _nvbandwidth(state: dict[str, Any], words: list[str]) -> tuple[str, int]:
    """``nvbandwidth -j -t TEST``."""
    gpus, usual = _shown(state), USUAL[state["model"]][1]
    shares = [gpu["load"]["nvlink"] for gpu in gpus]
    rows = [
        [
            "N/A" if a == b else f"{usual * min(one, other):.2f}"
            for b, other in enumerate(shares)
        ]
        for a, one in enumerate(shares)
    ]  # fmt: skip
    document = {
        "nvbandwidth": {
            "CUDA Runtime Version": 13000, "Driver Version": state["module"]["version"],
            "git_version": SAYS, "version": "v0.8",
            "testcases": [{
                "name": words[words.index("-t") + 1], "status": "Passed",
                "bandwidth_description": "memcpy CE GPU(row) <- GPU(column) bandwidth (GB/s)",
                "bandwidth_matrix": rows,
                "sum": sum(float(v) for row in rows for v in row if v != "N/A"),
            }],
        }
    }  # fmt: skip
    return json.dumps(document, indent=1) + "\n", 0


def _nccl(state: dict[str, Any], words: list[str]) -> tuple[str, int]:
    """``all_reduce_perf -b SIZE -e SIZE -g N``."""
    gpus, under = _shown(state), state["load"]
    count = int(words[words.index("-g") + 1])
    bus = USUAL[state["model"]][2] * under["bus"]
    size = 4 << 30
    alone = bus * count / (2 * (count - 1)) or 1e-9
    cells = f"{size / alone / 1e3:.1f} {alone:.2f} {bus:.2f}"
    ranks = "".join(
        f"#  Rank {n:2d} Group  0 Pid {os.getpid()} on node device {n:2d} [{gpu['pci']['address']}]"
        f" {gpu['name']}\n"
        for n, gpu in enumerate(gpus[:count])
    )
    text = (
        f"# nccl-tests ({SAYS})\n# nThread 1 nGpus {count} minBytes {size} maxBytes {size}\n#\n"
        f"# Using devices\n{ranks}#\n"
        "#                          out-of-place           in-place\n"
        "#       size  count  type  redop  root  time  algbw  busbw  #wrong  time  algbw  busbw"
        "  #wrong\n"
        "#        (B)  (elements)               (us)  (GB/s)  (GB/s)         (us)  (GB/s)  (GB/s)\n"
        f"  {size} {size // 4} float sum -1 {cells} {under['wrong']} {cells} {under['wrong']}\n"
        f"# Out of bounds values : {under['wrong']} {'FAILED' if under['wrong'] else 'OK'}\n"
        f"# Avg bus bandwidth    : {bus:g}\n#\n"
    )
    return text, 1 if under["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

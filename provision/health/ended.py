"""How the last audit ended, when it did not end by itself: systemd says so after each run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from provision.health.state import write_whole

FAILURE = "last_failure.json"
TEXTFILE = "holdfast_audit_runs.prom"
METRICS = {
    "last_end_timestamp_seconds": "When systemd last saw an audit end, however it ended.",
    "last_end_ok": "1 when that audit ended by itself, 0 when it was cut off, killed or refused.",
}
"""What Prometheus gets, each name after ``holdfast_audit_``."""
_WORDS = {
    "timeout": "was cut off, because it did not end in time",
    "signal": "was killed",
    "core-dump": "crashed",
    "oom-kill": "was killed for lack of memory",
    "exit-code": "could not run",
    "resources": "could not be started",
    "start-limit-hit": "was started too often",
    "watchdog": "was cut off by the watchdog",
}


def note(folder: Path) -> None:
    """Note how an audit ended, from what systemd tells an ExecStopPost= command.

    Raises:
        OSError: the folder cannot be written.
    """
    result = os.environ.get("SERVICE_RESULT", "")
    now = time.time()
    if result != "success":
        told = {
            "when": now,
            "result": result or "not known",
            "status": os.environ.get("EXIT_STATUS", ""),
        }
        write_whole(folder / FAILURE, json.dumps(told) + "\n")
    values = {"last_end_timestamp_seconds": now, "last_end_ok": float(result == "success")}
    lines = []
    for name, value in values.items():
        lines.append(f"# HELP holdfast_audit_{name} {METRICS[name]}")
        lines.append(f"# TYPE holdfast_audit_{name} gauge")
        lines.append(f'holdfast_audit_{name}{{result="{result}"}} {value:.3f}')
    write_whole(folder / TEXTFILE, "\n".join(lines) + "\n")


def last_failure(folder: Path) -> str:
    """What is noted of the last audit that did not end by itself, in words; empty for none."""
    try:
        told = json.loads((folder / FAILURE).read_text(encoding="utf-8"))
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(told["when"])))
        result = str(told["result"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f"the audit that ended at {when} {_WORDS.get(result, f'failed ({result[:40]})')}"

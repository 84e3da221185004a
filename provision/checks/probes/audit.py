"""The node's own audit: lets it run now, and brings what it found and what it was told.

The service is started as the timer starts it, so that what is proven is what runs by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from typing import Any

from provision.checks.probes import common
from provision.checks.probes.common import Absent, Unseen, gather, read, read_own, run

_MOST = 2 << 20
_TRIES = 3


def _digest(path: str) -> str:
    if not os.path.exists(path):
        raise Absent(f"{path} is not there")
    found = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for piece in iter(lambda: stream.read(1 << 16), b""):
                found.update(piece)
    except OSError as error:
        raise Unseen(f"{path}: {error.strerror}") from error
    return found.hexdigest()


def _platform() -> dict[str, str]:
    told = dict(line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line)
    return {
        "el": told.get("VERSION_ID", "").strip("\"'").partition(".")[0],
        "arch": platform.machine(),
    }


def _start(unit: str, seconds: float) -> str:
    """Let the audit run to its end; why it did not, or nothing."""
    try:
        run(["systemctl", "start", unit], timeout=seconds)
    except Unseen as error:
        return str(error)
    return ""


def _ran(ask: dict[str, Any]) -> dict[str, Any]:
    """The result of an audit that began after it was asked for."""
    if not os.path.exists(ask["program"]):
        raise Absent(f"{ask['program']} is not there")
    wrong, text, again = "", "", True
    for _ in range(_TRIES):
        before = time.time()
        wrong = _start(ask["unit"], ask["seconds"])
        if wrong:
            break
        text = read_own(ask["result"])
        if len(text) > _MOST:
            raise Unseen(f"{ask['result']} has more than {_MOST} bytes")
        told = _told(text)
        # One that ran already is waited for and not started again.
        fresh = told["started"] >= before - 0.5
        if fresh and not (again and told["waits"]):
            return {"text": text}
        if fresh:
            # What grows is known after a second look.
            again = False
            time.sleep(ask["pause"] * common.PATIENCE)
    raise Unseen(wrong or f"{ask['result']} is older than the audit that was asked for")


def _told(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
        statuses = [finding["status"] for finding in told["findings"]]
        return {"started": float(told["started"]), "waits": "unknown" in statuses}
    except (ValueError, KeyError, TypeError) as error:
        raise Unseen(f"the result cannot be read: {type(error).__name__}: {error}") from error


def look(ask: dict[str, Any]) -> dict[str, Any]:
    """Say what the audit found, and which program found it by which declaration."""
    return gather(
        {
            "platform": _platform,
            "program": lambda: _digest(ask["program"]),
            "expect": lambda: json.loads(read_own(ask["expect"])),
            "result": lambda: _ran(ask)["text"],
        }
    )

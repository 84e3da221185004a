"""Processes on the controller: started so that they die with us, known again after we died."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same number.

    `start` is the process's start in clock ticks since the boot, `boot` the id of that boot.
    """

    pid: int
    start: int
    boot: str

    @staticmethod
    def of(pid: int) -> ProcessId | None:
        """The identity of a running process; None when it is gone."""
        start = start_ticks(pid)
        return None if start is None else ProcessId(pid, start, boot_id())

    @property
    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return boot_id() == self.boot and start_ticks(self.pid) == self.start


def boot_id() -> str:
    """The id of the controller's current boot; empty where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command's name stands in brackets and may hold spaces and brackets itself.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def leashed(argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` (an absolute path first) so that it dies with us."""
    leash = Path(__file__).with_name("leash.py")
    return [sys.executable, "-I", os.fspath(leash), str(os.getpid()), *argv]


def end(process: ProcessId, seconds: float, *, wait_first: float = 0.0) -> bool:
    """Wait, then ask a process of an earlier run to end; whether it has ended.

    SIGKILL is never sent: it would leave ansible's workers behind.
    """
    if _gone_within(process, wait_first):
        return True
    try:
        os.kill(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        return True
    return _gone_within(process, seconds)


def _gone_within(process: ProcessId, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process.alive:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.1)
    return True

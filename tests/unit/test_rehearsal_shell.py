"""Running tools: what they said, what they lacked, and that none outlives an interruption."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from provision.core.problems import HoldfastError
from provision.rehearsal.shell import run


def test_says_what_the_tool_said(tmp_path):
    assert run(["cat"], stdin="to be read") == "to be read"
    assert (
        run(["sh", "-c", "echo $WORD; pwd"], env={"WORD": "x"}, cwd=tmp_path) == f"x\n{tmp_path}\n"
    )
    with pytest.raises(HoldfastError, match=r"sh failed with exit status 7:\nno such thing"):
        run(["sh", "-c", "echo no such thing >&2; exit 7"], log=tmp_path / "log")
    assert (tmp_path / "log").read_text() == "no such thing\n"


def test_a_missing_tool_is_named():
    with pytest.raises(HoldfastError, match="no-such-tool is not installed"):
        run(["no-such-tool"])


def test_no_tool_outlives_an_interruption(tmp_path):
    """Neither it nor what it started."""
    pids = tmp_path / "pids"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(["sh", "-c", f"sleep 600 & echo $$ $! > {pids}; wait"])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    end = time.monotonic() + 10
    left = pids.read_text().split()
    assert len(left) == 2
    while left and time.monotonic() < end:
        left = [pid for pid in left if _runs(int(pid))]
    assert left == []


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False

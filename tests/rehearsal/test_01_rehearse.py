"""As somebody who has just heard of Holdfast I type one command. It builds a rack on my machine,
brings it up, asks every node a question, shows me the answers and where the report is, and leaves
nothing behind.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"\bhf-[0-9a-f]{6}\b")
QUESTION = "Who owns this rack?"

pytestmark = pytest.mark.rehearsal


def test_one_command_shows_a_rack_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": os.fspath(tmp_path), "CI": "1"}
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "provision.cli.main", "rehearse"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=600,
        check=False,
    )
    print(f"rehearse: {time.monotonic() - begin:.0f} s")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    shown = done.stdout

    assert "passes: 2 nodes" in shown
    for node in ("n1", "n2"):
        answer = re.search(
            rf"^{node}  {re.escape(QUESTION)}\n +“(.+)”\n +\d+ tokens", shown, re.MULTILINE
        )
        assert answer, f"the answer of {node} is not shown:\n{shown}"
        assert len(answer[1]) > 5
    report = Path(re.search(r"^report: (.+\.html)$", shown, re.MULTILINE)[1])
    page = report.read_text(encoding="utf-8")
    assert page.count(QUESTION) >= 2
    assert "simulated" in shown
    assert "simulated" in page

    name = NAME.search(shown + page)
    assert name, shown
    assert left_of(name[0], tmp_path) == []


def left_of(name: str, state: Path) -> list[str]:
    """What is still there of a rack that was taken down."""
    found = [f"namespace {p}" for p in Path("/run/netns").glob(name)]
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    found += [f"mount {line}" for line in mounts if name in line or os.fspath(state) in line]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, UnicodeDecodeError):
                continue
            if name in words or os.fspath(state) in words:
                found.append(f"process {entry.name}: {words}")
    racks = state / "holdfast/rehearsal"
    return found + [f"file {p}" for p in racks.rglob("*")]

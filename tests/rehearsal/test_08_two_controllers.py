"""Two controllers: whoever comes second is told who holds the rack, and changes nothing.

As one of two administrators I start `holdfast up` while my colleague's run is under way, on the
same machine or on another one. I am told whose run it is and what I can do, and their run goes on
to its end as if I had never come.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.rehearsal import killing
from tests.rehearsal.conftest import SimulatedRack

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("second")]


def wait_for(child: subprocess.Popen[str], run: Path, kind: str, seconds: float = 180) -> None:
    """Wait until the run has journalled an event of this kind."""
    deadline = time.monotonic() + seconds
    while not any(event.kind == kind for event in killing.journal_of(run)):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline, f"no {kind} within {seconds} s"
        time.sleep(0.1)


def started(rack: SimulatedRack, child: subprocess.Popen[str]) -> Path:
    """The folder of the run that this process has begun."""
    deadline = time.monotonic() + 60
    while True:
        for run in rack.runs():
            if json.loads((run / "run.json").read_text())["pid"] == child.pid:
                return run
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_second_to_come_is_told_who_holds_the_rack(
    lone_rack: SimulatedRack, tmp_path: Path
) -> None:
    rack, names = lone_rack, [node.name for node in lone_rack.nodes]
    for name in names:
        rack.ssh(name, "chmod 0600 /etc/chrony.conf")
    first = rack.start("up", rack.inventory)
    run = started(rack, first)
    try:
        beside = rack.holdfast("up", rack.inventory)
        assert beside.code == 3, beside.said()
        for word in (rack.rehearsal.name, run.name, f"process {first.pid}", "holdfast status"):
            assert word in beside.err, beside.said()
        assert beside.err.count("hint: ") == 1

        wait_for(first, run, "lock.taken")
        elsewhere = SimulatedRack(rack.rehearsal, tmp_path / "elsewhere")
        told = elsewhere.holdfast("up", rack.inventory)
        still = first.poll() is None
        out, err = first.communicate(timeout=300)
    finally:
        if first.poll() is None:
            first.kill()
    assert still, "the first run ended before the second had looked"
    assert told.code == 3, told.said()
    for word in ("n1: lock: ", f"held by run {run.name}", f"process {first.pid}", "--break-lock"):
        assert word in told.err, told.said()
    assert [e for e in killing.journal_of(elsewhere.runs()[-1]) if e.kind == "wave.start"] == []

    assert first.returncode == 0, out + err
    for name in names:
        assert rack.ssh(name, "stat -c %a /etc/chrony.conf").out.strip() == "644"
        killing.assert_one_writer(rack.node(name))
        history = (rack.node(name).root / "var/lib/holdfast/history.jsonl").read_text()
        assert run.name in history
        assert elsewhere.runs()[-1].name not in history

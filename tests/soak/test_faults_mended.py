"""A run that every fault of applying stopped, mended and resumed: the whole rack is as if none was.

The journey of the faults (tests/rehearsal/test_06_faults.py) ends its run on the node that they
hit; here it goes on to the end of the rack, and both nodes are compared with those of an
undisturbed one, file by file and unit by unit.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.core.events import NullSink
from provision.rehearsal import rack as racks
from tests.rehearsal import killing, likeness
from tests.rehearsal import test_06_faults as faults
from tests.rehearsal.conftest import SimulatedRack

pytestmark = pytest.mark.soak

NODES = ("n1", "n2")


@contextmanager
def two_nodes(state: Path) -> Iterator[SimulatedRack]:
    """A rack of two bare nodes, taken down at the end."""
    rack = SimulatedRack(
        racks.build(release="10", count=len(NODES), events=NullSink(), keep=False), state
    )
    try:
        yield rack
    finally:
        rack.rehearsal.take_down()


def interrupted(rack: SimulatedRack) -> None:
    """Resume the run, and press Ctrl-C when it applies the second node."""
    child = rack.start("up", rack.inventory, "--resume", "last")
    run = rack.runs()[-1]
    deadline = time.monotonic() + 600
    while not any(e.node == "n2" and e.kind == "phase.end" and not e.data.get("check")
                  for e in killing.journal_of(run)):  # fmt: skip
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=120)
    assert child.returncode == 130


def test_a_rack_that_faults_stopped_ends_as_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", os.fspath(tmp_path))
    with two_nodes(tmp_path) as whole:
        ran = whole.holdfast("up", whole.inventory)
        assert ran.code == 0, ran.said()
        twins = {name: likeness.look_at(whole, name) for name in NODES}
    with two_nodes(tmp_path) as mine:
        resume: tuple[str, ...] = ()
        for spoil in (faults.signed_by_another_key, faults.without_chrony,
                      faults.tampered_podman, faults.other_model):  # fmt: skip
            with faults.served(mine, spoil):
                ran = mine.holdfast("up", mine.inventory, *resume)
            assert ran.code == 3, ran.said()
            resume = ("--resume", "last")
        interrupted(mine)
        ran = mine.holdfast("up", mine.inventory, *resume)
        assert ran.code == 0, ran.said()
        assert len(mine.runs()) == 1
        killing.assert_nothing_redone(mine.runs()[0])
        for name in NODES:
            killing.assert_one_writer(mine.node(name))
            found = likeness.differences(likeness.look_at(mine, name), twins[name])
            assert not found, f"{name}: {len(found)} differences:\n" + "\n".join(found)

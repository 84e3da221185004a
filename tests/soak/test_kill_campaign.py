"""Kill -9 of `holdfast up` at 20 random moments, each resumed and compared with a twin.

Moments are drawn over the whole of an undisturbed run, by its events, so that long and short
tasks are hit in proportion to what they do, and a random part of a second is added. Prints one
line a moment. HOLDFAST_SOAK_SEED repeats a campaign, HOLDFAST_SOAK_KILLS sets their number.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.core.events import NullSink
from provision.rehearsal import rack as racks
from tests.rehearsal import killing, likeness
from tests.rehearsal.conftest import SimulatedRack

pytestmark = pytest.mark.soak


@contextmanager
def one_node(state: Path, release: str = "10") -> Iterator[SimulatedRack]:
    """A rack of one bare node, taken down at the end."""
    built = racks.build(release=release, count=1, events=NullSink(), keep=False)
    rack = SimulatedRack(built, state)
    try:
        yield rack
    finally:
        rack.rehearsal.take_down()


def killed_and_resumed(
    state: Path, chance: random.Random, whole: int, twin: likeness.Likeness
) -> tuple[killing.Kill, float, list[str]]:
    """One kill and one resume; returns where it hit, how long the resume took, what differs."""
    with one_node(state) as rack, killing.Watcher(rack.node("n1")) as watcher:
        kill = killing.kill_up(rack, [], chance.randrange(1, whole), chance.random())
        if not kill.hit:
            return kill, 0.0, []
        begin = time.monotonic()
        ran = rack.holdfast("up", rack.inventory, "--resume", "last")
        took = time.monotonic() - begin
        if ran.code != 0:
            return kill, took, [ran.said()]
        run = rack.runs()[-1]
        killing.assert_nothing_redone(run)
        killing.assert_one_writer(rack.node("n1"))
        killing.assert_no_overlap(watcher, [kill], run)
        return kill, took, likeness.differences(likeness.look_at(rack, "n1"), twin)


def test_twenty_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", os.fspath(tmp_path))
    seed = int(os.environ.get("HOLDFAST_SOAK_SEED") or random.randrange(10**6))
    count = int(os.environ.get("HOLDFAST_SOAK_KILLS") or 20)
    chance = random.Random(seed)
    with one_node(tmp_path) as rack:
        ran = rack.holdfast("up", rack.inventory)
        assert ran.code == 0, ran.said()
        twin = likeness.look_at(rack, "n1")
        whole = len(killing.journal_of(rack.runs()[-1]))
    with capfd.disabled():
        print(f"\nseed {seed}: an undisturbed run has {whole} events and took {ran.seconds:.0f} s")
    wrong: list[str] = []
    number = 0
    while number < count:
        kill, took, found = killed_and_resumed(tmp_path, chance, whole, twin)
        if not kill.hit:
            continue  # it had ended by itself, which shows nothing
        number += 1
        result = f"{len(found)} DIFFERENCES" if found else "the same"
        with capfd.disabled():
            print(
                f"{number:>3}  event {kill.events:>4}  {kill.where:<72.72}  "
                f"resumed in {took:4.0f} s: {result}",
                flush=True,
            )
        wrong += [f"kill {number} at {kill.where}: {line}" for line in found]
    assert not wrong, f"seed {seed}\n" + "\n".join(wrong)

"""Kill and resume: a run that was killed is continued, and the rack ends as if it never was.

As an administrator I lose my laptop's battery, or my session, in the middle of `holdfast up`. I
come back, type `holdfast up INVENTORY --resume last`, and get the rack that I would have had.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.rehearsal import killing, likeness
from tests.rehearsal.conftest import SimulatedRack

pytestmark = pytest.mark.rehearsal


def test_two_kills_and_two_resumes_lead_to_the_same_node(
    rack: SimulatedRack,
    undisturbed: likeness.Likeness,
    fresh_rack: Callable[[int], SimulatedRack],
) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    whole = killing.events_for_one_node(rack.runs()[0])
    mine = fresh_rack(1)
    kills: list[killing.Kill] = []
    with killing.Watcher(mine.node("n1")) as watcher:
        for words in ([], ["--resume", "last"]):
            count = chance.randrange(1, whole // 2)
            kills.append(killing.kill_up(mine, words, count, chance.random()))
            print(f"seed {seed}: killed after {kills[-1].events} of {whole}: {kills[-1].where}")
        ran = mine.holdfast("up", mine.inventory, "--resume", "last")
    assert ran.code == 0, f"seed {seed}\n{ran.said()}"
    run = mine.runs()[-1]
    assert len(mine.runs()) == 1
    killing.assert_nothing_redone(run)
    killing.assert_one_writer(mine.node("n1"))
    killing.assert_no_overlap(watcher, kills, run)
    found = likeness.differences(likeness.look_at(mine, "n1"), undisturbed)
    assert not found, f"seed {seed}: {len(found)} differences:\n" + "\n".join(found)

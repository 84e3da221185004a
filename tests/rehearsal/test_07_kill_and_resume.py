"""Kill and resume: a run that was killed is continued, and the rack ends as if it never was.

As an administrator I lose my laptop's battery, or my session, in the middle of `holdfast up`, and
again while the node restarts. I come back, type `holdfast up INVENTORY --resume last`, and get the
rack that I would have had.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.rehearsal import killing, likeness
from tests.rehearsal.conftest import SimulatedRack
from tests.rehearsal.test_08_two_controllers import wait_for
from tests.rehearsal.test_09_reboot import boot_of

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("second")]


def test_two_kills_and_two_resumes_lead_to_the_same_node(
    lone_rack: SimulatedRack,
    undisturbed: likeness.Likeness,
    fresh_rack: Callable[[int], SimulatedRack],
) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    until_restart = killing.events_before(lone_rack.runs()[0], "n1", "restart.due")
    mine = fresh_rack(1)
    before = boot_of(mine, "n1")
    with killing.Watcher(mine.node("n1")) as watcher:
        count = chance.randrange(1, until_restart * 9 // 10)
        first = killing.kill_up(mine, [], count, chance.random() / 2)
        print(f"seed {seed}: killed after {first.events} of {until_restart}: {first.where}")
        second = killed_while_restarting(mine)
        ran = mine.holdfast("up", mine.inventory, "--resume", "last")
    assert ran.code == 0, f"seed {seed}\n{ran.said()}"
    run = mine.runs()[-1]
    assert len(mine.runs()) == 1
    assert boot_of(mine, "n1") != before
    killing.assert_nothing_redone(run)
    killing.assert_one_writer(mine.node("n1"))
    killing.assert_no_overlap(watcher, [first, second], run)
    found = likeness.differences(likeness.look_at(mine, "n1"), undisturbed)
    assert not found, f"seed {seed}: {len(found)} differences:\n" + "\n".join(found)


def killed_while_restarting(mine: SimulatedRack) -> killing.Kill:
    """Resume the run and kill it when the node has been asked to restart, or is down."""
    child = mine.start("up", mine.inventory, "--resume", "last")
    run = mine.runs()[-1]
    wait_for(child, run, "restart.due")
    time.sleep(2.5)
    at = time.time()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    killing.wait_for_orphans(killing.journal_of(run))
    assert not [e for e in killing.journal_of(run) if e.kind == "restart.end"]
    return killing.Kill(True, len(killing.journal_of(run)), "restart", at)

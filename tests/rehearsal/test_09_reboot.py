"""Restarts: a role asks, the engine restarts the node, and the run goes on.

As an administrator I want a new D-Bus or kernel to be the one that runs, without a second
command from me, and I do not want to find a node waiting because my laptop slept meanwhile.
"""

from __future__ import annotations

import pytest

from tests.rehearsal import killing
from tests.rehearsal.conftest import SimulatedRack

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("first")]

BOOT = "cat /proc/sys/kernel/random/boot_id; cut -d' ' -f22 /proc/1/stat"


def boot_of(rack: SimulatedRack, name: str) -> str:
    """What names this start of the node, as the journal writes it."""
    return ":".join(rack.ssh(name, BOOT).out.split())


def test_each_node_was_restarted_once_and_runs_another_boot(rack: SimulatedRack) -> None:
    events = killing.journal_of(rack.runs()[0])
    for name in ("n1", "n2"):
        due = [e for e in events if e.node == name and e.kind == "restart.due"]
        back = [e for e in events if e.node == name and e.kind == "restart.end"]
        assert [len(due), len(back)] == [1, 1]
        assert due[0].data["reasons"] == ["dbus-broker is newer than the last start"]
        before, now = due[0].data["boot"], boot_of(rack, name)
        assert before.split(":")[0] != now.split(":")[0], "the boot id is that of before"
        assert rack.ssh(name, "ls -A /run/holdfast/reboot-required 2>/dev/null; true").out == ""
        # Phases after the restart came after it.
        later = [e.at for e in events if e.node == name and e.phase == "time" and e.kind ==
                 "phase.end" and not e.data.get("check")]  # fmt: skip
        assert min(later) > back[0].at

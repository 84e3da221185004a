"""As an administrator I run `up` again on a rack that nobody touched. It looks at everything, says
so, and changes nothing, so that I may run it whenever I am in doubt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rehearsal import record

if TYPE_CHECKING:
    from tests.rehearsal.conftest import SimulatedRack

MOST_TASKS = 60

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("first")]


def test_the_second_up_looks_and_changes_nothing(rack: SimulatedRack) -> None:
    ran = rack.holdfast("up", rack.inventory)
    assert ran.code == 0, ran.said()
    second = rack.runs()[-1]

    assert "nothing to change" in ran.out
    assert record.changed(second) == {}
    looked = record.tasks(second, check=True)
    # As many as in the plan of the first run: being done already is no reason not to look.
    assert looked == record.tasks(record.first_up(rack.rehearsal.name), check=True)
    ours = [e for e in record.events(second) if e["kind"] == "task.end"]
    tasks = {node.name: sum(e.get("node") == node.name for e in ours) for node in rack.nodes}
    print(f"second up: {ran.seconds:.1f} s, tasks {tasks}, of them in roles {dict(looked)}")
    assert all(20 <= number <= MOST_TASKS for number in tasks.values())

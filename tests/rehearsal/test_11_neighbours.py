"""What is wrong with one node is said of that node alone."""

from __future__ import annotations

import pytest

from provision.checks.verify import load_checks, suite_files
from provision.inference.smoke import CHECKS
from tests.rehearsal.conftest import SimulatedRack, not_passed

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("first")]


def test_a_defect_of_one_node_is_not_its_neighbours(rack: SimulatedRack) -> None:
    rack.ssh("n1", "systemctl stop chronyd")
    try:
        ran = rack.holdfast("verify", rack.inventory, "--json")
    finally:
        # It follows its server only some seconds after its start; the next journey asks at once.
        rack.ssh("n1", "systemctl start chronyd && chronyc waitsync 60 0 0 1 >/dev/null")
    found = not_passed(ran)
    assert "fail" in found["n1"].values(), ran.said()
    assert found["n2"] == {}, ran.said()


def test_a_node_that_is_gone_is_unknown_throughout(rack: SimulatedRack) -> None:
    changed = rack.edited(
        "gone.yml",
        lambda text: text.replace("ansible_host: 192.0.2.12", "ansible_host: 192.0.2.77"),
    )
    ran = rack.holdfast("verify", changed, "--json")
    found = not_passed(ran)
    assert found["n1"] == {}
    checks = {c.id for c in load_checks(suite_files())} | set(CHECKS)
    assert found["n2"] == dict.fromkeys(checks, "unknown"), ran.said()
    assert ran.code == 1

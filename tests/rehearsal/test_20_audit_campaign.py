"""Every fault of the simulation on a node, through the audit that `up` installed.

As an administrator I want what the audit says on a node to be what it says of recorded nodes: the
same program, started by its own unit, with the node's systemd, journal and driver.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from provision.rehearsal.gpu.faults import FAULTS
from tests.soak.audit_faults import INJECTED

if TYPE_CHECKING:
    from tests.rehearsal.conftest import SimulatedRack

pytestmark = [pytest.mark.soak]

WHICH = 3
RESULT = "/var/lib/holdfast/health/result.json"
NAMED = [i for i in INJECTED if i.id in FAULTS]


def audited(rack: SimulatedRack) -> dict[str, Any]:
    """One audit through the unit: its document."""
    ran = rack.ssh("n1", f"systemctl start holdfast-health.service; cat {RESULT}", timeout=240)
    found: dict[str, Any] = json.loads(ran.out)
    assert found["ended"] > time.time() - 240
    return found


def gating(document: dict[str, Any]) -> dict[str, str]:
    """Checks that fail or are unknown, with status and action; not the log's, which stay."""
    return {
        f["check"]: f"{f['status']} {f['action']}"
        for f in document["findings"]
        if f["status"] in ("fail", "unknown") and not f["check"].startswith("log.")
    }


@pytest.mark.parametrize("injected", NAMED, ids=lambda i: i.id)
def test_a_node_says_what_a_recorded_one_says(audit_rack: SimulatedRack, injected: Any) -> None:
    before = audited(audit_rack)
    assert gating(before) == {}
    meant = {f["check"] for f in before["findings"] if f["status"] != "not_applicable"}
    place = f":{WHICH}" if FAULTS[injected.id].of_gpu else ""
    audit_rack.broken("n1", injected.id + place)
    try:
        if injected.primed:
            time.sleep(5)
        after = audited(audit_rack)
    finally:
        audit_rack.broken("n1", "none")
    wanted = {c: s for c, s in injected.found.items() if c in meant}
    assert gating(after) == {c: s for c, s in wanted.items() if not c.startswith("log.")}
    for check in (c for c in wanted if c.startswith("log.")):
        told = next(f for f in after["findings"] if f["check"] == check)
        assert told["status"] in ("fail", "unknown")
        code = injected.id.partition("-")[2]
        assert not code.isdigit() or f"XID {code}" in json.dumps(told)

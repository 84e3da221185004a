"""The audits of a rack, brought together: what changed, what fails again, and what is not believed.

As an administrator I want to see every morning which GPU of which node is not well since when, and
never to be told that all is well by a node that was not heard.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.rehearsal.conftest import Ran, SimulatedRack

pytestmark = [pytest.mark.together("audit")]
rehearsal = soak = pytest.mark.soak

NARROW = "pci-narrow:2"
WIDTH = "gpu.pcie.width"
RESULT = "/var/lib/holdfast/health/result.json"
PROGRAM = "/usr/libexec/holdfast/holdfast-health.pyz"
STALE = """
python3 - <<'END'
import json, pathlib
path = pathlib.Path("/var/lib/holdfast/health/result.json")
told = json.loads(path.read_text())
told["started"] -= 3600
told["ended"] -= 3600
path.write_text(json.dumps(told))
END
"""
FOREIGN = """
sed -i 's/"node": "n1"/"node": "n2"/' /var/lib/holdfast/health/result.json
"""

CUT = f"head -c 500 {RESULT} >{RESULT}.cut; mv {RESULT}.cut {RESULT}"


@pytest.fixture
def whole(audit_rack: SimulatedRack) -> Iterator[SimulatedRack]:
    """The rack, whole again at the end, with a result of its own."""
    yield audit_rack
    audit_rack.broken("n1", "none")
    audit_rack.ssh(
        "n1",
        f"[ ! -e {PROGRAM}.away ] || mv {PROGRAM}.away {PROGRAM}\n"
        "systemctl start holdfast-health.timer holdfast-health.service\n",
    )


def audit(rack: SimulatedRack, *words: str) -> tuple[Ran, dict[str, Any]]:
    """`holdfast audit WORDS` with --json, and its one node."""
    ran = rack.holdfast("audit", words[0], rack.inventory, *words[1:], "--json")
    (node,) = ran.document["nodes"]
    return ran, node


@rehearsal
def test_what_changed_is_said_with_the_gpu_and_what_to_do(whole: SimulatedRack) -> None:
    ran, node = audit(whole, "run")
    assert (ran.code, node["outcome"], node["shipped"]) == (0, "fresh", False), ran.said()
    assert len(node["gpus"]) == 8
    whole.broken("n1", NARROW)
    ran, node = audit(whole, "run")
    assert ran.code == 1, ran.said()
    bus = node["gpus"][2]["bus"]
    worse = [c for c in ran.document["changes"] if c["check"] == WIDTH]
    assert [(c["kind"], bus in c["thing"]) for c in worse] == [("worse", True)]
    (finding,) = (f for f in node["findings"] if f["check"] == WIDTH)
    assert bus in finding["seen"]
    assert finding["action"]
    assert finding["clears"]
    whole.broken("n1", "none")
    ran, node = audit(whole, "run")
    assert ran.code == 0, ran.said()
    assert [c["kind"] for c in ran.document["changes"] if c["check"] == WIDTH] == ["better"]
    ran = whole.holdfast("audit", "history", whole.inventory, "--check", WIDTH, "--json")
    (spell,) = ran.document["spells"]
    assert (spell["node"], spell["entity"]) == ("n1", bus)
    assert spell["board"] == node["gpus"][2]["serial"]
    assert spell["ended"] is not None


@soak
def test_the_last_result_is_fetched_and_shown_in_every_form(whole: SimulatedRack) -> None:
    page, numbers = (whole.state / name for name in ("fleet.html", "fleet.prom"))
    ran, node = audit(whole, "report", "--html", str(page), "--openmetrics", str(numbers))
    assert (ran.code, node["outcome"]) == (0, "fresh"), ran.said()
    assert "the audit passes on 1 node" in page.read_text()
    healthy = {
        s.labels["node"]: s.value
        for family in text_string_to_metric_families(numbers.read_text())
        for s in family.samples
        if s.name == "holdfast_audit_healthy"
    }
    assert healthy == {"n1": 1}


@rehearsal
def test_a_node_without_the_audit_gets_it_sent_along_and_keeps_nothing(
    whole: SimulatedRack,
) -> None:
    whole.ssh("n1", f"mv {PROGRAM} {PROGRAM}.away")
    before = whole.ssh("n1", "ls -a /run /tmp /var/lib/holdfast/health").out
    ran, node = audit(whole, "run")
    assert (node["outcome"], node["shipped"]) == ("fresh", True), ran.said()
    assert node["counts"]["pass"] > 30
    assert whole.ssh("n1", "ls -a /run /tmp /var/lib/holdfast/health").out == before
    ran = whole.holdfast("audit", "run", whole.inventory)
    assert "sent along" in ran.out


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        pytest.param(STALE, "stale", id="stale", marks=rehearsal),
        pytest.param(FOREIGN, "refused", id="of-another-node", marks=soak),
        pytest.param(CUT, "refused", id="cut", marks=soak),
        pytest.param(f"yes '[' | head -c 5000000 >{RESULT}", "refused", id="endless", marks=soak),
        pytest.param(f"rm {RESULT}", "absent", id="gone", marks=soak),
    ],
)
def test_what_does_not_count_is_unknown(whole: SimulatedRack, script: str, outcome: str) -> None:
    whole.ssh("n1", f"systemctl stop holdfast-health.timer\n{script}")
    ran, node = audit(whole, "report")
    assert (ran.code, node["outcome"], node["status"]) == (1, outcome, "unknown"), ran.said()
    assert node["why"]
    ran, node = audit(whole, "report", "--offline")
    assert (ran.code, node["status"]) == (1, "unknown"), ran.said()


@soak
def test_a_node_that_is_gone_is_unknown(whole: SimulatedRack) -> None:
    away = whole.edited(
        "away.yml", lambda text: text.replace(whole.node("n1").address, "192.0.2.77")
    )
    ran = whole.holdfast("audit", "report", away, "--json")
    (node,) = ran.document["nodes"]
    assert (ran.code, node["outcome"]) == (1, "unreachable"), ran.said()
    assert json.loads(ran.out)["status"] == "unknown"

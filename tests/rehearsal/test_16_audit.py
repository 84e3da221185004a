"""A node with GPUs from bare to answering, and the audit that looks after it.

As an administrator I want a node with GPUs to come up whole, and to be told which GPU it is when
one fails: by a verdict when I ask, and by a timer when I do not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from provision.engine.recorder import INTERNAL
from provision.health.checks.all import checks
from tests.rehearsal import record

if TYPE_CHECKING:
    from tests.rehearsal.conftest import Ran, SimulatedRack

pytestmark = [pytest.mark.soak, pytest.mark.together("audit")]

PHASES = ("gpu_driver", "gpu_fabric", "gpu_mig", "cuda", "container_runtime", "inference",
          "health_audit")  # fmt: skip
GPU_PHASES = ("gpu_", "cuda", "container_runtime", "health_audit")
INSTALL = ("audit", "install")
PATIENCE_S = 1200
"""More than a command needs beside a dozen other programs."""
LOST = 3
"""Which GPU falls off."""


def audits(ran: Ran) -> dict[str, dict[str, Any]]:
    """The audit's findings of a verdict, by check."""
    found = ran.document.get("verdict") or ran.document
    return {f["check"]: f for f in found["findings"] if f["check"].startswith("audit.")}


@pytest.fixture
def whole(audit_rack: SimulatedRack) -> Iterator[SimulatedRack]:
    """The rack, whole again at the end."""
    yield audit_rack
    audit_rack.broken("n1", "none")


def test_a_bare_node_comes_up_with_driver_answer_and_audit(audit_rack: SimulatedRack) -> None:
    assert audit_rack.rehearsed is not None
    assert audit_rack.rehearsed.code == 0
    run = record.first_up(audit_rack.rehearsal.name)
    told = record.events(run)
    ended = {
        e["phase"] for e in told if e["kind"] == "phase.end" and e["status"] in ("ok", "changed")
    }
    assert set(PHASES) <= ended
    assert any(e["kind"] == "restart.end" for e in told)
    announced = record.announced(json.loads((run / "plan.json").read_text()))
    changed = record.changed(run)
    ours = {e for e in announced["n1"] ^ changed["n1"] if e.phase.startswith(GPU_PHASES)}
    assert ours == set()
    verdict = json.loads((run / "verdict.json").read_text())
    found = {f["check"]: f["status"] for f in verdict["findings"]}
    assert found["inference.answers"] == "pass"
    assert found["audit.ran"] == "pass"
    assert {f"audit.{check.id}" for check in checks()} <= set(found)
    proven = [
        "audit.gpu.presence.pci", "audit.gpu.presence.driver", "audit.gpu.driver.version",
        "audit.gpu.fabric", "audit.container.cdi", "audit.host.services",
    ]  # fmt: skip
    assert {check: found[check] for check in proven} == dict.fromkeys(proven, "pass")
    title = next(f["title"] for f in verdict["findings"] if f["check"] == "audit.gpu.fabric")
    assert title in (run / "report.html").read_text(), "what passes stands there by its title"


def test_a_second_up_and_an_install_change_nothing(audit_rack: SimulatedRack) -> None:
    ran = audit_rack.holdfast("up", audit_rack.inventory, timeout=PATIENCE_S)
    assert ran.code == 0, ran.said()
    assert "nothing to change" in ran.out
    assert record.changed(audit_rack.runs()[-1]) == {}
    ran = audit_rack.holdfast(*INSTALL, audit_rack.inventory, "--json", timeout=PATIENCE_S)
    assert ran.code == 0, ran.said()
    assert ran.document["plan"]["counts"]["changes"] == 0
    told = record.events(audit_rack.runs()[-1])
    phases = {e["phase"] for e in told if e["kind"] == "task.end"} - INTERNAL
    assert phases == {"health_audit"}


def test_verify_says_which_gpu_fell_off(whole: SimulatedRack) -> None:
    whole.broken("n1", f"gpu-lost:{LOST}")
    ran = whole.holdfast("verify", whole.inventory, "--json", timeout=PATIENCE_S)
    assert ran.code == 1, ran.said()
    found = audits(ran)
    lost = found["audit.gpu.presence.driver"]
    assert lost["status"] == "fail"
    assert f"GPU {LOST}: NVML 15: the GPU is lost" in lost["seen"]
    assert (lost["severity"], lost["action"].partition(":")[0]) == ("critical", "reboot")
    assert lost["clears"]
    # What could not be asked of it is not well either, and nothing else is wrong.
    rest = {check: f["status"] for check, f in found.items() if f is not lost}
    assert set(rest.values()) == {"pass", "unknown", "not_applicable"}
    assert rest["audit.gpu.temperature.core"] == "unknown"
    assert rest["audit.gpu.presence.pci"] == rest["audit.host.services"] == "pass"


def test_an_audit_that_somebody_changed_is_not_believed(audit_rack: SimulatedRack) -> None:
    audit_rack.ssh("n1", "echo '# changed' >>/usr/libexec/holdfast/holdfast-health.pyz")
    ran = audit_rack.holdfast(*INSTALL, audit_rack.inventory, "--json", timeout=PATIENCE_S)
    assert ran.code == 0, ran.said()
    assert ran.document["plan"]["counts"]["changes"] == 1
    assert audits(ran)["audit.ran"]["status"] == "pass"


def test_the_timer_runs_it_and_it_leaves_figures(audit_rack: SimulatedRack) -> None:
    script = """
systemctl is-active holdfast-health.timer
systemctl show -P NextElapseUSecRealtime holdfast-health.timer
python3 -c 'import json; print(json.load(open("/var/lib/holdfast/health/result.json"))["status"])'
grep -c '^holdfast_audit_check{' /var/lib/holdfast/health/holdfast_audit.prom
"""
    state, due, status, figures = audit_rack.ssh("n1", script).out.split("\n")[:4]
    assert state == "active"
    assert due not in ("", "n/a")
    assert status == "pass"
    assert int(figures) == len(checks())

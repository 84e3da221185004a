"""The audit on its schedule, with the units as they ship and a real systemd.

As somebody who relies on a timer I want to see when it has stopped, when an audit hung, and never
half a result.
"""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.core.events import NullSink
from provision.health import build
from provision.rehearsal import rack as racks
from tests.rehearsal.cluster import until
from tests.rehearsal.conftest import SimulatedRack

pytestmark = [pytest.mark.soak]

UNITS = Path(build.__file__).parent / "units"
FOLDER = "/var/lib/holdfast/health"
PYZ = "/usr/libexec/holdfast/holdfast-health.pyz"
EXPECT = {"schema": "holdfast.health.expect/1", "node": "n1", "kind": "container",
          "gpus": {"count": 0}, "slurm": {"drain": True}}  # fmt: skip
NAGIOS = f"python3 -I {PYZ} --from {FOLDER}/result.json --format nagios --max-age"


class Node:
    """A bare node with the audit, its timer stopped."""

    def __init__(self, rack: SimulatedRack) -> None:
        self.rack = rack

    def run(self, script: str) -> str:
        """What a script says; it need not succeed."""
        return self.rack.ssh("n1", script, check=False).out.strip()

    def put(self, path: str, data: bytes, mode: str = "0644") -> None:
        """Write a file."""
        text = base64.encodebytes(data).decode()
        script = f"install -D -m {mode} /dev/null {path}\nbase64 -d >{path} <<'END'\n{text}END\n"
        self.rack.ssh("n1", script)

    def conf(self, unit: str, text: str) -> None:
        """Change a unit until `restored`."""
        self.put(f"/run/systemd/system/{unit}.d/test.conf", text.encode())
        self.rack.ssh("n1", "systemctl daemon-reload")

    def slow(self, seconds: float) -> None:
        """Let a site's check take its time, and so the audit."""
        said = 'echo \'{"status": "pass", "seen": "slow"}\''
        body = f"#!/bin/sh\nsleep {seconds}\n{said}\n"
        self.put("/etc/holdfast/health/checks.d/slow", body.encode(), "0755")

    def restored(self) -> None:
        """Put everything back."""
        self.run(f"""
systemctl stop holdfast-health.timer holdfast-health.service
systemctl reset-failed holdfast-health.service
rm -rf /run/systemd/system/holdfast-health.*.d /etc/holdfast/health/checks.d/* {FOLDER}/*
systemctl daemon-reload
systemctl start holdfast-health.service""")

    def result(self) -> dict[str, Any]:
        """The last result; it must be whole."""
        found = json.loads(self.run(f"cat {FOLDER}/result.json"))
        assert {"status", "findings", "ended"} <= set(found)
        return found

    def metric(self, name: str) -> float:
        """A figure of the textfiles."""
        text = self.run(f"cat {FOLDER}/*.prom")
        return float(re.search(rf"(?m)^{name}{{[^}}]*}} (\S+)$", text)[1])

    def state(self, name: str) -> str:
        """A property of the service."""
        return self.run(f"systemctl show -P {name} holdfast-health.service")


@pytest.fixture(scope="module")
def bare(state_home: Path) -> Iterator[SimulatedRack]:
    """One bare node."""
    os.environ["XDG_STATE_HOME"] = os.fspath(state_home)
    built = racks.build(release="10", count=1, events=NullSink(), keep=False)
    found = SimulatedRack(built, state_home)
    yield found
    found.rehearsal.take_down()


@pytest.fixture
def node(bare: SimulatedRack) -> Node:
    made = Node(bare)
    if made.run(f"[ -e {PYZ} ] && echo there") != "there":
        made.put(PYZ, build.program(), "0755")
        made.put("/etc/holdfast/health/expect.json", json.dumps(EXPECT).encode())
        for unit in UNITS.glob("holdfast-health.*"):
            made.put(f"/etc/systemd/system/{unit.name}", unit.read_bytes())
        made.run("mkdir -p /etc/holdfast/health/checks.d")
    made.restored()
    return made


def test_the_timer_fires_and_catches_up(node: Node) -> None:
    before = node.result()["ended"]
    calendar = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\n"
    node.conf("holdfast-health.timer", calendar)
    node.run("systemctl start holdfast-health.timer")
    until(lambda: node.result()["ended"] > before, "the timer to fire")
    # Off for a while, as a node is: the run that was missed comes at the start.
    node.run("systemctl stop holdfast-health.timer holdfast-health.service")
    yearly = "[Timer]\nOnCalendar=\nOnCalendar=*-01-01\nRandomizedDelaySec=0\n"
    node.conf("holdfast-health.timer", yearly)
    node.run("touch -d '2 years ago' /var/lib/systemd/timers/stamp-holdfast-health.timer")
    before = node.result()["ended"]
    node.run("systemctl start holdfast-health.timer")
    until(lambda: node.result()["ended"] > before, "the missed run")


def test_a_run_that_does_not_come_shows_everywhere(node: Node) -> None:
    assert "HOLDFAST UNKNOWN - /var" not in node.run(f"{NAGIOS} 900")
    time.sleep(1.1)
    assert re.search(r"HOLDFAST UNKNOWN - .*last audit ended \d+ s ago.*\n3$",
                     node.run(f"{NAGIOS} 1; echo $?"))  # fmt: skip
    assert abs(node.metric("holdfast_audit_valid_until_timestamp_seconds")
               - node.result()["ended"] - 900) < 0.01  # fmt: skip
    node.run(f"rm {FOLDER}/result.json")
    assert re.search(r"HOLDFAST UNKNOWN - .*\n3$", node.run(f"{NAGIOS} 900; echo $?"))
    told = node.run(f"python3 -I {PYZ} slurm check 2>&1; echo $?")
    assert told.splitlines()[-1] == "3", told
    assert "no audit has ended" in told or "has just started" in told or "scontrol" in told


def test_a_result_from_before_a_restart_is_not_believed(node: Node) -> None:
    told = {**node.result(), "boot": "another"}
    node.put(f"{FOLDER}/result.json", json.dumps(told).encode())
    assert "before the node's last start" in node.run(f"{NAGIOS} 900")


def test_an_audit_that_hangs_is_cut_off_and_noted(node: Node) -> None:
    before = node.result()
    node.slow(9)
    node.conf("holdfast-health.service", "[Service]\nTimeoutStartSec=2\n")
    node.run("systemctl start holdfast-health.service")
    assert (node.state("ActiveState"), node.state("Result")) == ("failed", "timeout")
    assert node.result() == before
    assert json.loads(node.run(f"cat {FOLDER}/last_failure.json"))["result"] == "timeout"
    assert node.metric("holdfast_audit_last_end_ok") == 0
    assert "was cut off, because it did not end in time" in node.run(f"{NAGIOS} 1")
    assert node.run("pgrep -f checks.d/slow") == "", "its children went with it"
    node.slow(0)
    node.run("systemctl start holdfast-health.service")
    assert node.metric("holdfast_audit_last_end_ok") == 1
    assert node.result()["ended"] > before["ended"]


def test_two_audits_do_not_meet(node: Node) -> None:
    node.slow(8)
    told = node.run(f"""
systemctl start --no-block holdfast-health.service
until pgrep -f checks.d/slow >/dev/null; do sleep 0.1; done
python3 -I {PYZ} --expect /etc/holdfast/health/expect.json --state {FOLDER} --json; echo "exit $?"
""")
    assert "another audit is running: process" in told
    assert told.splitlines()[-1] == "exit 3"
    until(lambda: node.state("ActiveState") == "inactive", "the first to end")
    assert node.state("Result") == "success"


def test_a_killed_audit_leaves_whole_files(node: Node) -> None:
    for tenths in range(1, 16, 2):
        node.run(f"""
systemctl start --no-block holdfast-health.service
sleep {tenths / 10}; systemctl kill --kill-whom=main -s KILL holdfast-health.service""")
        until(lambda: node.state("ActiveState") in ("failed", "inactive"), "the unit to end")
        for name in ("result.json", "state.json"):
            assert json.loads(node.run(f"cat {FOLDER}/{name}"))
        assert node.run(f"tail -c 1 {FOLDER}/holdfast_audit.prom | od -An -c").strip() == "\\n"
    node.run("systemctl start holdfast-health.service")
    assert node.state("Result") == "success"
    assert node.run(f"ls -A {FOLDER} | grep -v '^[.]' | sort").split() == [
        "holdfast_audit.prom", "holdfast_audit_runs.prom", "last_failure.json", "lock",
        "result.json", "state.json",
    ]  # fmt: skip

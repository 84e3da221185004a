"""How long is waited for a node follows what the inventory says of it: `holdfast_patience`."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from provision.checks import bounded, openscap, shipping
from provision.checks.probes import common
from provision.core.events import NullSink
from provision.engine import restart
from provision.engine.environment import Place, configuration, ssh_options
from provision.inference import smoke
from provision.rack.ssh import SshSettings
from tests.unit import checks_support

SLOW = 7


@pytest.fixture
def rack(tmp_path: Path):
    nodes = [
        checks_support.node(name="usual"),
        checks_support.node(name="slow", address="192.0.2.99", patience=SLOW),
    ]
    return checks_support.rack(tmp_path, *nodes)


def test_a_connection_may_take_longer_and_its_own_setting_wins(rack) -> None:
    settings = SshSettings(Path("known_hosts"), connect_timeout_s=10)
    slow = rack.node("slow")
    assert [settings.seconds(node) for node in rack.nodes] == [10, 10 * SLOW]
    assert settings.seconds(slow.model_copy(update={"connect_timeout_s": 3})) == 3


def test_ansible_waits_for_the_slowest_node() -> None:
    def place(patience: int) -> Place:
        folder = Path("/run/x")
        return Place(folder, folder, folder, folder, patience=patience)

    assert "timeout = 15\n" in configuration(place(1))
    assert f"timeout = {15 * SLOW}\n" in configuration(place(SLOW))
    assert "ServerAliveCountMax=3" in ssh_options(place(1))
    assert f"ServerAliveCountMax={3 * SLOW}" in ssh_options(place(SLOW))


def test_a_restart_may_take_longer(rack, monkeypatch) -> None:
    monkeypatch.setattr(restart, "DEADLINE_S", dict.fromkeys(restart.DEADLINE_S, 0.05))
    monkeypatch.setattr(restart, "POLL_S", 0.01)
    monkeypatch.setattr(restart.Restarter, "_mark", lambda self, name: "same")
    restarter = restart.Restarter(rack, None, SshSettings(Path("x")), NullSink())
    said = [restarter.wait({name: "same"})[name] for name in ("usual", "slow")]
    assert all("did not come back" in one for one in said)
    assert [restarter._limit(n.name) for n in rack.nodes] == [0.05, pytest.approx(0.05 * SLOW)]


def test_a_scan_may_take_longer(rack, monkeypatch, tmp_path) -> None:
    seen: dict[str, list[float]] = {}

    def call(argv, command, stdin, limit_s, out=None):
        seen.setdefault(argv[-1], []).append(limit_s)
        text = b'ID=rhel\nVERSION_ID="10.1"\n\nssg-rhel10-ds.xml\n' if out is None else b""
        return bounded.Answer(0 if out is None else 1, text, b"")

    monkeypatch.setattr(openscap, "_call", call)
    order = openscap.Order("x")
    ssh = SshSettings(tmp_path / "known_hosts")
    openscap.scan_nodes(rack, lambda node, major: order, ssh=ssh, folder=tmp_path, limit_s=100)
    usual_limits, slow_limits = (seen[node.address] for node in rack.nodes)
    assert slow_limits == [one * SLOW for one in usual_limits]
    assert usual_limits == [openscap.LOOK_S, 100 + openscap.LOOK_S]


def test_an_answer_may_take_longer(rack, monkeypatch) -> None:
    seen: dict[str, float] = {}
    monkeypatch.setattr(
        smoke, "ask", lambda node, base, timeout_s: seen.update({node.name: timeout_s}) or []
    )
    smoke.smoke(rack, NullSink(), timeout_s=2.0)
    assert seen == {"usual": 2.0, "slow": 2.0 * SLOW}


class TestProbes:
    def test_what_is_sent_says_it(self) -> None:
        command = shipping.command([], {}, 60, SLOW)
        job = json.loads(zlib.decompress(base64.b64decode(command.rpartition(" ")[2])))
        # The probe is not of ours, so that it shows what each of ours finds.
        source = (
            "from provision.checks.probes import common\n"
            "def look(ask):\n    return {'patience': common.PATIENCE}\n"
        )
        job["areas"] = [["told", source]]
        packed = base64.b64encode(zlib.compress(json.dumps(job).encode())).decode()
        argv = [sys.executable, "-I", "-c", shipping._BOOT, packed]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        said = json.loads(done.stdout.removeprefix(shipping.MARK))
        assert said == {"area": "told", "seen": {"patience": SLOW}}

    def test_a_command_may_take_longer(self, monkeypatch) -> None:
        with pytest.raises(common.Unseen, match=r"did not end within 0\.2 s"):
            common.run(["sleep", "0.5"], timeout=0.2)
        monkeypatch.setattr(common, "PATIENCE", 50)
        assert common.run(["sleep", "0.5"], timeout=0.2) == ""

"""Day two of the GPU stack, on two nodes: another driver and kernel, and back.

As an administrator I want a newer driver on every node, one after the other, with nobody's work
lost, no second node touched when the first is not well, and the way back being the same command.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.core.events import NullSink
from provision.rehearsal import node as nodes
from provision.rehearsal import rack as racks
from provision.rehearsal.gpu import models, onnode, state
from tests.rehearsal import record
from tests.rehearsal.conftest import SimulatedRack
from tests.rehearsal.units import NEWER, SWALLOWED, UNITS, UNTRUSTED

pytestmark = [pytest.mark.soak, pytest.mark.together("units")]

MODEL = "h100-sxm"
FIRST = models.load(MODEL).driver.version
PATIENCE_S = 2400
LOADED = "cat /sys/module/nvidia/version"
INSTALLED = "rpm -q --qf '%{VERSION}\\n' libnvidia-ml kmod-nvidia-open nvidia-fabricmanager"
KERNELS = "rpm -q --qf '%{VERSION}-%{RELEASE}.%{ARCH}\\n' kernel-core"
RECORD = "cat /var/lib/holdfast/drain.json 2>/dev/null"


class Site:
    """The rack, and the site's own way of taking nodes out of service, which notes each call."""

    def __init__(self, rack: SimulatedRack, folder: Path) -> None:
        self.rack, self.log = rack, folder / "site.log"
        self.script = folder / "site"
        self.script.write_text(f'#!/bin/sh\necho "$@" >>{self.log}\n')
        self.script.chmod(0o755)
        self.log.touch()

    def inventory(self, name: str, lock: str, **changes: Any) -> Path:
        """An inventory of the rack with another stack lock; nothing is served."""
        body = yaml.safe_load(self.rack.inventory.read_text())
        everything, group = body["all"]["vars"], body["all"]["children"]["gpu_nodes"]
        for secret in ("holdfast_api_key", "holdfast_tls_ca"):
            everything.pop(secret)
        group["vars"].pop("holdfast_inference")
        for host in group["hosts"].values():
            host.pop("holdfast_tls_certificate")
            host.pop("holdfast_tls_key")
        everything["holdfast_stack"] = lock
        everything["holdfast_waves"]["sizes"] = [2]
        script = str(self.script)
        group["vars"]["holdfast_drain"] = {
            "by": "commands",
            "drain": [script, "out", "{node}"],
            "undrain": [script, "in", "{node}"],
            "deadline_minutes": 0,
        }
        group["vars"].update(changes)
        target = self.rack.inventory.with_name(f"{name}.yml")
        target.write_text(yaml.safe_dump(body, sort_keys=False, width=200))
        return target

    def called(self) -> list[str]:
        """What the site's command was called with since the last time."""
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return lines

    def up(self, inventory: Path, *words: str) -> Any:
        return self.rack.holdfast("up", inventory, "--json", *words, timeout=PATIENCE_S)

    def said(self, name: str, script: str) -> str:
        return self.rack.ssh(name, script, check=False).out.strip()

    def kinds(self) -> list[tuple[str, str]]:
        """The events of the last run that say in which order nodes were handled."""
        shown = ("drain.taken", "restart.end", "gate.end", "drain.lifted")
        told = record.events(self.rack.runs()[-1])
        return [(e["kind"], e["node"]) for e in told if e["kind"] in shown]


@pytest.fixture(scope="module")
def site(state_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two nodes with the first driver, brought up from bare."""
    os.environ["XDG_STATE_HOME"] = os.fspath(state_home)
    built = racks.build(
        release="10", count=2, events=NullSink(), keep=False, gpus=MODEL, units=UNITS
    )
    try:
        found = Site(SimulatedRack(built, state_home), tmp_path_factory.mktemp("site"))
        ran = found.up(found.inventory("first", "stack.lock.json"))
        assert ran.code == 0, ran.said()
        assert found.called() == []
        for name in ("n1", "n2"):
            found.rack.ssh(name, _with_kernel(built.folder / NEWER.lock))
        yield found
    finally:
        built.take_down()


def _with_kernel(path: Path) -> str:
    """A script that installs a lock's kernel beside the one that is there, as dnf does on EL.

    The nodes' dnf is Debian's, which knows no packages that are installed several times.
    """
    lock = json.loads(path.read_text())
    (kernel,) = (row for row in lock["rpms"] if row["name"] == "kernel-core")
    address, place = lock["origins"]["rehearsal"]["address"], lock["repositories"][0]["path"]
    file = f"kernel-core-{kernel['version']}-{kernel['release']}.{kernel['arch']}.rpm"
    return f"curl -sfo /root/k.rpm {address}/{place}/{file} && rpm -i /root/k.rpm"


def whole(site: Site, name: str) -> None:
    """Let a node's GPUs be well, and idle."""
    site.rack.broken(name, "none")


def changed(site: Site, name: str, changes: dict[str, Any]) -> None:
    """Change what a node's simulated GPUs show."""
    node = site.rack.node(name)
    nodes.show_gpus(node, state.changed(onnode.current(node.folder), changes))
    site.rack.ssh(name, "systemctl start holdfast-simulated-gpus.service")


def is_of(site: Site, name: str, version: str) -> None:
    assert site.said(name, LOADED) == version
    assert set(site.said(name, INSTALLED).split()) == {version}
    assert version in site.said(name, "nvidia-smi --query-gpu=driver_version --format=csv")


def test_the_plan_says_what_changes_how_and_what_is_beside_the_lock(
    site: Site, tmp_path: Path
) -> None:
    site.rack.ssh("n1", _stray(tmp_path, "cuda-stray"))
    newer = site.inventory("newer", NEWER.lock)
    ran = site.rack.holdfast("plan", newer, timeout=PATIENCE_S)
    assert ran.code == 0, ran.said()
    assert f"GPU unit: driver {FIRST} to {NEWER.version}; drained first, checked" in ran.out
    assert "installed, and not in the stack lock: cuda-stray-0:1-1." in ran.out
    assert site.called() == []
    ran = site.rack.holdfast("verify", site.rack.inventory.with_name("first.yml"), "--json",
                             timeout=PATIENCE_S)  # fmt: skip
    found = {(f["node"], f["check"]): f for f in ran.document["findings"]}
    stray = found["n1", "gpu_stack.lock"]
    assert (stray["status"], "cuda-stray-0:1-1." in stray["seen"]) == ("fail", True)
    assert found["n2", "gpu_stack.lock"]["status"] == "pass"
    site.rack.ssh("n1", "rpm -e cuda-stray")


def test_a_process_on_a_gpu_refuses_the_change_and_nothing_is_touched(site: Site) -> None:
    newer = site.inventory("newer", NEWER.lock)
    changed(site, "n1", {"gpus.2.processes": [{"pid": 4711, "name": "train"}]})
    ran = site.up(newer)
    assert ran.code == 3, ran.said()
    (problem,) = ran.document["problems"]
    assert problem["where"] == "n1"
    assert "drain: after 0 minutes it is still used: train (4711)" in problem["message"]
    assert "not touched yet: n2" in problem["message"]
    assert site.called() == ["out n1"]
    is_of(site, "n1", FIRST)
    whole(site, "n1")


def test_the_upgrade_goes_node_by_node_drained_and_gated(site: Site) -> None:
    ran = site.up(site.inventory("newer", NEWER.lock))
    assert ran.code == 0, ran.said()
    # The first node is still out from the try before, which the record on it says.
    assert site.called() == ["in n1", "out n2", "in n2"]
    one = [("drain.taken", "n1"), ("restart.end", "n1"), ("gate.end", "n1"), ("drain.lifted", "n1")]
    assert site.kinds() == one + [(kind, "n2") for kind, _ in one]
    for name in ("n1", "n2"):
        is_of(site, name, NEWER.version)
        # The kernel of before is still there.
        assert len(site.said(name, KERNELS).split()) == 2
        assert site.said(name, RECORD) == ""
    found = {f["check"]: f["status"] for f in ran.document["verdict"]["findings"]}
    assert found["audit.gpu.driver.version"] == found["gpu_stack.lock"] == "pass"


def test_a_second_up_changes_nothing(site: Site) -> None:
    ran = site.up(site.inventory("newer", NEWER.lock))
    assert ran.code == 0, ran.said()
    assert ran.document["plan"]["counts"]["changes"] == 0
    assert (site.called(), site.kinds()) == ([], [])


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        (UNTRUSTED, "is signed by Somebody else instead of Holdfast rehearsal"),
        (SWALLOWED, "has no nvidia module"),
    ],
    ids=["untrusted signer", "swallowed DKMS failure"],
)
def test_a_module_that_will_not_load_is_refused_before_the_restart(
    site: Site, unit: Any, says: str
) -> None:
    boot = site.said("n1", "cat /proc/1/stat")
    ran = site.up(site.inventory("bad", unit.lock))
    assert ran.code == 3, ran.said()
    (problem,) = ran.document["problems"]
    assert (problem["where"], says in problem["message"]) == ("n1", True)
    assert "n2" in problem["message"]
    assert site.said("n1", LOADED) == NEWER.version
    assert site.said("n1", "cat /proc/1/stat").split()[21] == boot.split()[21]
    is_of(site, "n2", NEWER.version)
    # The way back is the lock of before; the node is still out until it holds.
    assert site.called() == ["out n1"]
    ran = site.up(site.inventory("newer", NEWER.lock))
    assert ran.code == 0, ran.said()
    assert site.called() == ["in n1"]
    is_of(site, "n1", NEWER.version)


def test_a_node_that_does_not_hold_stays_out_and_no_other_begins(site: Site) -> None:
    first = site.inventory("first", "stack.lock.json")
    changed(site, "n1", {"gpus.3.recovery_action": 1})
    ran = site.up(first)
    assert ran.code == 3, ran.said()
    (problem,) = ran.document["problems"]
    assert "gate: the node does not hold after its change" in problem["message"]
    assert "audit.gpu.recovery is fail" in problem["message"]
    assert site.called() == ["out n1"]
    is_of(site, "n1", FIRST)
    is_of(site, "n2", NEWER.version)
    assert json.loads(site.said("n1", RECORD))["done"] is True
    whole(site, "n1")


def test_a_kill_keeps_the_drain_and_a_resume_ends_it(site: Site) -> None:
    first = site.inventory("first", "stack.lock.json")
    process = site.rack.start("up", first, "--resume", "last")
    try:
        _until(lambda: "out n2" in site.log.read_text(), "the second node's drain")
        _until(lambda: site.said("n2", "ls /run/holdfast/lock.json"), "its lock")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert site.called() == ["in n1", "out n2"]
    kept = json.loads(site.said("n2", RECORD))
    assert (kept["ours"], kept["done"]) == (True, True)
    ran = site.up(first, "--resume", "last")
    assert ran.code == 0, ran.said()
    assert site.called() == ["in n2"]
    for name in ("n1", "n2"):
        is_of(site, name, FIRST)
        assert site.said(name, RECORD) == ""


def test_another_machine_under_the_same_name_is_refused_until_the_inventory_knows_it(
    site: Site,
) -> None:
    first = site.inventory("first", "stack.lock.json")
    pulled = site.rack.holdfast("audit", "run", first, "--json", timeout=PATIENCE_S)
    before = site.said("n2", "nvidia-smi --query-gpu=serial --format=csv,noheader").split()
    node = site.rack.node("n2")
    key = node.host_key
    _replace(site, "n2")
    ran = site.up(first)
    assert ran.code == 3, ran.said()
    (problem,) = ran.document["problems"]
    assert (problem["code"], problem["where"]) == ("preflight.host_key", "n2")
    assert "compare the new key on its console" in problem["hint"]
    text = site.rack.inventory.read_text()
    site.rack.inventory.write_text(text.replace(key, node.host_key))
    first = site.inventory("first", "stack.lock.json")
    ran = site.up(first)
    assert ran.code == 0, ran.said()
    assert site.called() == []
    is_of(site, "n2", FIRST)
    after = site.said("n2", "nvidia-smi --query-gpu=serial --format=csv,noheader").split()
    assert not set(before) & set(after)
    ran = site.rack.holdfast("audit", "run", first, "--json", timeout=PATIENCE_S)
    assert pulled.code == ran.code == 0, ran.said()
    text = json.dumps(ran.document)
    assert all(serial in text for serial in (before[0], after[0]))
    assert "another GPU sits here" in text


def _stray(folder: Path, name: str) -> str:
    """A script that installs a package of this name, which no lock has."""
    spec = folder / "stray.spec"
    spec.write_text(
        f"Name: {name}\nVersion: 1\nRelease: 1\nSummary: stray\nLicense: MIT\n"
        "BuildArch: noarch\n%description\nstray\n%files\n"
    )
    subprocess.run(
        ["rpmbuild", "-bb", "--define", f"_rpmdir {folder}", "--define", f"_topdir {folder}",
         "--define", "_rpmfilename stray.rpm", str(spec)],
        check=True, capture_output=True,
    )  # fmt: skip
    package = base64.b64encode((folder / "stray.rpm").read_bytes()).decode()
    return f"echo {package} | base64 -d >/root/stray.rpm && rpm -i /root/stray.rpm"


def _replace(site: Site, name: str) -> None:
    """Put another machine in a node's place: other host key, other GPUs, nothing on it."""
    rack, node = site.rack.rehearsal, site.rack.node(name)
    drivers = [models.DriverKind.model_validate(one) for one in json.loads(
        (onnode.folder_of(node.folder) / "drivers.json").read_text())]  # fmt: skip
    nodes.remove(node)
    shutil.rmtree(node.folder, ignore_errors=True)
    peers = {"controller": "192.0.2.1", **{one.name: one.address for one in rack.nodes}}
    login = (rack.folder / "secrets/login.pub").read_text()
    nodes.create(node, rack.base, peers, login)
    seen = models.fresh(models.load(MODEL), f"{rack.name}/{name}/another")
    onnode.prepare(node.folder, nodes.machine_id(node), seen, drivers)
    nodes.start(node, rack.base, outlive=False)
    nodes.wait_for_ssh(node, time.monotonic() + 120)


def _until(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.5)

"""What a container cannot show: the profile on a machine with a kernel of its own.

As an administrator I want to see what hardening does to a kernel before it does it to mine:
settings, auditd, modules and mounts hold, also after the machine started again, and nothing that
served before is lost.

`HOLDFAST_SOAK_PROFILE` and `HOLDFAST_SOAK_RELEASE` choose another profile and release; their
baseline for machines has to be there. OpenSCAP, which takes a third of the time, is asked once:
after the restart, about what is to last.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.core.events import NullSink
from provision.rehearsal import rack as racks
from tests.rehearsal import record
from tests.rehearsal.conftest import Ran, SimulatedRack, left_of

pytestmark = pytest.mark.soak

UP_S = 7200.0
SLOW_S = 600.0
PROFILE = os.environ.get("HOLDFAST_SOAK_PROFILE", "cis_l1_server")
RELEASE = os.environ.get("HOLDFAST_SOAK_RELEASE", "10")
BOOT = "cat /proc/sys/kernel/random/boot_id"

HELD = {
    "settings of the kernel": "test $(sysctl -n kernel.yama.ptrace_scope) -ge 1 && "
    "test $(sysctl -n kernel.randomize_va_space) = 2 && "
    "test $(sysctl -n net.ipv4.conf.all.log_martians) = 1",
    "a module that nobody needs does not load": "modprobe usb-storage 2>&1 | grep -q /bin/false",
    "/tmp executes nothing": "cp /bin/true /tmp/t; ! /tmp/t; s=$?; rm /tmp/t; exit $s",
    "/dev/shm executes nothing": "cp /bin/true /dev/shm/t; ! /dev/shm/t; s=$?; rm /dev/shm/t; "
    "exit $s",
    "/home has no devices": "findmnt -no OPTIONS /home | grep -qw nodev",
    "/var/log/audit executes nothing": "findmnt -no OPTIONS /var/log/audit | grep -qw noexec",
}
"""What to see after `up`, and by which command."""

SELINUX = {"base.selinux", "inference.selinux", "hardening.selinux"}
"""Checks that Debian can answer neither way: it has no policy that knows the names of EL."""
BOOT_LOADER = {"hardening.kernel_argument"}
"""The emulator starts the kernel itself, with arguments of its own."""
NOT_DEBIAN = {"hardening.authselect", "hardening.default_target"}
"""Types of which a profile may want nothing from a node without authselect or a desktop."""
UNASKED = {"openscap.scan", "openscap.last_full_scan"}
"""What is unknown as long as OpenSCAP was not asked."""


class Machine(SimulatedRack):
    """A rack of one machine, which answers late while it is busy."""

    def see(self, script: str, *, check: bool = True) -> Ran:
        """Run a script as root; a connection that was not answered in time is tried again."""
        for _ in range(5):
            ran = self.ssh("n1", script, check=False, timeout=SLOW_S)
            if ran.code != 255:
                break
        if check:
            assert ran.code == 0, ran.said()
        return ran

    def judged(self, verb: str, scan: str) -> tuple[Ran, Mapping[str, str]]:
        """`up` or `verify`; how it went, and each check's status. OpenSCAP's are rules."""
        words = (verb, self.inventory, "--scan", scan, "--scan-writes", "results", "--json")
        ran = self.holdfast(*words, timeout=UP_S)
        verdict: dict[str, Any] = ran.document["verdict"] if verb == "up" else ran.document
        return ran, {found["check"]: found["status"] for found in verdict["findings"]}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine, bare at first."""
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", os.fspath(state))
        built = racks.build(
            release=RELEASE,
            count=1,
            events=NullSink(),
            keep=False,
            base="compat",
            kind="vm",
            profile=PROFILE,
        )
        try:
            yield Machine(built, state)
        finally:
            built.take_down()
            assert left_of(built.name, state) == []


def bad(statuses: Mapping[str, str]) -> set[str]:
    """The checks that fail or have no answer."""
    return {check for check, status in statuses.items() if status in ("fail", "unknown")}


def restarted(machine: Machine) -> None:
    """Ask the machine to start again, and wait until it answers from another boot."""
    before = machine.see(BOOT).out
    machine.see("systemd-run --on-active=1 systemctl reboot")
    for _ in range(120):
        ran = machine.ssh("n1", f"sleep 2; {BOOT}", check=False, timeout=SLOW_S)
        if ran.code == 0 and ran.out != before:
            return
    pytest.fail("it did not come back from its restart")


def test_it_has_a_kernel_and_disks_of_its_own(machine: Machine) -> None:
    said = machine.see(f"uname -r; {BOOT}; findmnt -no TARGET -t ext4")
    kernel, boot, *mounts = said.out.split()
    assert kernel != os.uname().release
    assert boot != Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert set(mounts) == {"/", "/home", "/tmp", "/var", "/var/log", "/var/log/audit",
                           "/var/tmp"}  # fmt: skip
    hosts = yaml.safe_load(machine.inventory.read_text())["all"]["children"]["gpu_nodes"]["hosts"]
    assert [host["holdfast_kind"] for host in hosts.values()] == ["vm"]


@pytest.mark.parametrize("what", HELD)
def test_a_bare_machine_does_not_have_it(machine: Machine, what: str) -> None:
    assert machine.see(HELD[what], check=False).code != 0, f"{what} says nothing: it holds anyway"


def test_it_is_provisioned_like_any_node(machine: Machine) -> None:
    ran, statuses = machine.judged("up", "none")
    assert bad(statuses) == UNASKED, ran.said()


@pytest.mark.parametrize("what", HELD)
def test_what_a_container_cannot_show_holds(machine: Machine, what: str) -> None:
    machine.see(HELD[what])


def test_it_holds_after_another_start_and_no_rule_fails_unexpectedly(machine: Machine) -> None:
    restarted(machine)
    for what, script in HELD.items():
        ran = machine.see(script, check=False)
        assert ran.code == 0, f"{what}: {ran.said()}"
    ran, statuses = machine.judged("verify", "full")
    assert ran.code == 0, ran.said()
    assert bad(statuses) == set()
    apart = {check for check, status in statuses.items() if status == "not_applicable"}
    assert apart >= SELINUX | BOOT_LOADER
    hardening = {check for check in apart if check.startswith("hardening.")}
    assert hardening <= SELINUX | BOOT_LOADER | NOT_DEBIAN, "what it can show is judged"


def test_another_run_changes_nothing(machine: Machine) -> None:
    ran, statuses = machine.judged("up", "none")
    assert ran.code == 0, ran.said()
    assert bad(statuses) == set()
    assert record.changed(machine.runs()[-1]) == {}

"""Twenty ways to lock oneself out of a node, and none of them does.

As an administrator I want to harden how one logs in without a console at hand. What obviously
locks out is refused; what turns out to lock out is put back; and when my laptop dies in between,
or the node does, the node puts it back by itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from provision.engine.apply import phases_of
from tests.rehearsal.conftest import ROOT, Ran, SimulatedRack

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("second")]

SITE = ROOT / "provision/collections/ansible_collections/holdfast/core/playbooks/site.yml"
NODE = "n1"
USER = "rack"
DEADLINE_S = 20
Resource = dict[str, Any]
End = Literal["refused", "put back", "never began"]


def sshd(option: str, value: str) -> Resource:
    return {"type": "sshd", "option": option, "value": value}


def line(path: str, text: str, **more: Any) -> Resource:
    return {"type": "line", "path": path, "line": text, **more}


def content(path: str, text: str, mode: str = "0644", **more: Any) -> Resource:
    return {"type": "content", "path": path, "text": text, "mode": mode, **more}


@dataclass(frozen=True)
class Way:
    """A way to lock oneself out.

    `end` says how it ends: refused before anything changes, put back after a login failed, or
    never begun because a second login failed already. `says` is a piece of the message,
    `prepare` and `mend` are scripts that run as root on the node, `variables` go to ansible.
    """

    name: str
    resources: tuple[Resource, ...]
    end: End
    says: str
    prepare: str = ""
    mend: str = ""
    variables: tuple[tuple[str, Any], ...] = ()


SUDOERS = "/etc/sudoers.d/rehearsal"
AS_ROOT = "install -d -m 0700 /root/.ssh && cp ~rack/.ssh/authorized_keys /root/.ssh/"
ZONE = """<?xml version="1.0" encoding="utf-8"?>
<zone><short>Public</short></zone>
"""

WAYS = (
    Way(
        "root's login switched off, and there is no second account",
        (sshd("PermitRootLogin", "no"),),
        "refused",
        "the inventory logs in as root",
        prepare=AS_ROOT,
        mend="rm -r /root/.ssh",
        variables=(("ansible_user", "root"),),
    ),
    Way(
        "root's login with a fixed command only",
        (sshd("PermitRootLogin", "forced-commands-only"),),
        "refused",
        "the inventory logs in as root",
        prepare=AS_ROOT,
        mend="rm -r /root/.ssh",
        variables=(("ansible_user", "root"),),
    ),
    Way("groups without ours", (sshd("AllowGroups", "operators"),), "refused", "AllowGroups: rack"),
    Way("users without us", (sshd("AllowUsers", "ann bob"),), "refused", "AllowUsers: rack"),
    Way("users denied by a pattern", (sshd("DenyUsers", "r*"),), "refused", "DenyUsers: rack"),
    Way("groups denied", (sshd("DenyGroups", "rack"),), "refused", "DenyGroups: rack"),
    Way("no keys", (sshd("PubkeyAuthentication", "no"),), "refused", "pubkeyauthentication no"),
    Way(
        "a key and a password that nobody has",
        # The server takes the method only where it takes passwords at all.
        (
            sshd("PasswordAuthentication", "yes"),
            sshd("AuthenticationMethods", "publickey,password"),
        ),
        "refused",
        "authenticationmethods publickey,password",
    ),
    Way("another port", (sshd("Port", "2222"),), "refused", "port 22 would be closed"),
    Way("one fixed command", (sshd("ForceCommand", "/bin/false"),), "refused", "forcecommand"),
    Way("no sessions", (sshd("MaxSessions", "0"),), "refused", "maxsessions 0"),
    Way(
        "an option that the server does not know",
        (sshd("PermitRotLogin", "no"),),
        "refused",
        "the SSH server would not start",
    ),
    Way(
        "a value that the server does not take",
        (sshd("MaxAuthTries", "several"),),
        "refused",
        "the SSH server would not start",
    ),
    Way(
        "sudoers that sudo cannot read",
        (content("/etc/sudoers.d/90-broken", "Defaults use_pty\nthis is broken\n", "0440"),),
        "refused",
        "would not be read by sudo",
    ),
    Way(
        "a password for sudo that nobody gave",
        ({**line(SUDOERS, f"{USER} ALL=(ALL) ALL"), "match": r"NOPASSWD|^rack "},),
        "refused",
        "sudo would ask rack for a password",
    ),
    Way(
        "no rule for sudo at all",
        (
            {"type": "line", "path": SUDOERS, "match": r"^rack\b", "state": "absent"},
            {"type": "line", "path": "/etc/sudoers", "match": r"^%wheel\b", "state": "absent"},
        ),
        "refused",
        "would not become root any more",
    ),
    Way(
        "a terminal for sudo that automation has not",
        (line("/etc/sudoers.d/90-tty", "Defaults requiretty", mode="0440"),),
        "refused",
        "requiretty",
    ),
    Way(
        "the SSH server masked",
        ({"type": "service", "name": "sshd.service", "state": "masked"},),
        "refused",
        "would cut the node off",
    ),
    Way(
        "an account that has expired",
        (sshd("MaxAuthTries", "4"),),
        "never began",
        "sudo password",
        prepare=f"chage -E 1 {USER}",
        mend=f"chage -E -1 {USER}",
    ),
    Way(
        "a key that has expired",
        (sshd("MaxAuthTries", "4"),),
        "never began",
        "a second login failed already",
        prepare="sed -i '1s/^/expiry-time=\"20200101\" /' ~rack/.ssh/authorized_keys",
        mend="sed -i '1s/^expiry-time=\"20200101\" //' ~rack/.ssh/authorized_keys",
    ),
    Way(
        "keys looked for where none are",
        (sshd("AuthorizedKeysFile", "/etc/ssh/keys/%u"),),
        "put back",
        "a login works again",
    ),
    Way(
        "a host key of a kind that the server has not",
        (sshd("HostKeyAlgorithms", "rsa-sha2-512"),),
        "put back",
        "a login works again",
    ),
    Way(
        "an account that PAM turns away",
        (line("/etc/pam.d/sshd", "account required pam_deny.so"),),
        "put back",
        "a login works again",
    ),
    Way(
        "sudo that PAM turns away",
        (line("/etc/pam.d/sudo", "account required pam_deny.so"),),
        "put back",
        "a login works again",
    ),
    Way(
        "a home that its owner cannot enter",
        ({"type": "file", "path": f"/home/{USER}", "mode": "0000"},),
        "put back",
        "a login works again",
    ),
    Way(
        "the port closed by the firewall",
        (content("/etc/firewalld/zones/public.xml", ZONE, reload="firewalld.service"),),
        "put back",
        "a login works again",
    ),
    Way(
        "no room for the way back",
        (sshd("MaxAuthTries", "4"),),
        "refused",
        "nothing was changed",
        prepare="mkdir -p /var/lib/holdfast/hardening && "
        "mount -t tmpfs -o size=4k none /var/lib/holdfast/hardening && "
        "head -c 4096 /dev/zero > /var/lib/holdfast/hardening/full",
        mend="umount /var/lib/holdfast/hardening",
    ),
)

LOOK = """
cd / && find etc/ssh etc/sudoers etc/sudoers.d etc/pam.d etc/firewalld etc/systemd/system \
    home/rack var/lib/holdfast/hardening/armed.json var/lib/holdfast/hardening/firing.json \
    -printf '%p %y %m %U %G %l\\n' 2>/dev/null | sort
find etc/ssh etc/sudoers etc/sudoers.d etc/pam.d etc/firewalld -type f -exec sha256sum {} + | sort
systemctl is-active sshd.service firewalld.service
systemctl list-timers --all --no-legend 'holdfast*'
"""


class Door:
    """The way into a node of a rack, and plain ansible that changes it."""

    def __init__(self, rack: SimulatedRack, folder: Path) -> None:
        self.rack = rack
        self.folder = folder
        known = folder / "known_hosts"
        lines = [f"{node.address} {node.host_key}\n" for node in rack.nodes]
        known.write_text("".join(lines), encoding="utf-8")
        self.environment = {
            **os.environ,
            "NO_COLOR": "1",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "provision/collections"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s"
            f" -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known}",
        }

    def argv(self, resources: tuple[Resource, ...], **variables: Any) -> list[str]:
        """A plain ansible-playbook that applies one control of the phase access."""
        controls = [{"id": "way", "phase": "access", "resources": list(resources)}]
        rendered = self.folder / "controls.json"
        rendered.write_text(json.dumps(controls), encoding="utf-8")
        told = {
            "holdfast_profile": "lockout",
            "engine_controls": {NODE: {"el10": str(rendered)}},
            "engine_phase_hosts": {**dict.fromkeys(phases_of(SITE), "!all"), "access": NODE},
            "access_deadline_s": DEADLINE_S,
            **variables,
        }
        values = self.folder / "variables.yml"
        values.write_text(yaml.safe_dump(told), encoding="utf-8")
        return [
            *self.rack.rehearsal.inside(), sys.executable, "-P", "-m", "ansible", "playbook",
            "-i", os.fspath(self.rack.inventory), "--extra-vars", f"@{values}",
            "holdfast.core.site",
        ]  # fmt: skip

    def apply(self, resources: tuple[Resource, ...], *more: str, **variables: Any) -> Ran:
        begin = time.monotonic()
        argv = [*self.argv(resources, **variables), *more]
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=ROOT,
            timeout=300,
            check=False,
        )
        return Ran(argv, done.returncode, done.stdout, done.stderr, time.monotonic() - begin)

    def open(self) -> None:
        """Log in over a connection of our own and become root; this is what must never fail."""
        assert self.rack.ssh(NODE, "id -u").out.strip() == "0"

    def console(self, script: str, *, check: bool = True) -> str:
        """Run a script as root without logging in, as at a console."""
        argv = ["nsenter", "--target", self.first_process(), "--all", "bash", "-s"]
        done = subprocess.run(argv, input=script, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def first_process(self) -> str:
        """The node's first process, by its number on this machine."""
        family = [(self.rack.node(NODE).folder / "pid").read_text().strip()]
        while family:
            process = Path("/proc") / family.pop(0)
            try:
                status = (process / "status").read_text()
                children = (process / "task" / process.name / "children").read_text()
            except OSError:
                continue
            if any(line.split()[0::2] == ["NSpid:", "1"] for line in status.splitlines()):
                return process.name
            family += children.split()
        raise AssertionError(f"{NODE} does not run")

    def look(self) -> str:
        """All that decides about a login."""
        return self.console(LOOK, check=False)

    def share(self) -> None:
        """Leave a shared connection open, as a run does that began before."""
        ran = self.apply((sshd("MaxAuthTries", "6"),), "--check")
        assert ran.code == 0, ran.said()


@pytest.fixture(scope="module")
def door(lone_rack: SimulatedRack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    found = Door(lone_rack, tmp_path_factory.mktemp("door"))
    found.open()
    yield found
    found.open()


def test_there_are_at_least_twenty_ways() -> None:
    assert len(WAYS) >= 20
    assert {way.end for way in WAYS} == {"refused", "put back", "never began"}


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_none_locks_out(door: Door, way: Way) -> None:
    before = door.look()
    if way.prepare:
        # What is left of an account or a key that expires is the connection that is open.
        door.share()
        door.console(way.prepare)
    planned = None
    try:
        prepared = door.look()
        if way.end == "refused":
            planned = door.apply(way.resources, "--check", **dict(way.variables))
        ran = door.apply(way.resources, **dict(way.variables))
        assert door.look() == prepared
    finally:
        if way.mend:
            door.console(way.mend)
    door.open()
    assert door.look() == before
    assert ran.code != 0, ran.said()
    assert way.says in " ".join(ran.out.split()), ran.said()
    if planned is not None and "way back" not in way.name:
        # A plan refuses it too, so that nothing of a run begins.
        assert planned.code != 0, planned.said()
    print(f"{way.name}: {way.end} in {ran.seconds:.1f} s")


def test_a_change_that_locks_nobody_out_is_kept_and_nothing_stays_armed(door: Door) -> None:
    before = door.look()
    ran = door.apply((sshd("MaxAuthTries", "4"), line("/etc/sudoers.d/90-x", "Defaults use_pty",
                                                      mode="0440")))  # fmt: skip
    assert ran.code == 0, ran.said()
    assert "maxauthtries 4" in door.rack.ssh(NODE, "sshd -T").out
    assert armed(door) == ""
    again = door.apply((sshd("MaxAuthTries", "4"), line("/etc/sudoers.d/90-x", "Defaults use_pty",
                                                        mode="0440")))  # fmt: skip
    assert "changed=0" in again.out, again.said()
    door.console("rm /etc/ssh/sshd_config.d/00-holdfast.conf /etc/sudoers.d/90-x")
    door.console("systemctl reload sshd.service")
    assert door.look() == before


def armed(door: Door) -> str:
    """What waits to be undone on the node."""
    return door.console(
        "cat /var/lib/holdfast/hardening/armed.json 2>/dev/null;"
        "systemctl list-timers --all --no-legend 'holdfast*'; true"
    ).strip()


def begin(door: Door, deadline: int) -> subprocess.Popen[str]:
    """Start a change that locks out, and return when the node has armed its undo and changed."""
    child = subprocess.Popen(
        door.argv((sshd("AuthorizedKeysFile", "/etc/ssh/keys/%u"),), access_deadline_s=deadline),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        env=door.environment,
        cwd=ROOT,
        start_new_session=True,
    )
    end = time.monotonic() + 120
    written = "test -e /etc/ssh/sshd_config.d/00-holdfast.conf && echo there; true"
    while door.console(written).strip() != "there":
        assert time.monotonic() < end, "the change never began"
        assert child.poll() is None, "it ended before it changed anything"
        time.sleep(0.05)
    return child


def kill(child: subprocess.Popen[str]) -> None:
    """The controller dies at once, with all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def loosen(door: Door) -> None:
    """Take away what a run wrote for the SSH server."""
    door.console("rm -f /etc/ssh/sshd_config.d/00-holdfast.conf; systemctl reload sshd.service")


def killed_while_armed(door: Door, resources: tuple[Resource, ...]) -> None:
    """Leave the node as a controller leaves it that dies before its login proved anything.

    A run that is quicker than its death leaves nothing armed; then another one is killed.
    """
    for _ in range(5):
        child = subprocess.Popen(
            door.argv(resources, access_deadline_s=3600),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=door.environment,
            cwd=ROOT,
            start_new_session=True,
        )
        end = time.monotonic() + 120
        while not armed(door) and child.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        kill(child)
        if armed(door):
            return
        loosen(door)
    raise AssertionError("five runs ended before they could be killed")


def settled(door: Door, before: str, within: float) -> float:
    """Wait until the node is what it was; returns how long that took."""
    begun = time.monotonic()
    while door.look() != before:
        assert time.monotonic() - begun < within, door.look()
        time.sleep(0.5)
    return time.monotonic() - begun


def test_a_controller_that_dies_in_between_locks_nobody_out(door: Door) -> None:
    before = door.look()
    kill(begin(door, DEADLINE_S))
    assert armed(door)
    took = settled(door, before, DEADLINE_S + 15)
    door.open()
    print(f"put back {took:.1f} s after the controller died, deadline {DEADLINE_S} s")


def test_nor_does_a_node_that_restarts_in_between(door: Door) -> None:
    before = door.look()
    # The deadline is so far away that only the start can be what puts it back.
    kill(begin(door, 3600))
    door.console("systemctl --no-block reboot", check=False)
    end = time.monotonic() + 60
    while door.rack.ssh(NODE, "true", check=False, timeout=30).code != 0:
        assert time.monotonic() < end, "nobody can log in after the restart"
        time.sleep(0.5)
    assert door.look() == before
    assert armed(door) == ""


def test_the_next_run_keeps_what_its_own_login_proves(door: Door) -> None:
    before = door.look()
    resources = (sshd("MaxAuthTries", "4"),)
    killed_while_armed(door, resources)
    # What was killed may still hold its shared connection, which proves nothing.
    subprocess.run(["bash", "-c", "rm -f ~/.ansible/cp/*"], check=True)
    ran = door.apply(resources)
    assert ran.code == 0, ran.said()
    assert "maxauthtries 4" in door.rack.ssh(NODE, "sshd -T").out
    assert armed(door) == ""
    loosen(door)
    assert door.look() == before

"""A state of before in which somebody would be locked out: no restore goes back to it.

As an administrator I go back before a run on the day on which something does not work. Since that
run we have another login, or the node was broken before it in a way that showed only later. What
obviously locks me out is refused; what turns out to do so is put back; and a controller or a node
that dies in between changes nothing about that.

`up` is stood in for by plain ansible with one control, as in the journey of its own lock-outs, and
whoever ran it may have been root. The restore is what a person types.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from provision.core.events import NullSink
from provision.rehearsal import rack as racks
from tests.rehearsal.conftest import Ran, SimulatedRack
from tests.rehearsal.test_10_lockout import (
    AS_ROOT,
    DEADLINE_S,
    NODE,
    SUDOERS,
    USER,
    ZONE,
    Door,
    Resource,
    armed,
    content,
    kill,
    settled,
)

pytestmark = pytest.mark.soak

HOME = "/var/lib/holdfast/hardening"
DROP_IN = "/etc/ssh/sshd_config.d/40-before.conf"
AS_ADMIN = (("ansible_user", "root"),)
PORT_CLOSED = "/etc/firewalld/zones/public.xml"


@dataclass(frozen=True)
class Before:
    """A state in which we cannot log in, and a control that mended it.

    `plant` makes that state and `mend` ends it, as root at a console; `resources` are applied in
    between by whoever `variables` says. `end` says what becomes of a restore, and `says` with what
    words.
    """

    name: str
    plant: str
    resources: tuple[Resource, ...]
    end: Literal["refused", "put back"]
    says: str
    mend: str = ""
    variables: tuple[tuple[str, Any], ...] = ()


def options(text: str) -> str:
    """A drop-in of the SSH server that is not read before the next reload."""
    return f"echo '{text}' >{DROP_IN}"


BEFORE = (
    Before(
        "users without us",
        options("AllowUsers ann root"),
        (content(DROP_IN, "# nothing\n"),),
        "refused",
        "AllowUsers: rack",
    ),
    Before(
        "a rule for sudo that came with the run",
        f"mv {SUDOERS} /root/rule; sed -i 's/^%wheel/#hf &/' /etc/sudoers",
        (content(SUDOERS, f"{USER} ALL=(ALL) NOPASSWD: ALL\n", "0440"),),
        "refused",
        "would not become root any more",
        mend=f"mv /root/rule {SUDOERS}; sed -i 's/^#hf //' /etc/sudoers",
        variables=AS_ADMIN,
    ),
    Before(
        "sudoers that sudo cannot read",
        "echo 'this is broken' >/etc/sudoers.d/zz-broken; chmod 0440 /etc/sudoers.d/zz-broken",
        (content("/etc/sudoers.d/zz-broken", "Defaults use_pty\n", "0440"),),
        "refused",
        "would not be read by sudo",
        variables=AS_ADMIN,
    ),
    Before(
        "keys looked for where none are",
        options("AuthorizedKeysFile /etc/ssh/keys/%u"),
        (content(DROP_IN, "# nothing\n"),),
        "put back",
        "a login works again",
    ),
    Before(
        "an account that PAM turns away",
        "cp -a /etc/pam.d/sshd /root/pam; "
        "sed -i '1a account required pam_succeed_if.so quiet user = root' /etc/pam.d/sshd",
        ({"type": "line", "path": "/etc/pam.d/sshd", "match": "succeed_if", "state": "absent"},),
        "put back",
        "a login works again",
        mend="cp -a /root/pam /etc/pam.d/sshd; rm /root/pam",
        variables=AS_ADMIN,
    ),
    Before(
        "a home that others may write to",
        f"stat -c %a /home/{USER} >/root/mode; chmod 0777 /home/{USER}",
        ({"type": "file", "path": f"/home/{USER}", "mode": "0700"},),
        "put back",
        "a login works again",
        mend=f"chmod $(cat /root/mode) /home/{USER}; rm /root/mode",
        variables=AS_ADMIN,
    ),
    Before(
        "the port closed by the firewall at its next start",
        f"cp -a {PORT_CLOSED} /root/zone 2>/dev/null; cat >{PORT_CLOSED} <<'Z'\n{ZONE}Z\n",
        (
            content(
                PORT_CLOSED,
                '<?xml version="1.0" encoding="utf-8"?>\n<zone target="ACCEPT"></zone>\n',
                reload="firewalld.service",
            ),
        ),
        "put back",
        "a login works again",
        mend=f"rm -f {PORT_CLOSED}; [ ! -e /root/zone ] || mv /root/zone {PORT_CLOSED}; "
        "systemctl reload firewalld.service",
    ),
)


class House:
    """A node, who comes in, and what goes back there before a run."""

    def __init__(self, rack: SimulatedRack, folder: Path) -> None:
        self.rack = rack
        self.door = Door(rack, folder)
        self.dead: list[str] = []
        self.inventory = rack.edited(
            "patient.yml",
            lambda text: text.replace(
                "holdfast_profile: none",
                f"holdfast_profile: none\n    access_deadline_s: {DEADLINE_S}",
            ),
        )
        assert "access_deadline_s" in self.inventory.read_text()

    def runs(self) -> list[str]:
        """The runs that the node knows, oldest first."""
        return self.door.console(f"ls -tr {HOME} | grep ^manual; true", check=False).split()

    def restore(self, to: str, *words: str) -> Ran:
        return self.rack.holdfast(
            "profile", "restore", self.inventory, "--limit", NODE, "--to", to, *words
        )

    def begin(self, to: str, deadline: int) -> subprocess.Popen[str]:
        """Start a restore, and return when the node has armed its undo and changed."""
        told = self.inventory.read_text().replace(
            f"access_deadline_s: {DEADLINE_S}", f"access_deadline_s: {deadline}"
        )
        path = self.inventory.with_name("begun.yml")
        path.write_text(told)
        child = self.rack.start(
            "profile", "restore", path, "--limit", NODE, "--to", to, *self.dead
        )  # fmt: skip
        end = time.monotonic() + 120
        changed = f"test -e {HOME}/armed.json && grep -q keys {DROP_IN} && echo there; true"
        while self.door.console(changed).strip() != "there":
            assert time.monotonic() < end, "the restore never began"
            assert child.poll() is None, child.communicate()
            time.sleep(0.05)
        return child

    def kill(self, child: subprocess.Popen[str]) -> None:
        """The controller dies at once; what comes next has to replace its lock on the node."""
        kill(child)
        self.dead = ["--break-lock", self.rack.runs()[-1].name]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    state = tmp_path_factory.mktemp("state")
    os.environ["XDG_STATE_HOME"] = os.fspath(state)
    built = racks.build(release="10", count=1, events=NullSink(), keep=False)
    rack = SimulatedRack(built, state)
    try:
        ran = rack.holdfast("up", rack.inventory, timeout=1800)
        assert ran.code == 0, ran.said()
        found = House(rack, tmp_path_factory.mktemp("door"))
        found.door.console(AS_ROOT)
        found.door.open()
        yield found
        found.door.open()
    finally:
        rack.rehearsal.take_down()


def mended(house: House, way: Before) -> str:
    """Plant a state of before and let a run mend it; the run."""
    known = set(house.runs())
    house.door.console(way.plant)
    ran = house.door.apply(way.resources, **dict(way.variables))
    assert ran.code == 0, ran.said()
    (run,) = set(house.runs()) - known
    return run


@pytest.mark.parametrize("way", BEFORE, ids=[way.name for way in BEFORE])
def test_no_restore_locks_out(house: House, way: Before) -> None:
    run = mended(house, way)
    hardened = house.door.look()
    try:
        ran = house.restore(run)
        assert house.door.look() == hardened
        house.door.open()
        again = house.restore(run, "--check")
    finally:
        house.door.console(way.mend or f"rm -f {DROP_IN} /etc/sudoers.d/zz-broken")
        house.door.console("systemctl reload sshd.service")
    house.door.open()
    assert ran.code == 3, ran.said()
    assert way.says in " ".join(ran.said().split()), ran.said()
    # What was put back can be asked for again; what is refused is refused in a look, too.
    assert again.code == (3 if way.end == "refused" else 0), again.said()
    house.door.console(f"rm -rf {HOME}/{run}")
    print(f"{way.name}: {way.end} in {ran.seconds:.1f} s")


KEYS = next(way for way in BEFORE if way.name == "keys looked for where none are")


def test_a_restore_that_locks_nobody_out_is_kept_and_nothing_stays_armed(house: House) -> None:
    run = mended(house, Before("", options("MaxAuthTries 5"), KEYS.resources, "put back", ""))
    ran = house.restore(run)
    assert ran.code == 0, ran.said()
    assert "maxauthtries 5" in house.rack.ssh(NODE, "sshd -T").out
    assert armed(house.door) == ""
    again = house.restore(run)
    assert (again.code, "nothing of" in again.out) == (0, True), again.said()
    house.door.console(f"rm -rf {DROP_IN} {HOME}/{run}; systemctl reload sshd.service")


def test_a_controller_that_dies_in_between_locks_nobody_out(house: House) -> None:
    run = mended(house, KEYS)
    hardened = house.door.look()
    house.kill(house.begin(run, DEADLINE_S))
    assert armed(house.door)
    took = settled(house.door, hardened, DEADLINE_S + 15)
    house.door.open()
    # It can be asked for again.
    again = house.restore(run, "--check", *house.dead)
    assert (again.code, DROP_IN in again.out) == (0, True), again.said()
    house.door.console(f"rm -rf {DROP_IN} {HOME}/{run}")
    print(f"put back {took:.1f} s after the controller died, deadline {DEADLINE_S} s")


def test_nor_does_a_node_that_restarts_in_between(house: House) -> None:
    run = mended(house, KEYS)
    hardened = house.door.look()
    # The deadline is so far away that only the start can be what puts it back.
    house.kill(house.begin(run, 3600))
    house.door.console("systemctl --no-block reboot", check=False)
    end = time.monotonic() + 60
    while house.rack.ssh(NODE, "true", check=False, timeout=30).code != 0:
        assert time.monotonic() < end, "nobody can log in after the restart"
        time.sleep(0.5)
    assert house.door.look() == hardened
    assert armed(house.door) == ""
    house.door.console(f"rm -rf {DROP_IN} {HOME}/{run}")

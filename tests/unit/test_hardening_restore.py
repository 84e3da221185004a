"""A restore is judged, armed and proven as the pass was that it takes back."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest

from tests.unit.hardening_support import Run, System, control, journal, nodes, rescue, snapshot
from tests.unit.roles_support import plugin, run_module
from tests.unit.test_hardening_types import CASES, IDS, prepared

back = plugin("module_utils.hardening", "back")
guards = plugin("module_utils.hardening", "guard")
restores = plugin("modules", "hardening_restore")

HOME = "/var/lib/holdfast/hardening"
TODAY = "19000"
OPEN = "port 22\npermitrootlogin no\npubkeyauthentication yes\npasswordauthentication no\n"


@pytest.fixture
def system(tmp_path):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    found = System(root)
    found.path("/etc/systemd/system/multi-user.target.wants").mkdir(parents=True)
    return found


def carried_out_by(system):
    """What carries out steps on the node; systemd's own timer is not its business."""

    def command(argv):
        if argv[0] == "systemd-run" or argv[-1] == guards.TIMER + ".timer":
            system.calls.append(argv)
            return ""
        return system.raising(argv)

    return command


def looked(system, to="r1", *, force=False):
    tree = rescue.Tree(str(system.root))
    command = carried_out_by(system)
    guard = guards.Guard(str(system.path(HOME)), tree, command)
    node = nodes.Node(tree, command=system.command)
    found = back.Restore(node, guard, force, command)
    found.look(to)
    return found


def restored(system, to="r1", seconds=60):
    found = looked(system, to)
    found.arm("b1", seconds)
    found.carry_out("b1")
    return found


def state(system):
    """All of the node but what arms an undo, with the marks beside its journals."""
    marks = {path.relative_to(system.root) for path in system.path(HOME).glob("r*/*/*.json")}
    kernels = [" ".join(words.split()) for words in system.kernels]
    return snapshot(system.root), copy.deepcopy(system.units), kernels, marks


class TestArmed:
    @pytest.mark.parametrize("case", CASES, ids=IDS)
    def test_one_that_no_login_proves_is_taken_back_whatever_it_was(self, system, case):
        controls = prepared(system, case)
        before = snapshot(system.root), copy.deepcopy(system.units)
        assert Run(system, controls, phase=case.phase).commit() == []
        hardened = state(system)
        restore = restored(system)
        assert restore.guard.fire().wrong == []
        assert state(system) == hardened
        assert restore.guard.armed() is None
        # It can be asked for again, and then a login proves it.
        again = restored(system)
        assert again.guard.cancel()
        assert (snapshot(system.root), system.units) == before
        assert looked(system).told.done == []

    def test_several_runs_are_taken_back_as_one(self, system):
        system.write("/etc/x.conf", "a = 1\n", 0o640)
        for number in (1, 2, 3):
            wants = [
                {"type": "setting", "path": "/etc/x.conf", "key": "a", "value": str(number + 1)},
                {"type": "content", "path": f"/etc/deep/{number}/x", "text": "x", "mode": "0644"},
            ]
            mode = {"type": "file", "path": "/etc/x.conf", "mode": f"060{4 - number}"}
            assert Run(system, [control(*wants, mode)]).commit(f"r{number}") == []
        hardened = state(system)
        restore = restored(system, "r2")
        assert system.read("/etc/x.conf") == "a = 2\n"
        assert not system.path("/etc/deep/3").exists()
        restore.guard.fire()
        assert state(system) == hardened

    def test_a_controller_that_dies_on_its_way_changes_nothing_about_that(self, system):
        system.write("/etc/x.conf", "a = 1\n")
        for number in (1, 2):
            wants = {"type": "content", "path": f"/etc/{number}", "text": "x", "mode": "0644"}
            assert Run(system, [control(wants)]).commit(f"r{number}") == []
        hardened = state(system)
        restore = looked(system)
        restore.arm("b1", 60)
        restore._undo(restore.chosen[0], rescue.Undone())
        assert state(system) != hardened
        restore.guard.fire()
        assert state(system) == hardened
        assert not any(entry.phase == "restore" for entry in looked(system).chosen)

    def test_what_an_earlier_restore_left_is_left_still_when_the_next_is_taken_back(self, system):
        system.write("/etc/x.conf", "a = 1\n")
        setting = {"type": "setting", "path": "/etc/x.conf", "key": "a", "value": "2"}
        Run(system, [control(setting)]).commit()
        system.write("/etc/x.conf", "mine\n")
        restored(system).guard.cancel()
        forced = looked(system, force=True)
        forced.arm("b2", 60)
        forced.carry_out("b2")
        assert system.read("/etc/x.conf") == "a = 1\n"
        forced.guard.fire()
        assert system.read("/etc/x.conf") == "mine\n"
        assert looked(system).told.left == ["/etc/x.conf: somebody changed it since"]

    def test_nothing_to_put_back_arms_nothing(self, system):
        Run(system, [control({"type": "content", "path": "/etc/x", "text": "x"})]).commit()
        system.path("/etc/x").unlink()
        restore = restored(system)
        assert (restore.entry, restore.guard.armed()) == (None, None)
        assert not system.path(guards.BOOT).exists()

    def test_a_later_pass_owes_nothing_of_a_restore_that_came_to_its_end(self, system):
        want = {"type": "content", "path": "/etc/systemd/system/x.service", "text": "x"}
        Run(system, [control(want)]).commit()
        restored(system).guard.cancel()
        run = Run(system, [])
        assert run.passed.owed(run.home) == []

    def test_what_cannot_be_armed_puts_nothing_back(self, system, monkeypatch):
        Run(system, [control({"type": "content", "path": "/etc/x", "text": "x"})]).commit()
        before = snapshot(system.root)
        monkeypatch.setattr(guards.Guard, "arm", lambda *_: (_ for _ in ()).throw(OSError("full")))
        arguments = {"to": "r1", "root": str(system.root), "deadline": 60}
        told = run_module("hardening_restore", arguments)
        assert "the way back from it" in told["msg"]
        assert snapshot(system.root) == before
        (entry, *_) = journal.entries(str(system.path(HOME)))
        assert not entry.undone


class TestServer:
    """sshd -t before every reload; and a server that would not start is no way to be left."""

    @pytest.fixture
    def hardened(self, system):
        system.program("sshd")
        system.write("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n")
        wants = [control({"type": "sshd", "option": "MaxAuthTries", "value": "4"}, phase="access")]
        assert Run(system, wants, phase="access").commit() == []
        return system

    def test_it_is_asked_before_it_is_reloaded(self, hardened):
        hardened.calls.clear()
        restored(hardened)
        asked = [argv for argv in hardened.calls if "sshd" in argv[0] or "sshd.service" in argv]
        assert asked == [["sshd", "-t"], ["systemctl", "try-reload-or-restart", "sshd.service"]]

    def test_what_it_does_not_take_is_not_left(self, hardened, monkeypatch):
        told = {}
        before = snapshot(hardened.root)
        ours = hardened.path("/etc/ssh/sshd_config.d/00-holdfast.conf")
        hardened._sshd = lambda argv, data: (0, OPEN) if ours.exists() else (255, "line 1: no")

        class Seen(restores.Restore):
            def __init__(self, node, guard, force):
                guard.command = carried_out_by(hardened)
                node.command = hardened.command
                super().__init__(node, guard, force, guard.command)
                told["guard"] = guard

        monkeypatch.setattr(restores, "Restore", Seen)
        arguments = {"to": "r1", "by": "b1", "root": str(hardened.root), "deadline": 60}
        done = run_module("hardening_restore", arguments)
        assert "the SSH server would not start with what was put back: line 1: no" in done["msg"]
        since = [argv[0] for argv in hardened.calls].index("systemd-run") + 1
        asked, again = ["sshd", "-t"], ["systemctl", "try-reload-or-restart", "sshd.service"]
        # It is reloaded once, when what it takes is there again.
        assert hardened.calls[since:][:4] == [asked, asked, asked, again]
        assert snapshot(hardened.root) == before
        assert told["guard"].armed() is None
        first, mine = journal.entries(str(hardened.path(HOME)))
        assert (first.undone, mine.undone, mine.phase) == (False, True, "restore")


@pytest.fixture
def house(system):
    """A node with somebody who logs in with a key and becomes root without a password."""
    system.program("sshd", "visudo", "systemctl")
    system.user("rack:x:1000:1000::/home/rack:/bin/bash", f"rack:$6$x:{TODAY}:0:30:7:::")
    system.write("/etc/group", "rack:x:1000:\nwheel:x:10:rack\n")
    system.write("/etc/sudoers", "root ALL=(ALL) ALL\n@includedir /etc/sudoers.d\n", 0o440)
    system.write("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n")
    system.path("/etc/sudoers.d").mkdir()
    system._sshd = lambda argv, data: (0, said_by(argv))
    return system


def said_by(argv: list[str]) -> str:
    """What ``sshd -T`` says of the files that it is given; ``sshd -t`` says nothing."""
    if "-f" not in argv:
        return ""
    folder = Path(argv[argv.index("-f") + 1]).parent
    found = dict(line.split(" ", 1) for line in OPEN.splitlines())
    for path in sorted(folder.glob("*.conf")):
        for line in path.read_text().splitlines():
            if line and not line.startswith("#"):
                option, _, value = line.partition(" ")
                found[option.lower()] = value
    return "".join(f"{option} {value}\n" for option, value in found.items())


LOGIN = "/etc/ssh/sshd_config.d/40-x.conf"
RULE = "/etc/sudoers.d/rack"
FREE = "rack ALL=(ALL) NOPASSWD: ALL\n"


def line(path: str, **given):
    return {"type": "line", "path": path, **given}


def ours(path: str, text: str):
    return {"type": "content", "path": path, "text": text, "mode": "0440"}


@pytest.mark.parametrize(
    "case",
    [
        ({LOGIN: "AllowUsers ann\n"}, ours(LOGIN, "MaxAuthTries 4\n"), "AllowUsers: rack"),
        ({LOGIN: "PubkeyAuthentication no\n"}, ours(LOGIN, ""), "pubkeyauthentication no"),
        ({LOGIN: "Port 2222\n"}, ours(LOGIN, ""), "port 22 would be closed"),
        ({LOGIN: "ForceCommand /bin/false\n"}, ours(LOGIN, ""), "forcecommand"),
        ({}, ours(RULE, FREE), "rack would not become root any more"),
        ({RULE: "rack ALL=(ALL) ALL\n"}, ours(RULE, FREE), "sudo would ask rack for a password"),
        ({RULE: "broken\n"}, ours(RULE, FREE), "would not be read by sudo"),
        (
            {RULE: FREE + "Defaults requiretty\n"},
            line(RULE, match="requiretty", state="absent"),
            "requiretty",
        ),
        (
            {},
            {"type": "service", "name": "sshd.service", "state": "enabled"},
            "disable sshd.service would cut the node off",
        ),
    ],
    ids=[
        "users", "keys", "port", "command", "no-rule", "password", "syntax", "terminal", "server",
    ],
)  # fmt: skip
@pytest.mark.parametrize("check", [True, False])
def test_what_was_locked_then_is_refused_before_it_comes_back(house, monkeypatch, case, check):
    before, want, says = case
    house.unit("sshd.service", file="disabled", active="active")
    for path, text in before.items():
        house.write(path, text, 0o440)
    assert Run(house, [control(want)]).commit() == []
    hardened = snapshot(house.root)
    monkeypatch.setattr(restores, "Node", lambda tree: nodes.Node(tree, command=house.command))
    arguments = {"to": "r1", "root": str(house.root), "deadline": 60}
    arguments["guard"] = {"user": "rack", "port": 22}
    done = run_module("hardening_restore", arguments, check=check)
    assert done["msg"].startswith("nothing was put back: "), done
    assert says in done["msg"]
    assert snapshot(house.root) == hardened
    assert len(journal.entries(str(house.path(HOME)))) == 1
    # Whoever would not be locked out by it gets it.
    if says != "would not be read by sudo" and "cut the node off" not in says:
        other = {**arguments, "guard": {"user": "root", "port": 0, "become": False}}
        house._sshd = lambda argv, data: (0, OPEN.replace("rootlogin no", "rootlogin yes"))
        assert not run_module("hardening_restore", other, check=True).get("failed")


def test_a_password_that_gets_back_no_end_is_no_expired_one(house, monkeypatch):
    house.write("/etc/shadow", f"rack:$6$x:{TODAY}:0::7:::\n", 0o600)
    ages = {"type": "account", "what": "password_max_days", "value": "365"}
    assert Run(house, [control(ages)]).commit() == []
    monkeypatch.setattr(restores, "Node", lambda tree: nodes.Node(tree, command=house.command))
    arguments = {"to": "r1", "root": str(house.root), "guard": {"user": "rack"}}
    done = run_module("hardening_restore", arguments, check=True)
    assert done.changes == ["undo: set password max days of rack to 365"]


def test_what_somebody_mended_since_stays_and_is_no_reason_to_refuse(house, monkeypatch):
    house.write(LOGIN, "AllowUsers ann\n", 0o440)
    assert Run(house, [control(ours(LOGIN, "MaxAuthTries 4\n"))]).commit() == []
    house.write(LOGIN, "AllowUsers ann rack\n", 0o440)
    monkeypatch.setattr(restores, "Node", lambda tree: nodes.Node(tree, command=house.command))
    arguments = {"to": "r1", "root": str(house.root), "guard": {"user": "rack", "port": 22}}
    done = run_module("hardening_restore", arguments, check=True)
    assert not done.get("failed"), done
    assert done["holdfast_left"] == [f"{LOGIN}: somebody changed it since"]
    assert "AllowUsers: rack" in run_module(
        "hardening_restore", {**arguments, "force": True}, check=True
    )["msg"]  # fmt: skip


class TestAnEarlierUndo:
    """An access change that still waits for its proof when a restore comes."""

    @pytest.fixture
    def armed(self, system):
        Run(system, [control({"type": "content", "path": "/etc/x", "text": "x"})]).commit()
        home = str(system.path(HOME))
        (entry,) = journal.entries(home)
        mark = {"folder": entry.folder, "run": "r1", "at": 0, "deadline": 0}
        rescue.write_mark(home, rescue.MARKER, mark)
        return {"to": "r1", "root": str(system.root)}

    def test_it_is_waited_for(self, armed, system):
        told = run_module("hardening_restore", armed)
        assert "no login has proven it yet" in told["msg"]
        assert system.path("/etc/x").exists()

    def test_our_own_login_proves_it(self, armed, system, monkeypatch):
        monkeypatch.setattr(guards, "proves", lambda armed: True)
        told = run_module("hardening_restore", armed, check=True)
        done = run_module("hardening_restore", armed)
        assert told.changes == done.changes
        assert done.changes[0].startswith("keep the access changes of run r1")
        assert not system.path("/etc/x").exists()
        assert not os.path.exists(system.path(HOME) / rescue.MARKER)

    def test_one_that_was_killed_on_its_way_is_brought_to_its_end(self, armed, system):
        rescue.claim(str(system.path(HOME)))
        told = run_module("hardening_restore", armed)
        assert "were put back: no login proved them" in told["msg"]
        assert not system.path("/etc/x").exists()

"""What is refused before it locks out, and the undo that a node arms for itself."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from tests.unit.hardening_support import Run, System, control, journal, rescue, snapshot
from tests.unit.roles_support import plugin, run_module

guards = plugin("module_utils.hardening", "guard")
refusal = plugin("module_utils.hardening", "refusal")
access = plugin("action", "access")


@pytest.fixture
def system(tmp_path):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    made = System(root)
    made.path("/etc/systemd/system/multi-user.target.wants").mkdir(parents=True)
    made.user("rack:x:1000:1000::/home/rack:/bin/bash", "rack:!:19000:0:99999:7:::")
    made.user("robot:x:990:990::/home/robot:/bin/bash", "robot:$6$x:19000:0:99999:7:::")
    made.write("/etc/group", "rack:x:1000:\nwheel:x:10:rack,ann\nrobot:x:990:\n")
    made.write("/etc/sudoers", "root ALL=(ALL) ALL\n@includedir /etc/sudoers.d\n", 0o440)
    made.write("/etc/sudoers.d/rack", "rack ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    return made


def reached(**given):
    return refusal.Reached({"user": "rack", "port": 22, **given})


def refused(system, *resources, phase="access", **given):
    wants = [control(*resources, phase=phase)] if phase != "hardening" else [control(*resources)]
    run = Run(system, wants, phase=phase)
    assert run.wrong == []
    return refusal.refusals(run.node, reached(**given))


OPEN = "port 22\npermitrootlogin no\npubkeyauthentication yes\npasswordauthentication no\n"


@pytest.mark.parametrize(
    ("options", "given", "says"),
    [
        ("", {}, None),
        ("allowusers rack", {}, None),
        ("allowusers ra*@192.0.2.0/24", {}, None),
        ("allowusers ann", {}, "AllowUsers: rack"),
        ("denyusers r*", {}, "DenyUsers: rack"),
        ("allowgroups wheel", {}, None),
        ("allowgroups rack", {}, None),
        ("allowgroups ann", {}, "AllowGroups: rack"),
        ("denygroups wheel", {}, "DenyGroups: rack"),
        ("pubkeyauthentication no", {}, "pubkeyauthentication no"),
        ("passwordauthentication yes", {"password": True}, None),
        ("kbdinteractiveauthentication yes", {"password": True}, None),
        ("", {"password": True}, "passwordauthentication no"),
        ("authenticationmethods publickey", {}, None),
        ("authenticationmethods publickey,password password", {}, "authenticationmethods"),
        ("authenticationmethods publickey,password publickey", {}, None),
        ("forcecommand /bin/false", {}, "forcecommand"),
        ("forcecommand none", {}, None),
        ("chrootdirectory /srv", {}, "chrootdirectory"),
        ("maxsessions 0", {}, "maxsessions 0"),
        ("port 2222", {"port": 2222}, None),
        ("", {"user": "root"}, "PermitRootLogin no"),
        ("permitrootlogin prohibit-password", {"user": "root"}, None),
        ("permitrootlogin without-password", {"user": "root", "password": True}, "PermitRootLogin"),
    ],
)
def test_the_server_is_asked_what_the_login_would_meet(options, given, says):
    said = dict(line.split(" ", 1) for line in OPEN.splitlines())
    for line in options.splitlines():
        name, _, value = line.partition(" ")
        said[name] = value
    text = "".join(f"{name} {value}\n" for name, value in said.items())
    who = reached(**given)
    user = None if who.user == "root" else refusal.User(
        ["rack", "x", "1000", "1000", "", "/home/rack", "/bin/bash"], []
    )  # fmt: skip
    found = refusal.login(refusal.options_of(text), user, ["rack", "wheel"], who)
    if says is None:
        assert found == []
    else:
        assert any(says in what for what in found), found


def test_a_port_that_closes_is_refused():
    options = refusal.options_of("port 2222\nport 2223\n")
    assert "port 22 would be closed" in refusal.login(options, None, [], reached())[0]


class TestServer:
    def test_all_files_are_judged_as_they_are_to_be(self, system, monkeypatch):
        here = "host=localhost,addr=127.0.0.1"
        monkeypatch.setattr(refusal, "came_from", lambda: here)
        system.program("sshd")
        system.write("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n")
        system.write("/etc/ssh/sshd_config.d/50-x.conf", "MaxAuthTries 6\n")
        texts = {}

        def sshd(argv, data):
            folder = Path(argv[argv.index("-f") + 1]).parent
            texts.update({p.name: p.read_text() for p in folder.iterdir()})
            assert argv[-1] == "user=rack,host=localhost,addr=127.0.0.1"
            return 0, OPEN + "allowgroups ann\n"

        system._sshd = sshd
        found = refused(system, {"type": "sshd", "option": "MaxAuthTries", "value": "4"})
        assert ["AllowGroups: rack" in what for what in found] == [True]
        assert "MaxAuthTries 4" in texts["0000.conf"]
        assert "# MaxAuthTries 6" in texts["0001.conf"]
        assert texts["sshd_config"].splitlines()[0].endswith("/*.conf")
        assert "/etc/ssh" not in texts["sshd_config"].splitlines()[0]

    def test_it_is_asked_about_where_the_login_comes_from(self, tmp_path):
        pid = os.getpid()
        process(tmp_path, pid, "python3", 7, 1)
        process(tmp_path, 7, "sh", 1, 1)
        (tmp_path / "7/environ").write_bytes(b"A=b\0SSH_CONNECTION=192.0.2.1 4711 192.0.2.11 22\0")
        said = refusal.came_from(str(tmp_path))
        assert said == "host=192.0.2.1,addr=192.0.2.1,laddr=192.0.2.11,lport=22"
        (tmp_path / "7/environ").write_bytes(b"SSH_CONNECTION=x,user=y 1 2 3\0")
        assert refusal.came_from(str(tmp_path)) == "host=localhost,addr=127.0.0.1"

    def test_a_configuration_that_it_does_not_take_is_refused(self, system):
        system.program("sshd")
        system.write("/etc/ssh/sshd_config", "")
        system._sshd = lambda argv, data: (255, "line 3: Bad configuration option: X")
        found = refused(system, {"type": "sshd", "option": "X", "value": "4"})
        assert "the SSH server would not start" in found[0]

    def test_what_does_not_touch_it_asks_nothing(self, system):
        system.program("sshd")
        assert refused(system, {"type": "content", "path": "/etc/issue", "text": "x"}) == []
        assert not any(argv[0].endswith("sshd") for argv in system.calls)


class TestSudo:
    def line(self, **given):
        return {"type": "line", "path": "/etc/sudoers.d/rack", **given}

    def test_a_password_that_nobody_gave_is_refused(self, system):
        asks = self.line(line="rack ALL=(ALL) ALL", match="^rack")
        assert "sudo would ask rack for a password" in refused(system, asks)[0]
        assert refused(system, asks, become_password=True) == []

    def test_no_rule_at_all_is_refused(self, system):
        gone = self.line(match="^rack", state="absent")
        assert any("would not become root" in what for what in refused(system, gone))

    def test_a_group_s_rule_is_a_rule(self, system):
        system.write("/etc/sudoers.d/wheel", "%wheel ALL=(ALL) NOPASSWD: ALL\n", 0o440)
        assert refused(system, self.line(match="^rack", state="absent")) == []

    def test_an_alias_that_we_belong_to_is_our_rule(self, system):
        text = "User_Alias ROBOTS = ann, rack : OPS = ROBOTS, bob\nOPS ALL=(ALL) NOPASSWD: ALL\n"
        system.write("/etc/sudoers.d/ops", text, 0o440)
        assert refused(system, self.line(match="^rack", state="absent")) == []
        asks = {**self.line(match="^OPS", line="OPS ALL=(ALL) ALL"), "path": "/etc/sudoers.d/ops"}
        system.write("/etc/sudoers.d/rack", "Defaults use_pty\n", 0o440)
        assert "sudo would ask rack for a password" in refused(system, asks)[0]

    def test_a_default_for_everybody_counts(self, system):
        system.write("/etc/sudoers.d/rack", "rack ALL=(ALL) ALL\nDefaults !authenticate\n", 0o440)
        gone = self.line(match="authenticate", state="absent")
        assert "sudo would ask rack" in refused(system, gone)[0]

    def test_a_terminal_that_automation_has_not_is_refused(self, system):
        assert "requiretty" in refused(system, self.line(line="Defaults requiretty"))[0]
        assert refused(system, self.line(line="Defaults use_pty")) == []

    def test_somebody_else_s_password_is_refused_where_one_is_asked_for(self, system):
        system.write("/etc/sudoers.d/rack", "rack ALL=(ALL) ALL\n", 0o440)
        found = refused(system, self.line(line="Defaults rootpw"), become_password=True)
        assert "another password" in found[0]

    def test_what_sudo_cannot_read_is_refused_whoever_logs_in(self, system):
        system.program("visudo")
        run = Run(
            system,
            [control({"type": "content", "path": "/etc/sudoers.d/x", "text": "broken\n"})],
        )
        assert "would not be read by sudo" in refusal.refusals(run.node, None)[0]


class TestAccount:
    def test_an_expired_account_is_named(self, system):
        system.write("/etc/shadow", "rack:!:19000:0:99999:7::1:\n", 0o600)
        found = refused(system, {"type": "content", "path": "/etc/issue", "text": "x"})
        assert "the account rack has expired" in found[0]

    def test_a_password_that_would_expire_at_once_is_refused(self, system):
        ages = {"type": "account", "what": "password_max_days", "value": "365"}
        assert refused(system, ages, user="rack", phase="hardening") == []
        found = refused(system, ages, user="robot", phase="hardening")
        assert "the password of robot would have expired at once" in found[0]

    def test_automation_with_a_system_account_keeps_its_shell(self, system):
        shells = {"type": "account", "what": "nologin_system"}
        found = refused(system, shells, user="robot", phase="hardening")
        assert "robot would lose its shell" in found[0]

    @pytest.mark.parametrize("what", ["lock_system", "lock_empty"])
    def test_a_password_that_the_login_or_sudo_needs_is_not_locked(self, system, what):
        if what == "lock_empty":
            system.write("/etc/shadow", "robot::19000:0:99999:7:::\n", 0o600)
        lock = {"type": "account", "what": what}
        given = {"user": "robot", "phase": "hardening"}
        assert refused(system, lock, **given) == []
        for how in ("password", "become_password"):
            found = refused(system, lock, **given, **{how: True})
            assert "the password of robot would be locked" in found[0]

    def test_where_nobody_became_root_root_itself_may_have_logged_in(self, system):
        system.user("", "root:$6$x:15000:0:99999:7:::")
        ages = {"type": "account", "what": "password_max_days", "value": "365"}
        run = Run(system, [control(ages)])
        found = refusal.refusals(run.node, None)
        assert found == [w for w in found if "the password of root would have expired" in w] != []

    @pytest.mark.parametrize("unit", ["sshd.service", "NetworkManager.service"])
    def test_what_keeps_the_node_reachable_is_not_stopped(self, system, unit):
        system.unit(unit, file="enabled", active="active")
        off = {"type": "service", "name": unit, "state": "disabled"}
        assert any("would cut the node off" in what for what in refused(system, off))


PUBLIC = """<zone><short>Public</short><service name="ssh"/><service name='cockpit'/></zone>"""
SSH = """<service><short>SSH</short><port protocol="tcp" port="22"/></service>"""


FIREWALL_ON = {"type": "service", "name": "firewalld.service", "state": "enabled"}


class TestFirewall:
    """A firewall that is started closes what it does not know."""

    @pytest.fixture
    def walled(self, system):
        system.program("sshd")
        system.unit("firewalld.service")
        system.write("/etc/ssh/sshd_config", "")
        system.write("/usr/lib/firewalld/zones/public.xml", PUBLIC)
        system.write("/usr/lib/firewalld/zones/drop.xml", '<zone target="DROP"></zone>')
        system.write("/usr/lib/firewalld/services/ssh.xml", SSH)
        system.write("/etc/firewalld/firewalld.conf", "# DefaultZone=drop\nDefaultZone=public\n")
        self.listens(system, 22)
        return system

    def listens(self, system, *ports):
        said = "".join(f"port {port}\n" for port in ports)
        system._sshd = lambda argv, data: (0, said)

    def refused(self, system, port=0):
        return refused(system, FIREWALL_ON, phase="hardening", port=port)

    def test_the_usual_port_is_let_in(self, walled):
        assert self.refused(walled) == []

    def test_another_port_is_not_and_the_firewall_is_not_started(self, walled):
        self.listens(walled, 2222)
        (why,) = self.refused(walled)
        assert "would close port 2222" in why
        assert "port 2222" in self.refused(walled, port=2222)[0]
        run = Run(walled, [control(FIREWALL_ON)])
        assert "would close port 2222" in refusal.refusals(run.node, None)[0]

    @pytest.mark.parametrize(
        "zone",
        [
            '<port port="2222" protocol="tcp"/>',
            '<port protocol="tcp" port="2000-3000"/>',
            '<service name="mine"/>',
        ],
    )
    def test_a_site_lets_it_in_with_its_own_zone(self, walled, zone):
        self.listens(walled, 2222)
        mine = '<service><port port="2222" protocol="tcp"/></service>'
        walled.write("/etc/firewalld/services/mine.xml", mine)
        walled.write("/etc/firewalld/zones/public.xml", f"<zone>{zone}</zone>")
        assert self.refused(walled) == []

    @pytest.mark.parametrize(
        "zone",
        [
            "<zone></zone>",
            '<zone><!-- <service name="ssh"/> --></zone>',
            '<zone><port port="22" protocol="udp"/></zone>',
            '<zone><source-port port="22" protocol="tcp"/></zone>',
        ],
    )
    def test_a_zone_of_the_site_takes_the_place_of_the_shipped_one(self, walled, zone):
        walled.write("/etc/firewalld/zones/public.xml", zone)
        assert "would close port 22" in self.refused(walled)[0]

    def test_a_default_zone_that_lets_nobody_in_is_refused(self, walled):
        walled.write("/etc/firewalld/firewalld.conf", "DefaultZone=drop\n")
        assert "would close port 22" in self.refused(walled)[0]
        open_zone = '<zone target="ACCEPT"><interface name="eth0"/></zone>'
        walled.write("/etc/firewalld/zones/management.xml", open_zone)
        assert self.refused(walled) == []

    def test_one_that_runs_already_closes_nothing(self, walled):
        walled.units["firewalld.service"]["ActiveState"] = "active"
        self.listens(walled, 2222)
        assert self.refused(walled) == []


class TestGuard:
    @pytest.fixture
    def armed(self, system):
        before = snapshot(system.root)
        calls = []
        run = Run(system, [control({"type": "content", "path": "/etc/x", "text": "x"})])
        guard = guards.Guard(run.home, run.node.tree, calls.append)
        run.passed.commit(run.home, "r1", lambda path: None, lambda e: guard.arm(e, 60))
        return run, guard, calls, before

    def test_it_is_armed_before_the_change_by_a_timer_and_for_a_start(self, system, armed):
        run, guard, calls, _ = armed
        assert guard.armed()["run"] == "r1"
        (argv,) = calls
        assert argv[0] == "systemd-run"
        assert "--on-active=60s" in argv
        assert argv[-2:] == [f"{run.home}/undo.py", run.home]
        unit = system.read(guards.BOOT)
        assert "Before=sshd.service" in unit
        # One of the two is enough: the power may fail while the undo is on its way.
        assert f"ConditionPathExists=|{run.home}/armed.json" in unit
        assert f"ConditionPathExists=|{run.home}/firing.json" in unit
        assert system.path(guards.WANTS).is_symlink()

    def test_what_cannot_be_armed_changes_nothing(self, system):
        def no(argv):
            raise rescue.Command("no systemd")

        before = snapshot(system.root)
        run = Run(system, [control({"type": "content", "path": "/etc/x", "text": "x"})])
        guard = guards.Guard(run.home, run.node.tree, no)
        with pytest.raises(rescue.Command):
            run.passed.commit(run.home, "r1", lambda path: None, lambda e: guard.arm(e, 60))
        assert guard.armed() is None
        assert snapshot(system.root) == before

    def test_cancelled_it_leaves_the_change_and_nothing_else(self, system, armed):
        _run, guard, calls, before = armed
        assert guard.cancel()
        assert guard.armed() is None
        assert calls[-1] == ["systemctl", "stop", "--", "holdfast-access-undo.timer"]
        after = snapshot(system.root)
        assert set(after) - set(before) == {"etc/x"}
        assert guard.fire() is None
        assert not guard.cancel()

    def test_fired_it_puts_back_and_cannot_be_cancelled_any_more(self, system, armed):
        run, guard, _, _ = armed
        report = guard.fire()
        assert report.done == ["remove /etc/x"]
        assert not guard.cancel()
        assert not system.path("/etc/x").exists()
        assert not system.path(guards.BOOT).exists()
        (entry,) = journal.entries(run.home)
        assert entry.undone

    @pytest.mark.parametrize("said", ["", "holdfast-access-undo-at-boot.service loaded inactive"])
    def test_systemd_forgets_the_unit_that_it_had_read_meanwhile(self, armed, said):
        _run, guard, _, _ = armed
        calls = []

        def knows(argv):
            calls.append(argv)
            return said if "list-units" in argv else ""

        guard.command = knows
        assert guard.cancel()
        assert (["systemctl", "daemon-reload"] in calls) is bool(said)

    def test_a_server_that_the_change_ended_is_started_again(self, armed):
        _run, guard, calls, _ = armed
        asked = len(calls)
        guard.fire()
        assert calls[asked:][:2] == [
            ["systemctl", "is-failed", "--quiet", "--", "sshd.service"],
            ["systemctl", "restart", "--", "sshd.service"],
        ]

    def test_one_that_runs_is_not(self, system, armed):
        run, _guard, _, _ = armed
        calls = []

        def runs(argv):
            calls.append(argv)
            if argv[1] == "is-failed":
                raise rescue.Command("no")

        guards.Guard(run.home, run.node.tree, runs).fire()
        assert not any("restart" in argv for argv in calls)

    def test_one_rename_decides_between_the_two(self, armed):
        run, guard, _, _ = armed
        assert rescue.claim(run.home)["run"] == "r1"
        assert not guard.cancel()
        assert guard.armed()["firing"]

    def test_an_undo_that_was_killed_is_taken_up_again(self, system, armed):
        run, guard, _, _ = armed
        rescue.claim(run.home)
        assert guard.fire().done == ["remove /etc/x"]
        assert guard.armed() is None

    def test_it_waits_for_a_pass_that_takes_longer_than_its_deadline(self, armed):
        run, guard, _, _ = armed
        done = []
        undo = threading.Thread(target=lambda: done.append(guard.fire()))
        with rescue.alone(run.home):
            undo.start()
            undo.join(0.3)
            assert done == []
            assert not guard.armed()["firing"]
        undo.join(10)
        assert done[0].done == ["remove /etc/x"]

    def test_at_a_start_no_unit_is_waited_for(self, system):
        system.unit("x.service", file="enabled", active="active")
        run = Run(system, [control({"type": "service", "name": "x.service", "state": "masked"})])
        guard = guards.Guard(run.home, run.node.tree, lambda argv: None)
        run.passed.commit(run.home, "r1", lambda path: None, lambda e: guard.arm(e, 60))
        called = []
        rescue.fire(run.home, run.node.tree, called.append, reload=False)
        verbs = ("unmask", "enable", "start")
        assert called == [["systemctl", "--no-block", verb, "--", "x.service"] for verb in verbs]

    def test_at_a_start_nothing_is_reloaded(self, system):
        system.write("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n")
        wants = [control({"type": "sshd", "option": "MaxAuthTries", "value": "4"}, phase="access")]
        run = Run(system, wants, phase="access")
        guard = guards.Guard(run.home, run.node.tree, lambda argv: None)
        run.passed.commit(run.home, "r1", lambda path: None, lambda e: guard.arm(e, 60))
        called = []
        rescue.fire(run.home, run.node.tree, called.append, reload=False)
        assert called == []


def process(proc: Path, pid: int, name: str, parent: int, start: int) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    rest = ["S", str(parent), *["0"] * 17, str(start)]
    (folder / "stat").write_text(f"{pid} ({name}) " + " ".join(rest) + "\n")


class TestLogin:
    """Whether our own login began after the change, which only then proves anything."""

    def proc(self, tmp_path, *chain):
        proc = tmp_path / "proc"
        proc.mkdir()
        (proc / "stat").write_text("cpu 1\nbtime 1000\n")
        for number, (name, start) in enumerate(chain):
            process(proc, 100 + number, name, 101 + number, start)
        (proc / "self").symlink_to("100")
        return str(proc)

    def test_it_began_when_the_server_s_process_did(self, tmp_path):
        ticks = os.sysconf("SC_CLK_TCK")
        chain = (("python3", 900), ("sudo", 800), ("sh", 700), ("sshd-session", 5 * ticks))
        assert guards.logged_in(self.proc(tmp_path, *chain)) == 5

    def test_at_a_console_it_begins_now(self, tmp_path):
        before = guards.since_boot()
        assert guards.logged_in(self.proc(tmp_path, ("python3", 9), ("bash", 8))) >= before

    def test_a_clock_that_is_set_proves_nothing(self, tmp_path):
        ticks = os.sysconf("SC_CLK_TCK")
        proc = self.proc(tmp_path, ("python3", 900), ("sshd-session", 5 * ticks))
        boot = Path(proc, "sys/kernel/random/boot_id")
        boot.parent.mkdir(parents=True)
        boot.write_text("this\n")
        armed = {"at": time.time(), "since_boot": 6.0, "boot": "this"}
        assert not guards.proves(armed, proc)
        # The kernel's own idea of when it started moves with the clock.
        Path(proc, "stat").write_text(f"cpu 1\nbtime {int(time.time()) + 3600}\n")
        assert not guards.proves(armed, proc)
        assert guards.proves({**armed, "since_boot": 4.0}, proc)
        assert guards.proves({**armed, "boot": "an earlier one"}, proc)
        assert not guards.proves({"at": 0.0}, proc)


class TestModules:
    def arm(self, system, at):
        home = str(system.path("/var/lib/holdfast/hardening"))
        run = Run(system, [control({"type": "content", "path": "/etc/x", "text": "x"})])
        run.commit("r1")
        rescue.write_mark(
            home,
            rescue.MARKER,
            {"folder": run.passed.entry.folder, "run": "r1", "at": at, "deadline": at + 60},
        )
        return home

    def test_an_older_login_proves_nothing_and_a_newer_one_does(self, system, monkeypatch):
        home = self.arm(system, time.time())
        module = plugin("modules", "hardening_guard")
        monkeypatch.setattr(rescue, "run", lambda argv: "")
        monkeypatch.setattr(module, "proves", lambda armed: False)
        told = run_module("hardening_guard", {"state": "kept", "home": home})
        assert told["failed"]
        assert "began before the change" in told["msg"]
        monkeypatch.setattr(module, "proves", lambda armed: True)
        told = run_module("hardening_guard", {"state": "kept", "home": home})
        assert told["kept"] is True
        again = run_module("hardening_guard", {"state": "kept", "home": home})
        assert (again["kept"], again["armed"]) == (False, "")

    def test_a_later_pass_keeps_what_its_login_proves_or_waits(self, system, monkeypatch):
        home = self.arm(system, time.time())
        arguments = {"controls": [], "root": str(system.root)}
        monkeypatch.setattr(guards, "proves", lambda armed: False)
        told = run_module("hardening", arguments, check=True)
        assert "no login has proven it yet" in told["msg"]
        monkeypatch.setattr(guards, "proves", lambda armed: True)
        told = run_module("hardening", arguments, check=True)
        assert told.changes == ["keep the access changes of run r1, which this login proves"]
        assert Path(home, rescue.MARKER).exists()

    def test_a_later_pass_ends_an_undo_that_was_killed_on_its_way(self, system, monkeypatch):
        home = self.arm(system, time.time())
        rescue.claim(home)
        arguments = {"controls": [], "root": str(system.root)}
        monkeypatch.setattr(guards, "proves", lambda armed: True)
        told = run_module("hardening", arguments, check=True)
        assert "no login has proven it yet" in told["msg"]
        assert system.path("/etc/x").exists()
        told = run_module("hardening", arguments)
        assert "were put back" in told["msg"]
        assert not system.path("/etc/x").exists()
        assert not run_module("hardening", arguments).get("failed")


class TestConnection:
    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("-C -o ControlMaster=auto -o ControlPersist=60s", "-C"),
            ("-o ControlMaster=auto -o StrictHostKeyChecking=yes", "-o StrictHostKeyChecking=yes"),
            ("-oControlPath=/x -4", "-4"),
            ("-S /tmp/x -o 'UserKnownHostsFile=\"a b\"'", "-o 'UserKnownHostsFile=\"a b\"'"),
            ("", ""),
        ],
    )
    def test_a_fresh_connection_shares_nothing_and_keeps_the_rest(self, given, kept):
        words = access.alone(given)
        assert words == f"-o ControlMaster=no -o ControlPath=none {kept}".strip()
        assert json.dumps(words).lower().count("controlp") == 1

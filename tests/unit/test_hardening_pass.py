"""A pass as a whole: one write a file, killed anywhere, put back, and not led astray."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.hardening_support import Run, System, control, journal, rescue, snapshot
from tests.unit.roles_support import plugin, run_module

ROOT_ONLY = pytest.mark.needs("root")


@pytest.fixture
def system(tmp_path):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    return System(root)


def setting(path, key, value):
    return {"type": "setting", "path": path, "key": key, "value": value}


def content(path, text="x\n", **more):
    return {"type": "content", "path": path, "text": text, "mode": "0644", **more}


class TestOneWrite:
    def test_several_resources_of_one_file_are_one_write(self, system, monkeypatch):
        system.write("/etc/x.conf", "a = 1\n", 0o640)
        writes = []
        replace = rescue.Tree.replace
        monkeypatch.setattr(
            rescue.Tree,
            "replace",
            lambda self, path, *more: (writes.append(path), replace(self, path, *more)),
        )
        wants = [setting("/etc/x.conf", f"k{n}", "v") for n in range(9)]
        wants.append({"type": "file", "path": "/etc/x.conf", "mode": "0600"})
        run = Run(system, [control(*wants)])
        assert len(run.said) == 10
        run.commit()
        assert writes == ["/etc/x.conf"]
        assert stat.S_IMODE(system.path("/etc/x.conf").stat().st_mode) == 0o600

    def test_a_file_keeps_its_mode_and_its_attributes(self, system):
        path = system.write("/etc/x.conf", "a = 1\n", 0o640)
        os.setxattr(path, "user.mine", b"yes")
        run = Run(system, [control(setting("/etc/x.conf", "a", "2"))])
        run.commit()
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert os.getxattr(path, "user.mine") == b"yes"
        path.unlink()
        system.write("/etc/x.conf", "a = 2\n", 0o640)
        run.undo()
        assert os.getxattr(path, "user.mine") == b"yes"

    def test_a_link_of_the_system_is_edited_where_it_points_to(self, system):
        system.write("/etc/sysctl.conf", "a = 1\n")
        link = system.path("/etc/sysctl.d/99.conf")
        link.parent.mkdir()
        link.symlink_to("../sysctl.conf")
        wants = [setting("/etc/sysctl.d/99.conf", "a", "2"), setting("/etc/sysctl.conf", "b", "3")]
        Run(system, [control(*wants)]).commit()
        assert link.is_symlink()
        assert system.read("/etc/sysctl.conf") == "a = 2\nb = 3\n"


class TestJournal:
    def test_it_stands_before_anything_changes_and_is_private(self, system, monkeypatch):
        seen = []
        put = plugin("module_utils.hardening", "apply").put

        def looking(node, draft, label):
            (entry,) = journal.entries(run.home)
            seen.append((entry.begun, entry.done, len(entry.body()["files"])))
            put(node, draft, label)

        monkeypatch.setattr(plugin("module_utils.hardening", "apply"), "put", looking)
        run = Run(system, [control(content("/etc/a"), content("/etc/b"))])
        run.commit()
        assert seen == [(True, False, 2), (True, False, 2)]
        (entry,) = journal.entries(run.home)
        assert entry.done
        for path in (run.home, entry.folder):
            assert stat.S_IMODE(Path(path).stat().st_mode) == 0o700

    def test_it_holds_no_more_than_the_files_that_change(self, system):
        system.write("/etc/secret", "s3cret\n", 0o600)
        run = Run(system, [control({"type": "file", "path": "/etc/secret", "mode": "0000"})])
        run.commit()
        assert not (Path(run.passed.entry.folder) / "file-0000").exists()
        text = (run.system.root / run.passed.entry.folder / "journal.json").read_text()
        assert "s3cret" not in text

    def test_numbers_go_up_over_runs(self, system):
        for number, name in enumerate(("b", "a", "b"), 1):
            run = Run(system, [control(content("/etc/x", f"{number}\n"))])
            run.commit(name)
        assert [(e.number, e.run) for e in journal.entries(run.home)] == [
            (1, "b"),
            (2, "a"),
            (3, "b"),
        ]

    def test_nothing_changes_when_it_cannot_be_written(self, system):
        system.path("/var/lib/holdfast/hardening").write_text("in the way")
        run = Run(system, [control(content("/etc/x"))])
        with pytest.raises(OSError, match="hardening"):
            run.commit()
        assert not system.path("/etc/x").exists()


def killed_after(system: System, controls, steps: int) -> None:
    """Commit in another process, which dies after so many calls that change something."""

    def work():
        count = 0

        def counting(name, real):
            def call(*words, **more):
                nonlocal count
                count += 1
                if count > steps:
                    os._exit(9)
                return real(*words, **more)

            setattr(os, name, call)

        for name in ("rename", "unlink", "fchmod", "fchown", "mkdir", "open"):
            counting(name, getattr(os, name))
        Run(system, controls).commit()
        os._exit(0)

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode in (0, 9)


WANTS = [
    control(
        content("/etc/new", "new\n"),
        content("/etc/deep/er/new", "new\n"),
        setting("/etc/x.conf", "a", "2"),
        {"type": "file", "path": "/etc/open", "mode": "0600"},
        {"type": "file", "path": "/etc/gone", "state": "absent"},
    )
]


def prepare(system: System) -> dict:
    system.write("/etc/x.conf", "a = 1\n", 0o640)
    system.write("/etc/open", "o", 0o666)
    system.write("/etc/gone", "g", 0o604)
    return snapshot(system.root)


@pytest.mark.parametrize("steps", [*range(30), 35, 40, 50, 60, 80, 100])
def test_killed_anywhere_each_file_is_old_or_new_and_can_be_put_back(system, steps):
    before = prepare(system)
    killed_after(system, WANTS, steps)
    for path, texts in (("/etc/x.conf", {"a = 1\n", "a = 2\n"}), ("/etc/open", {"o"})):
        assert system.read(path) in texts
    for path in ("/etc/new", "/etc/deep/er/new"):
        assert not system.path(path).exists() or system.read(path) == "new\n"
    home = str(system.path("/var/lib/holdfast/hardening"))
    for entry in reversed(journal.entries(home)):
        report = rescue.Undone()
        rescue.undo(entry.folder, rescue.Tree(str(system.root)), report)
        assert (report.left, report.wrong) == ([], [])
    left = snapshot(system.root)
    temporary = {name for name in left if name.endswith(rescue.SUFFIX)}
    assert len(temporary) <= 1
    assert {n: v for n, v in left.items() if n not in temporary} == before


def test_after_a_kill_the_next_pass_comes_to_the_end_and_reloads_what_was_owed(system):
    wants = [control(content("/etc/systemd/system/x.service"), content("/etc/z"))]
    real = rescue.Tree.replace

    def dies(self, path, *more):
        if path == "/etc/z":
            raise KeyboardInterrupt
        real(self, path, *more)

    rescue.Tree.replace = dies
    try:
        with pytest.raises(KeyboardInterrupt):
            Run(system, wants).commit("r1")
    finally:
        rescue.Tree.replace = real
    run = Run(system, wants)
    run.passed.owed(run.home)
    # The unit is there already; what systemd has not read yet is not forgotten.
    assert run.said == ["c: write /etc/z", "let systemd read its units again"]
    run.commit("r2")
    assert ["systemctl", "daemon-reload"] in system.calls
    again = Run(system, wants)
    again.passed.owed(again.home)
    assert again.said == []
    assert all(entry.done for entry in journal.entries(run.home))


class TestRestore:
    def module(self, system, to, *, check=False, force=False):
        arguments = {"to": to, "force": force, "root": str(system.root)}
        return run_module("hardening_restore", arguments, check=check)

    def three_runs(self, system):
        before = prepare(system)
        for number in (1, 2, 3):
            wants = [
                control(
                    content("/etc/new", f"{number}\n"),
                    setting("/etc/x.conf", "a", str(number + 1)),
                    undo="it cannot be" if number == 2 else None,
                    name=f"c{number}",
                )
            ]
            Run(system, wants).commit(f"r{number}")
        return before

    def test_a_run_and_all_later_ones_are_put_back_the_latest_first(self, system):
        self.three_runs(system)
        told = self.module(system, "r2", check=True)
        done = self.module(system, "r2")
        assert told.changes == done.changes
        assert done["runs"] == ["r3", "r2"]
        assert done["holdfast_notes"] == ["c2: it cannot be"]
        assert system.read("/etc/new") == "1\n"
        assert self.module(system, "r2")["changed"] is False
        assert self.module(system, "r1")["runs"] == ["r1"]

    def test_back_before_the_first_is_back_to_the_byte(self, system):
        before = self.three_runs(system)
        done = self.module(system, "r1")
        assert done["holdfast_left"] == []
        assert snapshot(system.root) == before

    def test_what_somebody_changed_since_is_left_and_named_unless_forced(self, system):
        self.three_runs(system)
        system.write("/etc/x.conf", "mine\n", 0o640)
        told = self.module(system, "r1", check=True)
        assert "/etc/x.conf: somebody changed it since" in told["holdfast_left"]
        self.module(system, "r1")
        assert system.read("/etc/x.conf") == "mine\n"
        assert not system.path("/etc/new").exists()

    def test_force_puts_it_back_too(self, system):
        before = self.three_runs(system)
        system.write("/etc/x.conf", "mine\n", 0o640)
        self.module(system, "r1", force=True)
        assert snapshot(system.root) == before

    def test_what_was_left_is_named_again_until_it_is_forced(self, system):
        before = self.three_runs(system)
        system.write("/etc/x.conf", "mine\n", 0o640)
        named = ["/etc/x.conf: somebody changed it since"]
        assert self.module(system, "r1")["holdfast_left"] == named * 3
        again = self.module(system, "r1")
        assert (again.changes, again["holdfast_left"]) == ([], named * 3)
        told = self.module(system, "r1", check=True, force=True)
        done = self.module(system, "r1", force=True)
        assert told.changes == done.changes == ["put back /etc/x.conf"] * 3
        assert snapshot(system.root) == before
        assert self.module(system, "r1", force=True)["changed"] is False

    def test_a_later_run_is_not_taken_back_with_what_an_earlier_restore_left(self, system):
        self.three_runs(system)
        system.write("/etc/x.conf", "mine\n", 0o640)
        self.module(system, "r1")
        Run(system, [control(content("/etc/later"))]).commit("r4")
        self.module(system, "r4", force=True)
        assert not system.path("/etc/later").exists()
        assert system.read("/etc/x.conf") == "mine\n"

    def test_a_step_that_cannot_be_taken_back_keeps_no_other_from_it(self, system):
        for name in ("a", "b", "c"):
            system.write(f"/proc/sys/net/{name}", "0\n")
        wants = [{"type": "sysctl", "name": f"net.{n}", "value": 1} for n in ("a", "b", "c")]
        run = Run(system, [control(*wants)])
        run.commit()
        system.path("/proc/sys/net/a").unlink()
        system.path("/proc/sys/net/a").mkdir()
        report = run.undo()
        assert [w.split(":")[0] for w in report.wrong] == ["/proc/sys/net/a"]
        assert system.read("/proc/sys/net/b").split() == ["0"]
        assert system.read("/proc/sys/net/c").split() == ["0"]

    def test_what_the_kernel_never_lets_go_of_does_not_fail_the_rest(self, system):
        system.write("/proc/sys/kernel/kexec_load_disabled", "0\n")
        system.write("/proc/sys/net/a", "0\n")
        wants = [
            {"type": "sysctl", "name": "kernel.kexec_load_disabled", "value": 1},
            {"type": "sysctl", "name": "net.a", "value": 1},
        ]
        run = Run(system, [control(*wants)])
        run.commit()
        assert run.undo().wrong == []
        assert system.read("/proc/sys/kernel/kexec_load_disabled") == "1\n"
        assert system.read("/proc/sys/net/a").split() == ["0"]
        assert not system.path("/etc/sysctl.d/60-holdfast.conf").exists()

    def test_what_loading_the_audit_rules_writes_is_as_before(self, system):
        system.program("augenrules", "auditctl")
        system.write("/etc/audit/audit.rules", "# by hand\n", 0o640)
        system.path("/etc/audit/rules.d").mkdir()
        before = snapshot(system.root)
        rule = {"type": "audit_rule", "key": "k", "rules": ["-w /etc/x -p wa -k k"]}
        run = Run(system, [control(rule)])
        run.commit()
        assert "-w /etc/x" in system.read("/etc/audit/audit.rules")
        assert system.path("/etc/audit/audit.rules.prev").exists()
        assert self.module(system, "r1", check=True).changes
        run.undo()
        assert snapshot(system.root) == before

    def test_what_only_the_next_start_brings_back_is_said(self, system):
        system.unit("multi-user.target")
        link = system.path("/usr/lib/systemd/system/default.target")
        link.symlink_to("graphical.target")
        run = Run(system, [control({"type": "default_target", "name": "multi-user.target"},
                                   reboot=True)])  # fmt: skip
        run.commit()
        told = self.module(system, "r1", check=True)
        (note,) = told["holdfast_notes"]
        assert note.startswith("c: start multi-user.target by default")
        assert note.endswith("as before at the next start only")

    def test_an_interface_that_came_while_it_was_hardened_is_as_before(self, system):
        conf = "/proc/sys/net/ipv4/conf"
        for name in ("all", "default", "eth0", "gone0"):
            system.write(f"{conf}/{name}/log_martians", "0\n")
        name = "net.ipv4.conf.default.log_martians"
        run = Run(system, [control({"type": "sysctl", "name": name, "value": 1})])
        run.commit()
        # What a restart does: interfaces come anew, with what is now their default.
        system.write(f"{conf}/eth0/log_martians", "1\n")
        system.write(f"{conf}/new0/log_martians", "1\n")
        system.path(f"{conf}/gone0/log_martians").unlink()
        assert run.undo().wrong == []
        seen = {n: system.read(f"{conf}/{n}/log_martians") for n in ("default", "eth0", "new0")}
        assert seen == {"default": "0\n", "eth0": "0\n", "new0": "1\n"}
        assert not system.path(f"{conf}/gone0/log_martians").exists()

    @ROOT_ONLY
    def test_a_capability_comes_back_to_a_file_that_changed_hands(self, system):
        path = system.write("/usr/bin/tool", "x", 0o755)
        capability = bytes.fromhex("0100000200040000000000000000000000000000")
        os.setxattr(path, "security.capability", capability)
        system.write("/etc/group", system.read("/etc/group") + "others:x:4242:\n")
        want = {"type": "file", "path": "/usr/bin/tool", "group": "others"}
        run = Run(system, [control(want)])
        run.commit()
        assert "security.capability" not in os.listxattr(path)
        run.undo()
        assert os.getxattr(path, "security.capability") == capability
        assert path.stat().st_gid == os.getgid()

    @ROOT_ONLY
    def test_bytes_that_somebody_put_there_do_not_run_as_root_after_a_restore(self, system):
        home = system.path("/home/a")
        home.mkdir(parents=True)
        tool = system.write("/home/a/.tool", "root's")
        tool.chmod(0o4755)
        os.chown(home, 4242, 4242)
        system.user("a:x:4242:4242::/home/a:/bin/bash")
        run = Run(system, [control({"type": "account", "what": "dotfile_owner"})])
        run.commit()
        assert tool.stat().st_uid == 4242
        tool.write_text("a's own")
        run.undo()
        assert tool.stat().st_uid == 0
        assert stat.S_IMODE(tool.stat().st_mode) == 0o755

    def test_a_folder_of_ours_with_something_else_in_it_stays(self, system):
        run = Run(system, [control(content("/etc/deep/new"))])
        run.commit()
        system.write("/etc/deep/mine", "m")
        report = run.undo()
        assert report.left == ["/etc/deep: something else is in it now"]
        assert report.wrong == []
        assert system.read("/etc/deep/mine") == "m"
        assert not system.path("/etc/deep/new").exists()

    def test_a_damaged_copy_is_refused_and_the_rest_goes_on(self, system):
        self.three_runs(system)
        (first, *_) = journal.entries(str(system.path("/var/lib/holdfast/hardening")))
        entry = next(e for e in first.body()["files"] if "backup" in e)
        with (Path(first.folder) / entry["backup"]).open("ab") as stream:
            stream.write(b"x")
        done = self.module(system, "r1")
        assert done["failed"]
        assert "is damaged" in done["msg"]
        assert not system.path("/etc/new").exists()
        # It is not taken for undone, and a later try does the rest again.
        assert not first.undone

    def test_it_waits_for_a_pass_that_still_writes(self, system):
        before = self.three_runs(system)
        home = str(system.path("/var/lib/holdfast/hardening"))
        with rescue.alone(home):
            with multiprocessing.get_context("fork").Pool(1) as pool:
                done = pool.apply_async(self.module, (system, "r1"))
                with pytest.raises(multiprocessing.TimeoutError):
                    done.get(1)
            assert system.read("/etc/new") == "3\n"
            # A look writes nothing and waits for nobody.
            assert self.module(system, "r1", check=True)["runs"] == ["r3", "r2", "r1"]
        self.module(system, "r1")
        assert snapshot(system.root) == before

    def test_a_run_that_the_node_does_not_know_is_nothing_to_do(self, system):
        assert self.module(system, "unknown")["changed"] is False


class TestFailure:
    def test_a_step_that_fails_puts_everything_back(self, system, monkeypatch):
        before = prepare(system)
        system.write("/proc/sys/a/b", "0\n")
        system.path("/proc/sys/a/b").chmod(0o644)
        arguments = {
            "controls": [*WANTS, control({"type": "service", "name": "x.service",
                                          "state": "masked"})],
            "root": str(system.root),
        }  # fmt: skip
        system.unit("x.service", file="enabled", active="active")
        system.failing = set()
        nodes = plugin("module_utils.hardening", "node")

        def command(argv, data=None, seconds=120):
            if argv[:2] == ["systemctl", "mask"]:
                return 1, "no"
            return system.command(argv, data)

        hardening = plugin("modules", "hardening")
        monkeypatch.setattr(
            hardening, "Node", lambda tree, **more: nodes.Node(tree, command=command, **more)
        )
        monkeypatch.setattr(rescue, "run", system.raising)
        done = run_module("hardening", arguments)
        assert done["failed"]
        assert "systemctl mask -- x.service: no; all was put back" in done["msg"]
        after = snapshot(system.root)
        assert {k: v for k, v in after.items() if "x.service" not in k and "proc" not in k
                and "systemd" not in k and not k.startswith("usr")} == before  # fmt: skip

    def test_what_is_wrong_is_said_all_at_once_before_anything_changes(self, system):
        before = snapshot(system.root)
        wants = [
            control({"type": "package", "name": "aide", "state": "present"}, name="one"),
            control({"type": "service", "name": "no.service", "state": "enabled"}, name="two"),
            control(content("/etc/x"), name="three"),
        ]
        run = Run(system, wants)
        assert [what.split(":")[0] for what in run.wrong] == ["one", "two"]
        assert snapshot(system.root) == before


class TestLedAstray:
    """A local user prepares places so that root writes, reads or opens something else."""

    def loose(self, system, path, mode=0o777):
        folder = system.path(path)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
        return folder

    @pytest.mark.parametrize("kind", ["folder", "pipe", "second name", "large"])
    def test_what_a_user_puts_in_the_way_of_a_removal_does_not_stop_the_pass(self, system, kind):
        home = self.loose(system, "/home/a")
        path = home / ".rhosts"
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "second name":
            (home / "x").write_text("x")
            path.hardlink_to(home / "x")
        else:
            with path.open("wb") as stream:
                stream.truncate(1 << 40)
        gone = {"type": "file", "path": "/home/*/.rhosts", "state": "absent"}
        run = Run(system, [control(gone), control(content("/etc/new", "1\n"), name="d")])
        assert run.commit() == []
        assert system.read("/etc/new") == "1\n"
        assert "/home/a/.rhosts: " in run.node.skipped[0]
        assert os.path.lexists(path)
        assert run.undo().wrong == []

    def test_what_is_no_file_is_not_made_again_and_the_rest_comes_back(self, system):
        os.mkfifo(system.path("/etc/pipe"))
        gone = {"type": "file", "path": "/etc/pipe", "state": "absent"}
        run = Run(system, [control(gone, content("/etc/new", "1\n"))])
        run.commit()
        assert "a pipe, socket or device" in run.undo().wrong[0]
        assert not system.path("/etc/new").exists()

    def test_a_file_that_changes_hands_does_not_run_with_its_new_owners_rights(self, system):
        tool = system.write("/usr/local/bin/tool", "theirs")
        tool.chmod(0o6755)
        system.write("/etc/group", system.read("/etc/group") + "others:x:4242:\n")
        want = {"type": "file", "path": "/usr/local/bin", "mode": "07755", "recurse": True}
        assert Run(system, [control(want)]).said == []
        run = Run(system, [control({**want, "group": "others"})])
        assert "c: set mode 0755, group others on /usr/local/bin/tool" in run.said

    def test_the_diff_shows_nothing_of_a_users_own_nor_of_what_few_can_come_to(self, system):
        home = self.loose(system, "/home/a")
        (home / ".rhosts").write_text("secret")
        system.write("/etc/few/x.conf", "a = secret\n")
        system.path("/etc/few").chmod(0o700)
        system.write("/etc/all.conf", "a = known\n")
        gone = {"type": "file", "path": "/home/*/.rhosts", "state": "absent"}
        wants = [setting("/etc/few/x.conf", "a", "1"), setting("/etc/all.conf", "a", "1")]
        diffs = str(Run(system, [control(gone, *wants)]).passed.diffs())
        assert "secret" not in diffs
        assert "known" in diffs

    def test_a_name_that_is_no_text_is_told_in_a_way_that_ansible_takes(self, system):
        home = self.loose(system, "/home/a")
        path = Path(os.fsdecode(os.fsencode(home) + b"/.\xff"))
        path.touch()
        path.chmod(0o666)
        system.user("a:x:4242:4242::/home/a:/bin/bash")
        mode = {"type": "account", "what": "dotfile_mode", "value": "0740"}
        arguments = {"controls": [control(mode)], "root": str(system.root)}
        (path.parent / ".a").write_text("x")
        (path.parent / ".a").chmod(0o666)
        (path.parent / ".b").hardlink_to(path.parent / ".a")
        done = run_module("hardening", arguments)
        assert len(done["left_alone"]) == 2
        # Ansible takes a result that has this word for that of a task which did not run.
        assert "skipped" not in done
        (told,) = done.changes
        assert told.endswith(" on /home/a/.\\xff")
        assert path.stat().st_mode & 0o777 == 0o640

    def test_a_user_cannot_write_audit_rules_with_a_files_name(self, system):
        home = self.loose(system, "/home/a")
        system.write("/proc/self/mounts", "/dev/vda / xfs rw 0 0\n")
        system.write("/usr/bin/su", "", 0o4755)
        for name in ("x -k a\n-D\n-e 0\n#", "y z", "plain"):
            (home / name).write_text("")
            (home / name).chmod(0o4755)
        run = Run(system, [control({"type": "audit_privileged", "key": "k"})])
        run.commit()
        (rule,) = system.read("/etc/audit/rules.d/60-holdfast-k.rules").splitlines()
        assert "path=/usr/bin/su " in rule
        assert len(run.node.skipped) == 3
        assert "\n" not in "".join(run.node.skipped)

    def test_what_find_complains_of_is_no_file(self, system, monkeypatch):
        system.write("/proc/self/mounts", "/dev/vda / xfs rw 0 0\n")
        path = system.write("/srv/x", "", 0o666)
        sweep = control({"type": "sweep", "what": "no_world_write"})
        said = f"f 666 /elsewhere\0find: '/tmp/x': No such file\nf 666 /y\0f 666 {path}\0"
        monkeypatch.setattr(system, "_find", lambda argv, data: (1, said))
        assert Run(system, [sweep]).said == ["c: set mode 0664 on /srv/x"]
        monkeypatch.setattr(system, "_find", lambda argv, data: (126, "timed out after 120 s"))
        assert "did not look at all files" in Run(system, [sweep]).wrong[0]

    def test_a_folder_that_becomes_a_link_does_not_stop_a_sweep(self, system, monkeypatch):
        system.write("/proc/self/mounts", "/dev/vda / xfs rw 0 0\n")
        (self.loose(system, "/home/a") / "d").symlink_to("/etc")
        found = f"f 666 {system.root}/home/a/d/passwd\0"
        monkeypatch.setattr(system, "_find", lambda argv, data: (0, found))
        run = Run(system, [control({"type": "sweep", "what": "no_world_write"})])
        assert (run.wrong, run.said) == ([], [])
        assert "/home/a/d/passwd: a link where others can write" in run.node.skipped

    def test_a_folder_whose_access_list_lets_somebody_write_is_not_trusted(self, system):
        folder = system.path("/etc/x")
        folder.mkdir(parents=True)
        # u::rwx, u:4242:rwx, g::r-x, m::rwx, o::r-x
        rows = ((1, 7, 2**32 - 1), (2, 7, 4242), (4, 5, 2**32 - 1), (16, 7, 2**32 - 1),
                (32, 5, 2**32 - 1))  # fmt: skip
        listed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)
        tree = rescue.Tree(str(system.root))
        folder.chmod(0o755)
        assert tree.look("/etc/x/y").trusted
        os.setxattr(folder, "system.posix_acl_access", listed)
        assert not tree.look("/etc/x/y").trusted

    @ROOT_ONLY
    def test_nobody_gets_a_file_of_others_that_he_could_not_read(self, system):
        home = self.loose(system, "/home/a", 0o755)
        system.user("a:x:4242:4242::/home/a:/bin/bash")
        for name, mode in ((".secret", 0o600), (".known", 0o644)):
            (home / name).write_text(name)
            (home / name).chmod(mode)
        run = Run(system, [control({"type": "account", "what": "dotfile_owner"})])
        assert [said.rpartition("/")[2] for said in run.said] == [".known"]
        assert run.node.skipped == ["/home/a/.secret: not of a, who may not even read it"]

    def test_a_home_of_two_does_not_change_hands_at_every_run(self, system):
        self.loose(system, "/home/ann", 0o755)
        system.user("a:x:4242:4242::/home/ann:/bin/bash")
        system.user("b:x:4243:4243::/home/ann/:/bin/bash")
        run = Run(system, [control({"type": "account", "what": "home_owner"})])
        assert run.said == []
        assert "the home of several" in run.node.skipped[0]

    def test_a_sweep_may_take_as_long_as_a_large_disk_needs(self, system):
        system.write("/proc/self/mounts", "/dev/vda / xfs rw 0 0\n")
        Run(system, [control({"type": "sweep", "what": "no_world_write"})])
        assert system.allowed["find"] >= 3600

    @pytest.mark.parametrize(
        "wanted",
        [
            {"type": "sysctl", "name": "kernel/../../../etc/shadow", "value": 1},
            {"type": "sysctl", "name": "kernel..", "value": 1},
            {"type": "pam", "service": ["../passwd"], "facility": "auth", "module": "m"},
            {"type": "authselect", "features": ["with-faillock", "--force"]},
            {"type": "crypto_policy", "policy": "--help"},
            {"type": "group", "name": "wheel", "members": ["a", "b,c"]},
            {"type": "kernel_argument", "name": "a", "value": "b init=/bin/sh"},
        ],
    )
    def test_no_name_leads_out_of_its_folder_or_is_an_option(self, system, wanted):
        """The plan would else tell what a file says that few may read."""
        system.write("/etc/shadow", "root:secret:1::::::\n", 0o600)
        system.write("/proc/sys/kernel/x", "1\n")
        run = Run(system, [control(wanted)])
        assert [told.rpartition(" ")[2] for told in run.wrong] == ["be"]
        assert "secret" not in str((run.said, run.wrong))

    def test_a_sweep_ends_somewhere(self, system, monkeypatch):
        monkeypatch.setattr(plugin("module_utils.hardening", "sweep"), "MOST", 3)
        system.write("/proc/self/mounts", "/dev/vda / xfs rw 0 0\n")
        for number in range(5):
            system.write(f"/home/a/{number}", "", 0o666)
        run = Run(system, [control({"type": "sweep", "what": "no_world_write"})])
        assert len(run.said) == 3
        assert "the last of 3 places" in run.node.skipped[0]

    @pytest.mark.parametrize("home", ["/tmp", "/srv", "/etc/app", "/var/lib", "/var/tmp"])
    def test_no_folder_of_the_system_becomes_somebodys_home(self, system, home):
        self.loose(system, home, 0o1777 if home.endswith("tmp") else 0o755)
        system.user(f"app:x:1234:1234::{home}:/bin/bash")
        wants = [{"type": "account", "what": "home_mode", "value": "0700"},
                 {"type": "account", "what": "home_owner"}]  # fmt: skip
        run = Run(system, [control(*wants)])
        assert (run.wrong, run.said) == ([], [])
        assert run.node.skipped == [f"{home}: the home of app, and the system's"]

    def test_a_link_in_a_folder_that_others_may_write_is_not_followed(self, system):
        system.write("/etc/shadow", "root:x\n", 0o600)
        folder = self.loose(system, "/srv/open")
        (folder / "x.conf").symlink_to("/etc/shadow")
        run = Run(system, [control(setting("/srv/open/x.conf", "a", "1"))])
        assert "is no file but a link" in run.wrong[0]
        assert system.read("/etc/shadow") == "root:x\n"

    def test_nor_is_a_folder_that_is_a_link_there(self, system):
        system.write("/etc/target/x.conf", "a = 0\n")
        folder = self.loose(system, "/srv/open")
        (folder / "sub").symlink_to("/etc/target")
        run = Run(system, [control(setting("/srv/open/sub/x.conf", "a", "1"))])
        assert "a link where others can write" in run.wrong[0]
        assert system.read("/etc/target/x.conf") == "a = 0\n"

    def test_nothing_below_such_a_folder_is_trusted(self, system):
        system.write("/etc/target", "t\n", 0o666)
        folder = self.loose(system, "/srv/open")
        inner = folder / "mine"
        inner.mkdir(mode=0o755)
        (inner / "x").symlink_to("/etc/target")
        run = Run(system, [control({"type": "file", "path": "/srv/open/mine/x", "mode": "0600"})])
        assert run.said == []
        run = Run(system, [control({"type": "file", "path": "/srv/open/mine/*", "mode": "0600"})])
        assert run.said == []
        assert stat.S_IMODE(system.path("/etc/target").stat().st_mode) == 0o666

    def test_a_second_name_of_a_file_is_left_and_named(self, system):
        secret = system.write("/etc/secret", "s\n", 0o666)
        folder = self.loose(system, "/srv/open")
        os.link(secret, folder / "mine")
        system.write("/proc/self/mounts", "/dev/vda / xfs rw 0 0\n")
        run = Run(system, [control({"type": "sweep", "what": "no_world_write", "below": ["/srv"]})])
        assert run.said == []
        assert "a file with a second name" in run.node.skipped[0]
        run = Run(system, [control(setting("/srv/open/mine", "a", "1"))])
        assert "second name" in run.wrong[0]
        assert system.read("/etc/secret") == "s\n"

    def test_a_second_name_where_only_root_writes_is_no_trick(self, system):
        system.write("/etc/a", "x = 1\n", 0o666)
        os.link(system.path("/etc/a"), system.path("/etc/b"))
        run = Run(system, [control({"type": "file", "path": "/etc/a", "mode": "0600"})])
        assert run.commit() == []

    def test_a_file_that_is_exchanged_after_the_look_is_not_touched(self, system):
        system.write("/etc/target", "t\n", 0o666)
        folder = self.loose(system, "/srv/open")
        (folder / "x").write_text("mine")
        (folder / "x").chmod(0o666)
        run = Run(system, [control({"type": "file", "path": "/srv/open/x", "mode": "0600"})])
        assert run.said
        (folder / "x").unlink()
        (folder / "x").symlink_to("/etc/target")
        assert run.commit() == []
        assert run.node.skipped[0].startswith("/srv/open/x: ")
        assert stat.S_IMODE(system.path("/etc/target").stat().st_mode) == 0o666
        (folder / "x").unlink()
        os.link(system.path("/etc/target"), folder / "x")
        run = Run(system, [control({"type": "file", "path": "/srv/open/*", "mode": "0600"})])
        assert run.wrong or run.said == []

    def test_a_loop_of_links_ends(self, system):
        system.path("/etc").mkdir(exist_ok=True)
        system.path("/etc/a").symlink_to("b")
        system.path("/etc/b").symlink_to("a")
        run = Run(system, [control(setting("/etc/a", "x", "1"))])
        assert "cannot be read" in run.wrong[0]

    def test_no_path_leaves_the_tree(self, system, tmp_path):
        outside = tmp_path / "outside"
        outside.write_text("o\n")
        system.path("/etc/up").symlink_to("../../../../../../outside")
        run = Run(system, [control(setting("/etc/up", "x", "1"))])
        run.commit()
        assert outside.read_text() == "o\n"
        assert system.read("/outside") == "x = 1\n"

    def test_special_files_are_left(self, system):
        os.mkfifo(system.path("/etc/pipe"), 0o666)
        run = Run(system, [control({"type": "file", "path": "/etc/p*", "mode": "0600"})])
        assert all("pipe" not in said for said in run.said)

    def test_a_setting_of_the_kernel_is_written_nowhere_else(self, system):
        for path in ("/etc/passwd", "/proc/sys/../../etc/passwd", "/proc/sysrq-trigger"):
            with pytest.raises(rescue.Command, match="no setting of the kernel"):
                rescue.perform(rescue.Tree(str(system.root)), {"put": [path, "x"]})


class TestScript:
    """The way back as it is laid down on a node: one file, with Python's own library alone."""

    def test_it_stands_alone_and_restores(self, system, tmp_path):
        before = prepare(system)
        run = Run(system, WANTS)
        run.commit()
        home = run.home
        mark = {"folder": run.passed.entry.folder, "run": "r1", "at": 0, "deadline": 0}
        rescue.write_mark(home, rescue.MARKER, mark)
        script = tmp_path / "undo.py"
        script.write_text(Path(rescue.__file__).read_text(encoding="utf-8"))
        body = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import undo;"
            f"undo.Tree.__init__.__defaults__ = ({str(system.root)!r},);"
            f"sys.exit(undo.main(['undo', {home!r}]))"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", body], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "put back /etc/x.conf" in done.stderr
        assert snapshot(system.root) == before
        undone = json.loads((system.root / mark["folder"] / "undone.json").read_text())
        assert undone["by"].startswith("the node itself")
        again = subprocess.run(
            [sys.executable, "-I", "-S", "-c", body], capture_output=True, text=True, check=False
        )
        assert again.stderr == "nothing is armed\n"


class TestModule:
    def test_check_mode_says_what_the_run_does_and_the_second_run_nothing(self, system):
        prepare(system)
        arguments = {"controls": WANTS, "root": str(system.root), "run": "r1"}
        told = run_module("hardening", arguments, check=True)
        done = run_module("hardening", arguments)
        assert told["changed"]
        assert told.changes == done.changes
        assert told["diff"] == done["diff"]
        assert done["journal"].endswith("r1/000001-hardening")
        again = run_module("hardening", arguments)
        assert again["changed"] is False
        assert "journal" not in again

    def test_what_cannot_be_undone_is_said_before_it_is_done(self, system):
        wants = [
            control(content("/etc/x"), name="one", undo="it stays"),
            control({"type": "file", "path": "/etc/none", "mode": "0600"}, name="two", undo="no"),
        ]
        arguments = {"controls": wants, "root": str(system.root), "notes": ["install aide"]}
        told = run_module("hardening", arguments, check=True)
        assert told["holdfast_notes"] == ["install aide", "one: it stays"]
        done = run_module("hardening", {**arguments, "run": "r1"})
        assert done["holdfast_notes"] == told["holdfast_notes"]
        back = run_module("hardening_restore", {"to": "r1", "root": str(system.root)}, check=True)
        assert back["holdfast_notes"] == told["holdfast_notes"]

    def test_a_diff_shows_no_file_that_not_everybody_may_read(self, system):
        system.write("/etc/secret", "key = s3cret\n", 0o600)
        wants = [control(setting("/etc/secret", "other", "1"))]
        told = run_module("hardening", {"controls": wants, "root": str(system.root)}, check=True)
        assert told["changed"]
        assert "s3cret" not in json.dumps(told)

    @ROOT_ONLY
    def test_an_owner_that_nobody_has_is_named(self, system):
        wants = [control(content("/etc/x", owner="nobodyhere"))]
        told = run_module("hardening", {"controls": wants, "root": str(system.root)}, check=True)
        assert "there is no user nobodyhere" in told["msg"]

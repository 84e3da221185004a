"""A pass as a whole: one write a file, killed anywhere, and put back."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.hardening_support import (
    Run,
    System,
    content,
    control,
    journal,
    rescue,
    setting,
    snapshot,
)
from tests.unit.roles_support import plugin, run_module

ROOT_ONLY = pytest.mark.needs("root")


@pytest.fixture
def system(tmp_path):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    return System(root)


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

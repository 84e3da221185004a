"""A pass is not led astray: by links, hard links and folders that others can write to."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import pytest

from tests.unit.hardening_support import Run, System, content, control, rescue, setting
from tests.unit.roles_support import plugin, run_module

ROOT_ONLY = pytest.mark.needs("root")


@pytest.fixture
def system(tmp_path):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    return System(root)


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

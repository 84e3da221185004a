"""The node's lock: one run at a time, replaced only by name, and never while modules work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from tests.unit.roles_support import ROOT, plugin

lock = plugin("modules", "node_lock")
processes = plugin("module_utils", "processes")
AS_ROOT = pytest.mark.needs("root")


@pytest.fixture
def proc(tmp_path):
    """A /proc without anything in it, so that this machine's own work is not seen."""
    folder = tmp_path / "proc"
    folder.mkdir()
    return folder


def params(root, run="r1", **given):
    known = {
        "state": "acquired", "run": run, "controller": "me@here", "pid": 7, "command": "up",
        "lock_digest": "", "takeover": None, "resume": False, "wait": 0, "root": str(root),
    }  # fmt: skip
    return {**known, **given}


def process(
    proc, pid, parent, words, *, state="S", start=100, environ=b"", stdin="pipe:[1]", uids=(0,) * 4
):
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    rest = ["0"] * 16 + [str(start), "0"]
    (folder / "stat").write_text(f"{pid} (a (b) c) {state} {parent} 0 0 {' '.join(rest[2:])} x\n")
    stat = f"{pid} (a (b) c) {state} {parent} " + " ".join(["0"] * 17) + f" {start} 0 0\n"
    (folder / "stat").write_text(stat)
    (folder / "cmdline").write_bytes(b"\0".join(w.encode() for w in words) + b"\0")
    (folder / "environ").write_bytes(environ)
    (folder / "fd" / "0").symlink_to(stdin)
    (folder / "status").write_text("Name:\tx\nUid:\t" + "\t".join(map(str, uids)) + "\n")
    return folder


def history(root):
    path = root / "var/lib/holdfast/history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_taken_again_by_the_same_run_is_no_change(tmp_path, proc):
    changed, holder, left = lock.acquire(params(tmp_path), False, proc)
    assert changed
    assert left == []
    assert holder["run"] == "r1"
    path = tmp_path / "run/holdfast/lock.json"
    said = json.loads(path.read_text())
    assert set(said) == {"run", "controller", "pid", "since", "command", "users"}
    changed, again, _ = lock.acquire(params(tmp_path, pid=8), False, proc)
    assert not changed
    assert again["pid"] == 7
    assert lock.release(params(tmp_path), False, proc) == (True, None)
    assert not path.exists()
    assert lock.release(params(tmp_path), False, proc) == (False, None)
    assert [e["event"] for e in history(tmp_path)] == ["lock.acquired", "lock.released"]
    assert list(path.parent.iterdir()) == [], "no draft is left"


def test_another_run_is_refused_with_the_holder_and_the_way_out(tmp_path, proc):
    lock.acquire(params(tmp_path), False, proc)
    with pytest.raises(lock.Refused, match="run r1 of me@here") as refused:
        lock.acquire(params(tmp_path, "r2"), False, proc)
    assert "--resume r1" in str(refused.value)
    assert "--break-lock r1" in str(refused.value)
    assert refused.value.holder["run"] == "r1"
    assert lock.release(params(tmp_path, "r2"), False, proc)[0] is False
    assert (tmp_path / "run/holdfast/lock.json").exists()


def test_takeover_names_the_one_run_that_may_be_replaced(tmp_path, proc):
    lock.acquire(params(tmp_path), False, proc)
    with pytest.raises(lock.Refused):
        lock.acquire(params(tmp_path, "r3", takeover="r2"), False, proc)
    changed, holder, _ = lock.acquire(params(tmp_path, "r3", takeover="r1"), False, proc)
    assert changed
    assert holder["run"] == "r3"
    assert history(tmp_path)[-1]["replaced"] == "r1"


def test_a_damaged_lock_is_a_lock(tmp_path, proc):
    path = tmp_path / "run/holdfast/lock.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(lock.Refused, match="cannot be read"):
        lock.acquire(params(tmp_path), False, proc)
    assert lock.acquire(params(tmp_path, takeover="any"), False, proc)[0]


def test_a_lock_that_changed_hands_is_put_back(tmp_path, proc):
    lock.acquire(params(tmp_path), False, proc)
    assert lock.remove_lock(str(tmp_path), "other")["run"] == "r1"
    assert lock.read_lock(str(tmp_path))["run"] == "r1"
    assert lock.remove_lock(str(tmp_path), "r1") is None
    assert lock.remove_lock(str(tmp_path), "r1") is None


def test_check_mode_changes_nothing(tmp_path, proc):
    assert lock.acquire(params(tmp_path), True, proc)[0]
    assert not (tmp_path / "run").exists()
    lock.acquire(params(tmp_path), False, proc)
    assert lock.release(params(tmp_path), True, proc)[0]
    assert (tmp_path / "run/holdfast/lock.json").exists()


SSH = b"SSH_CONNECTION=192.0.2.1 1 192.0.2.11 22\0"


def test_modules_of_an_earlier_run_are_found_with_all_they_started(proc):
    process(proc, 10, 1, ["/bin/sh", "-c", "/usr/bin/python3 && sleep 0"])
    process(proc, 11, 10, ["/usr/bin/python3"])
    process(proc, 12, 11, ["dnf", "install", "x"])
    process(proc, 20, 1, ["/bin/sh", "-c", "echo BECOME-SUCCESS-abc ; /usr/bin/python3"])
    process(proc, 30, 1, ["/usr/bin/python3"], environ=SSH)
    process(proc, 40, 1, ["/usr/bin/python3", "/root/.ansible/tmp/ansible-tmp-1/AnsiballZ_x.py"])
    process(proc, 50, 1, ["/usr/bin/python3", "-m", "http.server"], environ=SSH)
    process(proc, 51, 1, ["/usr/bin/python3"], environ=SSH, stdin="/dev/pts/0")
    process(proc, 52, 1, ["/usr/bin/python3"])
    process(proc, 53, 10, ["gone"], state="Z")
    assert [e["pid"] for e in lock.left_behind(str(proc), set())] == [10, 11, 12, 20, 30, 40]
    own = {10, 11}
    assert 12 not in [e["pid"] for e in lock.left_behind(str(proc), own)]


ALICE, ROBOT, ANN = 1001, 1002, 1003
MODULE = ["/usr/bin/python3", "/home/a/.ansible/tmp/ansible-tmp-1/AnsiballZ_x.py"]


class TestWhoCounts:
    """Everybody may give a process any name; only some of them may keep a node locked by it."""

    def pids(self, proc, own=(), users=()):
        return [entry["pid"] for entry in lock.left_behind(str(proc), set(own), users)]

    @pytest.mark.parametrize("uids", [(ALICE,) * 4, (0, ALICE, 0, 0), (ALICE, 0, 0, 0)])
    def test_a_local_user_keeps_nobody_from_the_node(self, tmp_path, proc, uids):
        process(proc, 10, 1, MODULE, uids=uids)
        process(proc, 11, 1, ["/bin/sh", "-c", "/usr/bin/python3 && sleep 0"], uids=uids)
        process(proc, 12, 1, ["/usr/bin/python3"], environ=SSH, uids=uids)
        process(proc, 13, 1, ["sh", "-c", "echo BECOME-SUCCESS-x"], uids=uids)
        assert lock.acquire(params(tmp_path), False, proc)[2] == []
        assert lock.release(params(tmp_path), False, proc)[0]

    def test_who_we_log_in_as_counts(self, proc):
        process(proc, 5, 1, ["sshd-session: robot"], uids=(ROBOT,) * 4)
        process(proc, 6, 5, ["python3"])
        process(proc, 10, 1, MODULE, uids=(ROBOT,) * 4)
        process(proc, 11, 1, MODULE, uids=(ALICE,) * 4)
        assert self.pids(proc) == []
        assert self.pids(proc, own=(5, 6)) == [10]

    def test_so_does_who_the_run_was_that_holds_the_node(self, tmp_path, proc, monkeypatch):
        monkeypatch.setattr(lock, "GRACE", 0)
        lock.acquire(params(tmp_path), False, proc)
        path = tmp_path / "run/holdfast/lock.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "users": [0, ANN]}))
        process(proc, 10, 1, MODULE, uids=(ANN,) * 4)
        process(proc, 11, 1, MODULE, uids=(ALICE,) * 4)
        with pytest.raises(lock.Refused, match=r"still work.*: 10 ") as refused:
            lock.acquire(params(tmp_path, "r2", takeover="r1"), False, proc)
        assert "11 (" not in str(refused.value)

    def test_what_a_module_started_counts_whoever_it_runs_as(self, proc):
        process(proc, 10, 1, MODULE)
        process(proc, 11, 10, ["dnf"])
        process(proc, 12, 11, ["scriptlet"], uids=(ALICE,) * 4)
        assert self.pids(proc) == [10, 11, 12]

    def test_a_set_uid_program_has_words_of_whoever_called_it(self, tmp_path, proc):
        sudo = tmp_path / "sudo"
        sudo.touch()
        sudo.chmod(0o4755)
        (process(proc, 10, 1, ["sudo", "AnsiballZ_"]) / "exe").symlink_to(sudo)
        assert self.pids(proc) == []
        process(proc, 11, 10, ["/bin/sh", "-c", "echo BECOME-SUCCESS-abc ; /usr/bin/python3"])
        assert self.pids(proc) == [11]

    def test_so_has_a_container_of_its_image(self, proc):
        for pid, space in ((10, 1), (11, 2), ("self", 1)):
            folder = process(proc, pid, 1, MODULE) if pid != "self" else proc / pid
            (folder / "ns").mkdir(parents=True)
            (folder / "ns/pid").symlink_to(f"pid:[{space}]")
        assert self.pids(proc) == [10]

    def test_what_ended_meanwhile_counts_for_nobody(self, proc):
        (process(proc, 10, 1, MODULE) / "status").unlink()
        assert self.pids(proc) == []

    @AS_ROOT
    def test_a_real_one(self):
        own = processes.ancestors("/proc", os.getpid())
        children = [
            subprocess.Popen(["AnsiballZ_x", "60"], executable="/bin/sleep", user=user)
            for user in (65534, None)
        ]
        try:
            found = [entry["pid"] for entry in lock.left_behind("/proc", own)]
            assert [child.pid in found for child in children] == [False, True]
        finally:
            for child in children:
                child.kill()
                child.wait()


def test_ancestors_are_our_own(proc):
    process(proc, 1, 0, ["init"])
    process(proc, 10, 1, ["sh"])
    process(proc, 11, 10, ["python3"])
    assert processes.ancestors(str(proc), 11) == {11, 10, 1}


def test_a_lock_is_not_given_back_while_modules_work(tmp_path, proc):
    lock.acquire(params(tmp_path), False, proc)
    process(proc, 10, 1, ["/bin/sh", "-c", "/usr/bin/python3 && sleep 0"])
    with pytest.raises(lock.Refused, match="still work"):
        lock.release(params(tmp_path), False, proc)
    assert lock.read_lock(str(tmp_path))["run"] == "r1"


def test_a_new_run_waits_and_gives_up_without_the_lock(tmp_path, proc):
    process(proc, 10, 1, ["/bin/sh", "-c", "/usr/bin/python3 && sleep 0"])
    with pytest.raises(lock.Refused, match="10"):
        lock.acquire(params(tmp_path), False, proc)
    assert lock.read_lock(str(tmp_path)) is None


def test_waiting_is_bounded():
    ticks = iter(range(100))
    seen = []
    left = processes.wait_for_end(lambda: [1], 5, seen.append, lambda: next(ticks))
    assert left == [1]
    assert len(seen) <= 6


def test_a_resume_ends_what_was_left_behind(tmp_path):
    words = ["/bin/sh", "-c", "sleep 60; : /usr/bin/python3 && sleep 0"]
    child = subprocess.Popen(words)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            others = {int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()}
            found = lock.left_behind("/proc", others - {child.pid})
            if child.pid in [e["pid"] for e in found]:
                break
            time.sleep(0.1)
        entry = next(e for e in found if e["pid"] == child.pid)
        processes.signal_process("/proc", dict(entry, start=1), signal.SIGTERM)
        assert child.poll() is None, "another process with the same number is left alone"
        processes.signal_process("/proc", entry, signal.SIGTERM)
        assert child.wait(timeout=10) == -signal.SIGTERM
    finally:
        child.kill()
        child.wait()


def test_reasons_for_a_restart_are_read(tmp_path):
    assert lock.reboot_reasons(str(tmp_path)) == []
    folder = tmp_path / "run/holdfast/reboot-required"
    folder.mkdir(parents=True)
    (folder / "base").write_text("glibc is newer\nsystemd is newer\n")
    (folder / "empty").write_text("")
    assert lock.reboot_reasons(str(tmp_path)) == ["glibc is newer", "systemd is newer", "empty"]


def test_as_a_module(tmp_path, capsys):
    inspect = {"state": "inspected", "run": "r1", "root": str(tmp_path)}
    with patch_module_args(inspect), pytest.raises(SystemExit):
        lock.main()
    told = json.loads(capsys.readouterr().out)
    assert told["holder"] is None
    assert told["holdfast_reboot"] == []
    folder = tmp_path / "run/holdfast"
    folder.mkdir(parents=True)
    (folder / "lock.json").write_text(json.dumps({"run": "r0", "since": 0}))
    with patch_module_args({"run": "r1", "root": str(tmp_path)}), pytest.raises(SystemExit):
        lock.main()
    told = json.loads(capsys.readouterr().out)
    assert told["failed"]
    assert told["holdfast_lock_holder"]["run"] == "r0"


def test_documentation_covers_every_argument():
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible-doc",
            "-t",
            "module",
            "-j",
            "holdfast.core.node_lock",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "provision/collections"),
            "LC_ALL": "C.UTF-8",
        },
    )
    options = json.loads(done.stdout)["holdfast.core.node_lock"]["doc"]["options"]
    assert set(options) == set(params("/"))

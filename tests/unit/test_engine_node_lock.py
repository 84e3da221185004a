"""The node's lock: one run at a time, replaced only by name, and never while modules work."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

PATH = Path(__file__).parents[2] / (
    "provision/collections/ansible_collections/holdfast/core/plugins/modules/node_lock.py"
)


def load():
    spec = importlib.util.spec_from_file_location("node_lock_under_test", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lock = load()


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


def process(proc, pid, parent, words, *, state="S", start=100, environ=b"", stdin="pipe:[1]"):
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    rest = ["0"] * 16 + [str(start), "0"]
    (folder / "stat").write_text(f"{pid} (a (b) c) {state} {parent} 0 0 {' '.join(rest[2:])} x\n")
    stat = f"{pid} (a (b) c) {state} {parent} " + " ".join(["0"] * 17) + f" {start} 0 0\n"
    (folder / "stat").write_text(stat)
    (folder / "cmdline").write_bytes(b"\0".join(w.encode() for w in words) + b"\0")
    (folder / "environ").write_bytes(environ)
    (folder / "fd" / "0").symlink_to(stdin)


def history(root):
    path = root / "var/lib/holdfast/history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_taken_again_by_the_same_run_is_no_change(tmp_path, proc):
    changed, holder, left = lock.acquire(params(tmp_path), False, proc)
    assert changed
    assert left == []
    assert holder["run"] == "r1"
    path = tmp_path / "run/holdfast/lock.json"
    assert set(json.loads(path.read_text())) == {"run", "controller", "pid", "since", "command"}
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


def test_ancestors_are_our_own(proc):
    process(proc, 1, 0, ["init"])
    process(proc, 10, 1, ["sh"])
    process(proc, 11, 10, ["python3"])
    assert lock.ancestors(str(proc), 11) == {11, 10, 1}


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
    left = lock.wait_for_end(lambda: [1], 5, seen.append, lambda: next(ticks))
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
        lock.signal_process("/proc", dict(entry, start=1), signal.SIGTERM)
        assert child.poll() is None, "another process with the same number is left alone"
        lock.signal_process("/proc", entry, signal.SIGTERM)
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
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(PATH.parents[5]), "LC_ALL": "C.UTF-8"},
    )
    options = json.loads(done.stdout)["holdfast.core.node_lock"]["doc"]["options"]
    assert set(options) == set(params("/"))

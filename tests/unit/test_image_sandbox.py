"""The sandbox: no network, nothing to write to but what was given, and owners that are kept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provision.core.problems import HoldfastError
from provision.image import sandbox as sandboxes
from provision.image.sandbox import Bind, Sandbox
from tests.unit.image_definitions import borrowed_root

pytestmark = pytest.mark.needs("user_namespaces")


def test_there_is_no_network(tmp_path):
    said = Sandbox((tmp_path,)).run(["cat", "/proc/net/dev"])
    assert [line.split(":")[0].strip() for line in said.splitlines()[2:]] == ["lo"]
    with pytest.raises(HoldfastError, match="unreachable"):
        Sandbox().run(
            [sys.executable, "-c", "import socket; socket.create_connection(('192.0.2.1', 80))"]
        )


def test_only_what_was_given_can_be_written_to(tmp_path):
    given, other = tmp_path / "given", tmp_path / "other"
    for folder in (given, other):
        folder.mkdir()
    one = Sandbox((given,))
    one.run(["touch", given / "here"])
    for place in (other / "x", tmp_path / "x", Path("/usr/x"), Path("/etc/x")):
        with pytest.raises(HoldfastError, match="Read-only file system"):
            one.run(["touch", place])
    assert (given / "here").exists()


def test_it_is_root_and_knows_other_owners(tmp_path):
    one = Sandbox((tmp_path,))
    file = tmp_path / "f"
    script = f"touch {file}; chown 33:42 {file}; chmod 4750 {file}; stat -c '%u:%g %a' {file}"
    said = one.run(["sh", "-c", f"{script}; id -u"])
    assert said.split() == ["33:42", "4750", "0"]


def test_a_copy_keeps_owners_modes_times_and_links(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    one = Sandbox((tmp_path,))
    script = f"""
        mkdir {source}; cd {source}
        echo text > file; chown 7:8 file; chmod 2640 file; touch -d @1000 file
        ln -s file link; ln file hard
    """
    one.run(["sh", "-euc", script])
    one.copy(source, target)
    listing = ["find", ".", "-printf", "%p %U:%G %m %T@ %l %n\\n"]
    said = [sorted(one.run(listing, cwd=str(place)).splitlines()) for place in (source, target)]
    assert said[0] == said[1]
    assert any(line.startswith("./file 7:8 2640 1000.") and line.endswith(" 2")
               for line in said[1])  # fmt: skip


def test_what_it_made_can_be_removed(tmp_path):
    tree = tmp_path / "tree"
    Sandbox((tmp_path,)).run(["sh", "-euc", f"mkdir -p {tree}/a/b; chown -R 5:5 {tree}"])
    Sandbox().remove(tree)
    assert not tree.exists()
    Sandbox().remove(tree)


def test_what_a_command_leaves_behind_ends_with_it(tmp_path):
    mark = f"{tmp_path.name}-left-behind"
    Sandbox((tmp_path,)).run(["sh", "-c", f"exec -a {mark} sleep 60 & exit 0"], cwd=str(tmp_path))
    Sandbox((tmp_path,)).run(["bash", "-c", f"(exec -a {mark} sleep 60) & exit 0"])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(mark):
        time.sleep(0.1)
    assert not _runs(mark)


def _runs(mark: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(mark.encode()):
                return True
        except OSError:
            continue
    return False


def test_it_ends_with_whoever_started_it(tmp_path):
    code = (
        "from pathlib import Path; from provision.image.sandbox import Sandbox;"
        f"Sandbox((Path({str(tmp_path)!r}),)).run(['sh', '-c', 'echo $$ > {tmp_path}/on;"
        f" sleep 2; touch {tmp_path}/late; sleep 60'])"
    )
    victim = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (tmp_path / "on").exists():
        time.sleep(0.05)
    victim.kill()
    victim.wait()
    time.sleep(3)
    assert not (tmp_path / "late").exists()


def test_little_of_the_caller_is_seen(monkeypatch):
    monkeypatch.setenv("AWS_SECRET", "x")
    said = dict(line.split("=", 1) for line in Sandbox(epoch=5).run(["env"]).splitlines())
    assert "AWS_SECRET" not in said
    assert said["SOURCE_DATE_EPOCH"] == "5"
    assert (said["TZ"], said["LC_ALL"]) == ("UTC", "C.UTF-8")


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["no-such-tool"], "missing-tool", "is not installed"),
        (["sh", "-c", "echo why >&2; exit 3"], "tool-failed", "exit status 3:\nwhy"),
        (["sh", "-c", "kill -SEGV $$"], "tool-failed", "ended by SIGSEGV"),
    ],
)
def test_a_failure_says_what_and_why(argv, code, words):
    with pytest.raises(HoldfastError) as raised:
        Sandbox().run(argv)
    assert raised.value.problems[0].code == code
    assert words in raised.value.problems[0].message


def test_an_exit_status_may_be_none_of_a_failure_and_a_log_holds_what_was_said(tmp_path):
    log = tmp_path / "log"
    assert Sandbox().run(["sh", "-c", "echo out; echo err >&2; exit 2"], ok=(0, 2), log=log) == (
        "out\n"
    )
    assert log.read_text() == "err\n"


def test_a_root_is_all_that_is_seen(tmp_path):
    root, bind = borrowed_root(tmp_path)
    one = Sandbox((tmp_path,))
    script = "ls /; ls -A /sys | wc -l; echo x > /dev/null; touch /etc/new"
    said = one.run(["sh", "-euc", script], root=root, bind=bind)
    assert "work" not in said.split()
    assert int(said.split()[-1]) == 0
    assert (root / "etc/new").exists()
    with pytest.raises(HoldfastError, match="Read-only"):
        one.run(["touch", "/usr/x"], root=root, bind=bind)


def test_a_root_of_another_stage_is_read_only(tmp_path):
    root, bind = borrowed_root(tmp_path)
    with pytest.raises(HoldfastError, match="Read-only"):
        Sandbox().run(["touch", "/etc/new"], root=root, bind=bind)


def test_what_stands_in_run_and_tmp_is_no_part_of_the_root(tmp_path):
    root, bind = borrowed_root(tmp_path)
    Sandbox((tmp_path,)).run(["touch", "/run/x", "/tmp/x", "/var/tmp/x"], root=root, bind=bind)
    assert not any(path.name == "x" for path in root.rglob("*"))


def test_one_that_stays_is_entered_again_and_again(tmp_path):
    root, bind = borrowed_root(tmp_path)
    with Sandbox((tmp_path,)).hold(root, bind=bind, env={"MARK": "1"}) as held:
        held.run(["sh", "-c", "echo $MARK > /run/kept; echo x > /etc/written"])
        assert held.run(["cat", "/run/kept"]) == "1\n"
        process = held.pid
    assert (root / "etc/written").exists()
    assert not Path(f"/proc/{process}/root/run/kept").exists()


def test_a_file_can_be_brought_in(tmp_path):
    root, bind = borrowed_root(tmp_path)
    brought = tmp_path / "brought"
    brought.write_text("x")
    one = Sandbox((tmp_path,))
    bind = [*bind, Bind(brought, "/run/holdfast/file")]
    assert one.run(["cat", "/run/holdfast/file"], root=root, bind=bind) == "x"


def test_an_ordinary_user_without_numbers_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr(sandboxes.shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(HoldfastError, match="sets aside no range") as raised:
        sandboxes.numbers()
    assert "usermod --add-subuids 100000-165535 nobody" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("nobody:100000:65536\n", [1, 100000, 65535]),
        ("65534:200000:70000\n", [1, 200000, 65535]),
        ("other:1:65536\nnobody:1:10\nnobody:300000:65536\n", [1, 300000, 65535]),
    ],
)
def test_numbers_come_of_the_first_range_that_is_large_enough(tmp_path, text, row):
    file = tmp_path / "subuid"
    file.write_text(text)
    assert sandboxes._set_aside(file, 65534) == row

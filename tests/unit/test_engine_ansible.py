"""The driver and the callback, with a real ansible-playbook on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from provision.engine.ansible import Ansible, Tail, socket_folder
from provision.engine.environment import Place, configuration, environment, ssh_options
from provision.engine.processes import ProcessId, end, start_ticks

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

PLAYBOOK = """
- name: first
  hosts: all
  gather_facts: false
  tasks:
    - name: Write a file
      ansible.builtin.copy: {content: "CANARY-CONTENT", dest: "{{ folder }}/x", mode: "0600"}
    - name: Use a secret
      ansible.builtin.command: "echo CANARY-SECRET"
      no_log: true
    - name: Touch several
      ansible.builtin.file: {path: "{{ folder }}/{{ item }}", state: touch, mode: "0600"}
      loop: [a, b]
- name: second
  hosts: all
  gather_facts: false
  tasks:
    - name: Skip this
      ansible.builtin.command: "false"
      when: false
    - name: Look
      ansible.builtin.command: "true"
      changed_when: false
      register: looked
    - name: Fail with words
      ansible.builtin.fail: {msg: "the disk is full"}
"""

SLEEPING = """
- name: sleeping
  hosts: all
  gather_facts: false
  tasks:
    - name: Sleep
      ansible.builtin.command: "sleep {{ nap }}"
"""


@pytest.fixture
def place(tmp_path):
    inventory = tmp_path / "rack.yml"
    # What is typed as `python3` may be anything on a developer's machine.
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(json.dumps({"all": {"hosts": {"n1": host, "n2": host}}}), "utf-8")
    sockets = socket_folder(tmp_path / "sockets")
    yield Place(tmp_path / "ansible", sockets, inventory, tmp_path / "known_hosts")
    shutil.rmtree(sockets, ignore_errors=True)


def write(tmp_path, text):
    path = tmp_path / "play.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_callback_says_what_happened_and_no_more(tmp_path, place):
    seen = []
    names = []
    ansible = Ansible(place, started=lambda name, process: names.append((name, process.alive)))
    folder = tmp_path / "made"
    folder.mkdir()
    outcome = ansible.run(
        "four",
        write(tmp_path, PLAYBOOK),
        seen.append,
        limit=["n1"],
        variables={"folder": str(folder)},
    )
    assert outcome.finished, outcome.last_words()
    assert outcome.status == 2
    assert not outcome.interrupted
    assert names == [("four", True)]
    kinds = [line["kind"] for line in seen]
    assert kinds[0] == "play.start"
    assert kinds[-1] == "stats"
    ends = [line for line in seen if line["kind"] == "task.end"]
    assert [(e["phase"], e["task"], e["status"]) for e in ends] == [
        ("first", "Write a file", "changed"),
        ("first", "Use a secret", "changed"),
        ("first", "Touch several", "changed"),
        ("second", "Skip this", "skipped"),
        ("second", "Look", "ok"),
        ("second", "Fail with words", "failed"),
    ]
    assert {e["node"] for e in ends} == {"n1"}
    assert [e["changes"] for e in ends[:3]] == [
        [str(folder / "x")],
        ["Use a secret"],
        [str(folder / "a"), str(folder / "b")],
    ]
    assert ends[-1]["message"] == "the disk is full"
    assert ends[0]["path"].startswith("play.yml:")
    assert not any(e["check"] for e in ends)
    text = (place.folder / "01-four.jsonl").read_text(encoding="utf-8")
    assert "CANARY" not in text
    assert (place.folder / "01-four.jsonl").stat().st_mode & 0o777 == 0o600
    assert (place.folder / "01-four.log").stat().st_mode & 0o777 == 0o600


CHECKED = """
- name: first
  hosts: all
  gather_facts: false
  tasks:
    - name: Write a file
      ansible.builtin.copy: {content: "CANARY-CONTENT", dest: "{{ folder }}/x", mode: "0600"}
"""


def test_check_mode_shows_paths_but_never_contents(tmp_path, place):
    seen = []
    folder = tmp_path / "made"
    folder.mkdir()
    ansible = Ansible(place)
    path = write(tmp_path, CHECKED)
    values = {"folder": str(folder)}
    ansible.run("plan", path, seen.append, limit=["n1"], variables=values, check=True)
    ends = [line for line in seen if line["kind"] == "task.end"]
    assert [(e["changes"], e["check"]) for e in ends] == [([str(folder / "x")], True)]
    assert list(folder.iterdir()) == []
    assert "CANARY" not in (place.folder / "01-plan.jsonl").read_text(encoding="utf-8")


SHOUTING = r"""
- name: shouting
  hosts: all
  gather_facts: false
  tasks:
    - name: Fail with more than words
      ansible.builtin.fail: {msg: "no\x1b]0;pwned\x07 disk\x9b2J,\nlook"}
"""


def test_nothing_that_a_node_says_is_obeyed_by_a_terminal(tmp_path, place):
    seen = []
    outcome = Ansible(place).run("up", write(tmp_path, SHOUTING), seen.append, limit=["n1"])
    (end,) = [line for line in seen if line["kind"] == "task.end"]
    assert end["message"] == "no·]0;pwned· disk·2J,\nlook"
    outcome.log.write_text("what\x1b[2J\nit said\n", encoding="utf-8")
    assert outcome.last_words() == "what·[2J\nit said"


def test_a_playbook_that_does_not_parse_is_not_finished(tmp_path, place):
    outcome = Ansible(place).run("broken", write(tmp_path, "- nonsense"), print, limit=["n1"])
    assert not outcome.finished
    assert outcome.last_words()


def test_runs_are_numbered_on_after_a_resume(place):
    Ansible(place)
    (place.folder / "07-wave.log").touch()
    assert Ansible(place)._count == 7


def running(nap):
    """The processes of this machine that sleep for `nap` seconds."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")[:2]
                if words == [b"sleep", nap.encode()]:
                    found.append(int(folder.name))
    return found


def wait_until(look, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if look():
            return True
        time.sleep(0.1)
    return False


def test_an_interrupt_ends_ansible_in_good_order(tmp_path, place):
    nap = f"61.{os.getpid()}"
    seen = []

    def interrupt():
        wait_until(lambda: running(nap))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    path = write(tmp_path, SLEEPING)
    outcome = Ansible(place).run("nap", path, seen.append, limit=["n1"], variables={"nap": nap})
    thread.join()
    assert outcome.interrupted
    assert not outcome.finished
    assert [line["kind"] for line in seen] == ["play.start", "task.start"]
    assert wait_until(lambda: not running(nap)), "a worker was left behind"


DRIVER = """
import sys
from dataclasses import replace
from pathlib import Path
from provision.engine.ansible import Ansible
from provision.engine.environment import Place
folder = Path(sys.argv[1])
place = Place(folder / "ansible", folder / "s", folder / "rack.yml", folder / "known_hosts")
def started(name, process):
    print(process.pid, flush=True)
Ansible(place, started).run(
    "nap", folder / "play.yml", print, limit=["n1"], variables={"nap": sys.argv[2]}
)
"""


def test_ansible_dies_when_its_driver_is_killed(tmp_path, place):
    nap = f"62.{os.getpid()}"
    write(tmp_path, SLEEPING)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path), nap],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        pid = int(driver.stdout.readline())
        assert wait_until(lambda: running(nap))
        process = ProcessId.of(pid)
        assert process is not None
        assert process.alive
    finally:
        driver.kill()
        driver.wait()
        driver.stdout.close()
    assert wait_until(lambda: not process.alive)
    assert wait_until(lambda: not running(nap)), "a worker was left behind"


def test_a_leftover_is_known_by_its_start_and_ended(tmp_path):
    child = subprocess.Popen(["sleep", "60"])
    process = ProcessId.of(child.pid)
    later = ProcessId(process.pid, process.start + 1, process.boot)
    assert process.alive
    assert not later.alive
    assert end(later, 0.1)
    assert child.poll() is None
    reaper = threading.Thread(target=child.wait)
    reaper.start()
    assert end(process, 10)
    reaper.join()
    assert start_ticks(process.pid) is None or not process.alive


def test_tail_waits_for_the_rest_of_a_line(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":')
    tail = Tail(path)
    assert list(tail.lines()) == [{"a": 1}]
    with path.open("ab") as stream:
        stream.write(b'2}\nnot json\n["list"]\n{"c":3}\n')
    assert list(tail.lines()) == [{"b": 2}, {"c": 3}]
    assert list(tail.lines()) == []


def test_only_named_variables_reach_ansible(tmp_path, place):
    caller = {"PATH": "/bin", "HOME": "/root", "AWS_SECRET": "x", "HF_KEY": "k", "LANG": "de_DE"}
    bare = environment(place, tmp_path / "e", caller)
    assert "AWS_SECRET" not in bare
    assert "HF_KEY" not in bare
    assert bare["LC_ALL"] == "C.UTF-8"
    named = Place(
        place.folder, place.sockets, place.inventory, place.known_hosts, secrets=("HF_KEY",)
    )
    assert environment(named, tmp_path / "e", caller)["HF_KEY"] == "k"


def test_the_configuration_never_accepts_an_unknown_key(place):
    words = ssh_options(place)
    assert "StrictHostKeyChecking=yes" in words
    assert "GlobalKnownHostsFile=/dev/null" in words
    # Other sources of keys than the declaration, which ~/.ssh/config could open.
    assert {"VerifyHostKeyDNS=no", "NoHostAuthenticationForLocalhost=no"} < set(words)
    text = configuration(place)
    assert "host_key_checking = True" in text
    assert "pipelining = True" in text


LYING = """
- name: lying
  hosts: n1
  gather_facts: false
  vars:
    key: "{{ lookup('holdfast.core.secret', holdfast_api_key) }}"
  tasks:
    - name: Learn release and architecture
      ansible.builtin.setup:
    - name: Use the key
      ansible.builtin.copy: {content: "{{ key }}", dest: "{{ folder }}/sent", mode: "0600"}
"""


def test_a_node_cannot_name_the_secret_that_it_gets(tmp_path, place):
    for name in ("own", "other"):
        (tmp_path / name).write_text(name, encoding="utf-8")
        (tmp_path / name).chmod(0o600)
    facts = {"holdfast_api_key": f"file:{tmp_path}/other", "holdfast_lied": True}
    python = tmp_path / "python3"
    python.write_text(
        "#!/bin/bash\n"
        f'[ -e {tmp_path}/lied ] && exec {sys.executable} "$@"\n'
        f"touch {tmp_path}/lied; cat > /dev/null; echo '{json.dumps({'ansible_facts': facts})}'\n",
        encoding="utf-8",
    )
    python.chmod(0o700)
    host = {"ansible_connection": "local", "ansible_python_interpreter": str(python)}
    host["holdfast_api_key"] = f"file:{tmp_path}/own"
    place.inventory.write_text(json.dumps({"all": {"hosts": {"n1": host}}}), "utf-8")
    playbook = write(tmp_path, LYING)
    driver = Ansible(place)
    outcome = driver.run(
        "up", playbook, lambda line: None, limit=["n1"], variables={"folder": str(tmp_path)}
    )
    assert outcome.status == 0, outcome.last_words()
    assert (tmp_path / "sent").read_text(encoding="utf-8") == "own"


def test_paths_with_blanks_and_percent_signs_reach_ssh_whole(tmp_path):
    odd = Place(tmp_path, tmp_path, tmp_path / "i", Path("/a b/50%/known_hosts"))
    assert 'UserKnownHostsFile="/a b/50%%/known_hosts"' in ssh_options(odd)
    assert "'UserKnownHostsFile=\"/a b/50%%/known_hosts\"'" in configuration(odd)


def test_a_killed_runs_sockets_are_removed(tmp_path):
    link = tmp_path / "sockets"
    first = socket_folder(link)
    second = socket_folder(link)
    assert not first.exists()
    assert link.readlink() == second
    foreign = tmp_path / "precious"
    foreign.mkdir()
    link.unlink()
    link.symlink_to(foreign)
    third = socket_folder(link)
    assert foreign.is_dir()
    second.rmdir()
    third.rmdir()


def test_a_link_where_the_sockets_were_is_not_followed(tmp_path):
    link = tmp_path / "sockets"
    gone = socket_folder(link)
    gone.rmdir()
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o700)
    (precious / "letter").write_text("dear", encoding="utf-8")
    # Anybody may put this into a folder that all may write to.
    gone.symlink_to(precious)
    fresh = socket_folder(link)
    assert (precious / "letter").read_text(encoding="utf-8") == "dear"
    gone.unlink()
    fresh.rmdir()

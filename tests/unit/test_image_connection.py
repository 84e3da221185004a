"""Ansible in the sandbox: tasks run in the root, files go in and out, nothing else is reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from provision.core.paths import collections_dir
from provision.image.configuring import write_inventory
from provision.image.sandbox import Sandbox
from tests.unit.image_definitions import borrowed_root

pytestmark = [pytest.mark.slow, pytest.mark.needs("user_namespaces")]

LOOK = "id -u; ls /; wc -l < /proc/net/dev; echo $MARK"
TASKS = [
    {"name": "Run", "ansible.builtin.shell": f"({LOOK}) > /etc/said"},
    {"name": "Put", "ansible.builtin.copy": {"content": "in\n", "dest": "/etc/put"}},
    {"name": "Fetch", "ansible.builtin.fetch": {"src": "/etc/put", "dest": "{out}", "flat": True}},
]


def play(folder: Path, process: int, tasks: list[dict[str, object]]) -> tuple[int, str]:
    """Run tasks in the sandbox of `process`: Ansible's exit status, and what it printed."""
    inventory, book = folder / "inventory.yml", folder / "play.yml"
    write_inventory(inventory, "node", process, {"PATH": "/usr/sbin:/usr/bin", "MARK": "seen"})
    text = json.dumps(tasks).replace("{out}", str(folder / "fetched"))
    body = {"hosts": "all", "gather_facts": False, "tasks": json.loads(text)}
    book.write_text(yaml.safe_dump([body]))
    (folder / "ansible.cfg").write_text("[defaults]\n")
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collections_dir()),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_INTERPRETER_PYTHON": "/usr/bin/python3",
    }
    argv = [sys.executable, "-P", "-m", "ansible", "playbook", "-v", "-i", inventory, book]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_tasks_run_in_the_root_and_files_go_in_and_out(tmp_path):
    root, bind = borrowed_root(tmp_path)
    with Sandbox((tmp_path,)).hold(root, bind=bind) as held:
        status, said = play(tmp_path, held.pid, TASKS)
    assert status == 0, said
    assert (root / "etc/put").read_text() == "in\n"
    assert (tmp_path / "fetched").read_text() == "in\n"
    lines = (root / "etc/said").read_text().split()
    assert lines[0] == "0"
    assert "work" not in lines  # a folder of this machine
    # Two lines of heading, and the loopback that is down.
    assert lines[-2:] == ["3", "seen"]
    # Ansible's own files were in /tmp, which is no part of the root.
    assert not list((root / "root").iterdir())


def test_a_sandbox_that_has_ended_is_said(tmp_path):
    root, bind = borrowed_root(tmp_path)
    with Sandbox((tmp_path,)).hold(root, bind=bind) as held:
        process = held.pid
    status, said = play(tmp_path, process, TASKS[:1])
    assert status != 0
    assert "the sandbox has ended" in said

"""What a pass does in an image: programs that change files run, those of a running system not."""

from __future__ import annotations

import os

import pytest

from tests.unit.hardening_support import Run, System, control


@pytest.fixture
def system(tmp_path):
    """A system with an account."""
    made = System(tmp_path)
    made.user(f"ann:x:{os.getuid()}:{os.getgid()}::/home/ann:/bin/bash")
    return made


def test_a_group_is_made_in_an_image_too(system):
    wanted = control({"type": "group", "name": "sugroup", "members": ["ann"]})
    passed = Run(system, [wanted], offline=True)
    assert passed.commit() == []
    assert any(
        line.startswith("sugroup:") for line in system.path("/etc/group").read_text().splitlines()
    )
    assert Run(system, [wanted], offline=True).said == []


def test_only_what_changes_files_alone_is_done_offline(system):
    node = Run(system, [], offline=True).node
    node.act("a setting of the kernel", [{"run": ["sysctl", "-w", "a=1"]}], [])
    node.act("a group", [{"run": ["groupadd", "a"]}], [], files=True)
    assert [act.words for act in node.acts] == ["a group"]

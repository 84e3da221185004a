"""A limit of the host is raised to what the nodes need, said, and never lowered."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.core.events import ListSink
from provision.core.problems import HoldfastError
from provision.rehearsal.limits import OTHERS, PER_NODE, make_room


def test_it_is_raised_for_many_nodes_and_said(tmp_path: Path) -> None:
    setting, sink = tmp_path / "setting", ListSink()
    setting.write_text("128\n")
    make_room(12, sink, setting)
    assert int(setting.read_text()) == OTHERS + 12 * PER_NODE
    assert [event.kind for event in sink.seen] == ["rehearsal.limit"]


def test_it_is_never_lowered(tmp_path: Path) -> None:
    setting, sink = tmp_path / "setting", ListSink()
    setting.write_text("100000\n")
    make_room(12, sink, setting)
    assert setting.read_text() == "100000\n"
    assert not sink.seen


def test_where_it_cannot_be_raised_the_command_is_said(tmp_path: Path) -> None:
    class Refusing(type(tmp_path)):
        def write_text(self, *_: object, **__: object) -> int:
            raise PermissionError("read-only")

    setting = tmp_path / "setting"
    setting.write_text("128\n")
    with pytest.raises(HoldfastError, match=r"sysctl fs\.inotify\.max_user_instances="):
        make_room(12, ListSink(), Refusing(setting))

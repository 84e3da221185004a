"""The short form of the campaign in tests/soak/test_inventory_fuzz.py."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.data.inventory_fuzz import WATCH, check_mutations


def test_mutated_inventories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    codes = check_mutations(2611, 200, tmp_path, capsys)
    assert min(codes[0], codes[2]) > 0


def test_the_watch_sees_a_connection():
    with WATCH, pytest.raises(FileNotFoundError), socket.socket(socket.AF_UNIX) as link:
        link.connect("/nowhere/socket")
    assert any(event.startswith("socket.") for event in WATCH.seen)
    WATCH.seen.clear()

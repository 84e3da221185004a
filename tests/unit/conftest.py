"""Unit tests leave nothing behind in the home of whoever runs them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_state_home(monkeypatch, tmp_path_factory):
    """Runs and crash reports of a unit test go to a folder of its own."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))

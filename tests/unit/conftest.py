"""Unit tests leave nothing behind in the home of whoever runs them."""

from __future__ import annotations

import itertools

import pytest


@pytest.fixture(scope="session")
def state_homes(tmp_path_factory):
    """Folders that do not exist yet, one after the other.

    Beside the tests' own folders they would make each next one dearer: pytest reads all the names
    in a folder before it makes the next.
    """
    folder = tmp_path_factory.mktemp("states")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def own_state_home(monkeypatch, state_homes):
    """Runs and crash reports of a unit test go to a folder of its own."""
    folder = next(state_homes)
    folder.mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))

"""How the journeys are shared out among several workers.

A file stays with one worker, and so do all files with the same `together` mark: otherwise every
worker that meets a journey on the session's rack would build one. What takes longest begins first,
so that no worker is still at it when the others have nothing left to do.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FIRST = (
    "audit",
    "bare",
    "second",
    "first",
    "tests/roles/test_molecule.py",
    "tests/rehearsal/test_13_openscap.py",
    "tests/roles/test_molecule_gpus.py",
    "tests/rehearsal/test_15_gpus.py",
    "tests/unit/test_linters.py",
)
"""Loads in the order in which they begin; any other follows in the order of the files."""
MARKED = re.compile(r'pytest\.mark\.together\("(\w+)"\)')


def scope(nodeid: str) -> str:
    """The load that a test belongs to: its `together` mark, or its file."""
    file = nodeid.partition("::")[0]
    found = MARKED.search((ROOT / file).read_text(encoding="utf-8"))
    return found[1] if found else file


class ByRack(LoadFileScheduling):
    """Sends what is marked to stay together to one worker, and anything else file by file."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes longest first, where loads are shared out."""
    if config.getoption("dist", "no") == "loadfile" or hasattr(config, "workerinput"):
        last = len(LONGEST_FIRST)
        rank = {name: at for at, name in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: rank.get(scope(item.nodeid), last))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByRack | None:
    """Use it where files are to stay together; the unit tests go one by one."""
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return ByRack(config, log)

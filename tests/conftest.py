"""How the journeys are shared out among several workers.

A file stays with one worker, and so do all files that are marked with the same rack: otherwise
every file that uses one would build it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(r'pytest\.mark\.on_rack\("(\w+)"\)')


class ByRack(LoadFileScheduling):
    """Sends what is marked with the same rack to one worker, and anything else file by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        found = MARKED.search((ROOT / file).read_text(encoding="utf-8"))
        return found[1] if found else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByRack | None:
    """Use it where files are to stay together; the unit tests go one by one."""
    return ByRack(config, log) if config.getvalue("dist") == "loadfile" else None

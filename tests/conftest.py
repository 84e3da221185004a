"""How the journeys are shared out among several workers.

A file stays with one worker, and so do all files with the same `together` mark: otherwise every
worker that meets a journey on the session's rack would build one. The marks make four loads that
take about as long as each other.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(r'pytest\.mark\.together\("(\w+)"\)')


class ByRack(LoadFileScheduling):
    """Sends what is marked to stay together to one worker, and anything else file by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        found = MARKED.search((ROOT / file).read_text(encoding="utf-8"))
        return found[1] if found else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByRack | None:
    """Use it where files are to stay together; the unit tests go one by one."""
    return ByRack(config, log) if config.getvalue("dist") == "loadfile" else None

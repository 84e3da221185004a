"""How the journeys are shared out among several workers.

A file stays with one worker, and so do all files whose tests use the `rack` of the session:
otherwise every worker would build one.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).resolve().parents[1]
SHARED = re.compile(r"\brack: SimulatedRack")


class ByRack(LoadFileScheduling):
    """Sends what shares a rack to one worker, and anything else file by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "rack" if SHARED.search((ROOT / file).read_text(encoding="utf-8")) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByRack | None:
    """Use it where files are to stay together; the unit tests go one by one."""
    return ByRack(config, log) if config.getvalue("dist") == "loadfile" else None

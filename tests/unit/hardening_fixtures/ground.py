"""What the fixtures of all types stand on: what was seen, and what a fixture is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provision.checks.declare import CouldNotLook
from tests.unit.hardening_support import System

S, F, A = "hardening", "hardening_files", "hardening_access"

Resource = dict[str, Any]

Sight = dict[tuple[str, str], Any]
"""What the probes saw, by area and part."""

SAMPLES = {
    r"tmux\s*$": "/usr/bin/tmux",
    r"^(?!#).*pam_succeed_if": "auth sufficient pam_succeed_if.so user = ann",
    r"^\s*(?i:CRYPTO_POLICY)\s*=": "CRYPTO_POLICY=",
    r"^\s*Defaults\s+.*timestamp_timeout\s*=": "Defaults timestamp_timeout=-1",
    r"^\s*ALL\s+ALL=\(ALL(:ALL)?\)\s+ALL\s*$": "ALL ALL=(ALL) ALL",
}
"""For patterns of lines that must not be there: a line that each finds."""


def sample(pattern: str) -> str:
    """A line that a pattern finds."""
    if pattern in SAMPLES:
        return SAMPLES[pattern]
    if "InputTCPServerRun" in pattern:
        return "$InputTCPServerRun 514"
    if "OPTIONS=" in pattern:
        return 'OPTIONS="-u root"'
    raise KeyError(f"no sample in {__name__} for the pattern {pattern!r}")


def looker(sight: Sight) -> Callable[[str, str], Any]:
    """What a check calls; a part that nobody put there could not be seen."""

    def look(area: str, part: str) -> Any:
        if (area, part) not in sight:
            raise CouldNotLook(f"nothing was seen of {area} {part}")
        return sight[area, part]

    return look


def part(sight: Sight, area: str, name: str, fresh: Any) -> Any:
    """A part of what was seen, made where it is missing."""
    return sight.setdefault((area, name), fresh)


@dataclass(frozen=True)
class Fixture:
    """One type: `right` adds what is seen where the resource holds, `broken` are ways to deviate.

    `plant` prepares a node in a folder on which the module has something to do.
    """

    right: Callable[[Sight, Resource], None]
    broken: dict[str, Callable[[Sight, Resource], None]]
    plant: Callable[[System, Resource], None]


def nothing(system: System, r: Resource) -> None:
    """A bare node lacks it."""

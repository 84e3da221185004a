"""What one run of the adapters keeps for the next, and shows to the audit and to monitoring."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from provision.health.state import write_whole

SCHEMA = "holdfast.health.slurm/1"
NAME = "slurm.json"


@dataclass
class Cause:
    """A finding that drained the node: what it was about, and what was to be done."""

    check: str
    action: str
    entities: list[str] = field(default_factory=list)


@dataclass
class Drain:
    """A drain of ours.

    Args:
        reason: the text that we gave Slurm.
        causes: what drained it.
        since: when, in seconds since the epoch.
        boot: the start of the node at that time, or its first eight characters.
        mark: how many lines of the kernel's log the audit had read; -1 when not known.
        settled: whether the count after the drain was within the bound.
        by_hand: it is one of too many, so that only a person lifts it.
    """

    reason: str
    causes: list[Cause]
    since: float
    boot: str
    mark: int = -1
    settled: bool = False
    by_hand: bool = False


@dataclass
class Record:
    """The record of one node.

    Args:
        ran: when an adapter last ran, in seconds since the epoch.
        result: when the last judged result ended.
        strikes: for each finding, in how many results in a row it stood.
        last_bad: when the last result with a finding ended, or was missed.
        clean: how many believed results in a row were without one.
        drain: ours, if the node is drained by us.
        drained: when we drained it, for as long as the window for flapping.
        said: what the last run said.
        outcome: what it came to: well, sick, waiting, drained, held, foreign, lifted, tripped,
            unreachable.
        breaker: what was counted when somebody was last to be drained.
    """

    ran: float = 0.0
    result: float = 0.0
    strikes: dict[str, int] = field(default_factory=dict)
    last_bad: float = 0.0
    clean: int = 0
    drain: Drain | None = None
    drained: list[float] = field(default_factory=list)
    said: str = ""
    outcome: str = ""
    breaker: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What is written."""
        return {"schema": SCHEMA, **asdict(self)}


def load(folder: Path) -> Record:
    """The record of the run before; an empty one where there is none that can be read."""
    try:
        told = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if told.pop("schema") != SCHEMA:
            return Record()
        drain = told.pop("drain")
        found = Record(**told)
        found.strikes = {str(k): int(v) for k, v in found.strikes.items()}
        found.drained = [float(x) for x in found.drained]
        if drain is not None:
            causes = [Cause(**cause) for cause in drain.pop("causes")]
            found.drain = Drain(causes=causes, **drain)
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Record()


def save(folder: Path, record: Record) -> None:
    """Keep the record.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(folder / NAME, json.dumps(record.to_json()) + "\n")

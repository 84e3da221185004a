"""What the probes saw, part by part, and why the rest was not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from provision.health.words import Unseen


@dataclass
class ProbeRun:
    """How one probe's child ended: `status` is ended, or one of `probes.ask.KINDS`."""

    name: str
    status: str = "ended"
    seconds: float = 0.0
    reason: str = ""
    pid: int = 0
    left_behind: bool = False


@dataclass
class Sight:
    """Everything that was seen of the node. `owners` says which probe sees which parts."""

    values: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, tuple[str, str]] = field(default_factory=dict)
    runs: list[ProbeRun] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)

    def take(self, line: dict[str, Any]) -> None:
        """Take in a line that a probe said."""
        part = str(line["p"])
        if "k" in line:
            self.missing[part] = (str(line["k"]), str(line["r"]))
            self.values.pop(part, None)
        else:
            self.values[part] = line["v"]
            self.missing.pop(part, None)

    def part(self, name: str) -> Any:
        """A part of what was seen.

        Raises:
            Unseen: it was not; the message says why.
        """
        if name in self.values:
            return self.values[name]
        if name in self.missing:
            kind, reason = self.missing[name]
            raise Unseen(reason, kind)
        raise Unseen(*self._why_not(name))

    def add(self, other: Sight) -> None:
        """Take in what another look saw; where both say something of a part, this one counts."""
        self.values = {**other.values, **self.values}
        self.missing = {**other.missing, **self.missing}
        self.runs += other.runs
        self.owners = {**other.owners, **self.owners}

    def below(self, prefix: str) -> Iterator[tuple[str, Any]]:
        """Every part that begins with `prefix`, by the rest of its name."""
        for name, value in self.values.items():
            if name.startswith(prefix):
                yield name[len(prefix) :], value

    def ended(self, probe: str) -> bool:
        """Whether a probe said all that it had to say."""
        return any(r.name == probe and r.status == "ended" for r in self.runs)

    def _why_not(self, name: str) -> tuple[str, str]:
        owner = self.owners.get(name.split(".", 1)[0], "")
        for run in self.runs:
            if run.name == owner:
                if run.status == "ended":
                    return f"the probe {owner} did not say {name}", "error"
                return run.reason, run.status
        return f"nothing looked at {name}", "not_looked"

"""What judging a resource may come to, beside being right and being wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Resource = Mapping[str, Any]
"""A resource of a resolved control, as plain data."""


class NotHere(Exception):
    """What the resource is about is not on the node, and was looked for."""


class Waits(Exception):
    """It is set, but only the next start brings it into force."""


@dataclass
class Judged:
    """What became of the controls that have resources of one type; each is named once a list."""

    right: list[str] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    waits: dict[str, list[str]] = field(default_factory=dict)
    unseen: dict[str, list[str]] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What was found, with every control that is not in force by name."""
        parts = [_told("deviate", self.wrong), _told("wait for a restart", self.waits)]
        parts.append(_told("could not be looked at", self.unseen))
        if self.right:
            parts.append(f"{len(self.right)} in force")
        if self.apart:
            reasons: dict[str, int] = {}
            for reason in self.apart.values():
                reasons[reason] = reasons.get(reason, 0) + 1
            told = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
            parts.append(f"{len(self.apart)} mean nothing here: {told}")
        return "; ".join(filter(None, parts))

    @property
    def details(self) -> str:
        """Each deviation: what was expected and what was seen."""
        lines = []
        for found in (self.wrong, self.waits, self.unseen):
            lines += [f"{name}: {'; '.join(dict.fromkeys(said))}" for name, said in found.items()]
        return "\n".join(lines)


def _told(verb: str, found: Mapping[str, Any]) -> str:
    return f"{len(found)} {verb} ({', '.join(found)})" if found else ""

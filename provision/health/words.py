"""The words of the audit: statuses, severities, actions, and what a check and its result are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PASS = "pass"
FAIL = "fail"
NOT_APPLICABLE = "not_applicable"
"""Follows from the declaration or from what a declared model is, never from a failed look."""
UNKNOWN = "unknown"
"""It could not be seen. Gates like a failure."""

STATUSES = (PASS, FAIL, "waived", NOT_APPLICABLE, UNKNOWN)
SEVERITIES = ("info", "low", "medium", "high", "critical")
ACTIONS = ("none", "restart_application", "reset_gpu", "reboot", "drain", "inspect", "return")
"""What to do next, from least to most. `inspect`: hands on the machine; `return`: send it back."""


class Unseen(Exception):
    """What a check has to judge was not seen; `kind` is one of `probes.ask.KINDS`."""

    def __init__(self, reason: str, kind: str = "error") -> None:
        super().__init__(reason)
        self.kind = kind


class NotIdle(Exception):
    """The node cannot be put under load: it is in use, or that cannot be told; says which."""


class NotMeant(Exception):
    """The declaration, or the declared model, gives this check no meaning here."""


@dataclass(frozen=True)
class Limit:
    """A number that a check compares with.

    Args:
        name: how a site names it, after the check's id: ``gpu.temperature.core``.
        unit: what the number counts.
        value: for every model without a number of its own.
        least: smallest value that a site may set.
        most: largest value that a site may set.
        source: where the number comes from.
        models: numbers for single models, by the model's id in `models.json`.
    """

    name: str
    unit: str
    value: float
    least: float
    most: float
    source: str
    models: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """What a check is, as data; `judge` is its code.

    Args:
        id: dotted, unique.
        title: what holds when it passes.
        what: what is looked at, in a sentence.
        why: what goes wrong on a node where it does not hold.
        signal: the call, file or log line that it reads.
        severity: how much a failure matters.
        action: what to do next, one of `ACTIONS`.
        advice: the same in words.
        clears: what makes a failure go away.
        judge: returns the outcome of a case.
        needs: the parts of what was seen that it reads, as prefixes.
        limits: the numbers it compares with.
    """

    id: str
    title: str
    what: str
    why: str
    signal: str
    severity: str
    action: str
    advice: str
    clears: str
    judge: Callable[[Any], Outcome]
    needs: tuple[str, ...]
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True)
class Part:
    """A check's result for one thing: a GPU, a link, a mount."""

    entity: str
    status: str
    seen: str


@dataclass(frozen=True)
class Outcome:
    """A check's result.

    `severity`, `action` and `advice` replace those of the check when this case is graver or
    milder than its usual one.
    """

    status: str
    seen: str
    expected: str = ""
    parts: tuple[Part, ...] = ()
    reason: str = ""
    severity: str = ""
    action: str = ""
    advice: str = ""


def holds(seen: str, expected: str = "", parts: tuple[Part, ...] = ()) -> Outcome:
    """What was expected was seen."""
    return Outcome(PASS, seen, expected, parts)


def fails(
    seen: str, expected: str = "", *, severity: str = "", action: str = "", advice: str = ""
) -> Outcome:
    """Something else was seen."""
    return Outcome(FAIL, seen, expected, severity=severity, action=action, advice=advice)


def decide(condition: bool, seen: str, expected: str = "") -> Outcome:
    """Pass or fail by `condition`."""
    return holds(seen, expected) if condition else fails(seen, expected)


def worst(statuses: list[str]) -> str:
    """The status of several together; none, or only ones that do not apply, is unknown."""
    for status in (FAIL, UNKNOWN):
        if status in statuses:
            return status
    return PASS if PASS in statuses else UNKNOWN


def together(parts: list[Part], expected: str, all_well: str) -> Outcome:
    """One outcome of many parts: the worst of them decides, and the bad ones are the evidence."""
    statuses = [p.status for p in parts]
    if parts and all(s == NOT_APPLICABLE for s in statuses):
        return Outcome(NOT_APPLICABLE, "", expected, tuple(parts), reason=parts[0].seen)
    status = worst(statuses)
    bad = [p for p in parts if p.status == status]
    if status == PASS:
        seen = all_well
    elif not bad:
        seen = "there is nothing that could be judged"
    else:
        seen = listed([f"{p.entity}: {p.seen}" for p in bad], separator="; ")
    reason = seen if status == UNKNOWN else ""
    return Outcome(status, seen, expected, tuple(parts), reason=reason)


def listed(things: list[str], limit: int = 8, separator: str = ", ") -> str:
    """Things as one line of evidence; a long list says how many more there are."""
    shown = separator.join(things[:limit])
    more = len(things) - limit
    return f"{shown} and {more} more" if more > 0 else shown


def counted(number: int, thing: str) -> str:
    """``1 GPU``, ``8 GPUs``."""
    return f"{number} {thing}" + ("" if number == 1 else "s")

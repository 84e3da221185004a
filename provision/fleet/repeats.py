"""Repeat offenders: what begins to fail again and again, by rules that are data."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from provision.fleet.history import DAY_S
from provision.fleet.kept import Spell


@dataclass(frozen=True)
class Rule:
    """From when on something is a repeat offender.

    Args:
        check: the beginning of the checks' ids; all of them when empty.
        times: how often it must have begun to fail.
        days: within how many days.
        source: where the numbers come from.
    """

    check: str
    times: int
    days: int
    source: str


@dataclass(frozen=True)
class Repeat:
    """A check that failed again and again on one node, for one GPU where it is about GPUs.

    `also` are checks that were unknown at the very same times: a probe that hangs takes many along.
    """

    node: str
    check: str
    board: str
    entity: str
    spells: tuple[Spell, ...]
    rule: Rule
    also: tuple[str, ...] = ()

    @property
    def times(self) -> int:
        """How often it began."""
        return len(self.spells)

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "node": self.node,
            "check": self.check,
            "gpu_serial": self.board,
            "entity": self.entity,
            "times": self.times,
            "days": self.rule.days,
            "first": self.spells[-1].began,
            "last": self.spells[0].began,
            "also": list(self.also),
            "rule": vars(self.rule),
        }


@functools.cache
def rules() -> tuple[Rule, ...]:
    """The rules, the most special first.

    Raises:
        ValueError: a number makes no sense.
    """
    text = (resources.files("provision.fleet.data") / "repeats.json").read_text(encoding="utf-8")
    found = [Rule(**rule) for rule in json.loads(text)["rules"]]
    for rule in found:
        if not (2 <= rule.times <= 100 and 1 <= rule.days <= 90 and rule.source):
            raise ValueError(f"the rule for {rule.check or 'all checks'} is out of range")
    return tuple(sorted(found, key=lambda r: -len(r.check)))


def rule_of(check: str) -> Rule:
    """The most special rule that a check falls under."""
    return next(
        r for r in rules() if not r.check or check == r.check or check.startswith(f"{r.check}.")
    )


def repeats(spells: Iterable[Spell], at: float) -> list[Repeat]:
    """What began to fail more often than its rule allows, the most often first.

    A spell counts once however long it lasts; spells of one GPU count together, whatever slot it
    sat in.
    """
    groups: dict[tuple[str, str, str], list[Spell]] = defaultdict(list)
    for spell in spells:
        if spell.began >= at - rule_of(spell.check).days * DAY_S:
            groups[spell.node, spell.check, spell.board or spell.entity].append(spell)
    found = []
    for (node, check, _), own in groups.items():
        rule = rule_of(check)
        if len(own) >= rule.times:
            newest = sorted(own, key=lambda s: -s.began)
            found.append(
                Repeat(node, check, newest[0].board, newest[0].entity, tuple(newest), rule)
            )
    ordered = sorted(found, key=lambda r: (-r.times, r.node, r.check, r.entity))
    return list(_together(ordered))


def _together(found: list[Repeat]) -> Iterator[Repeat]:
    """Say what was unknown for one cause once."""
    groups: dict[tuple[Any, ...], list[Repeat]] = defaultdict(list)
    for number, repeat in enumerate(found):
        unseen = all(s.status == "unknown" for s in repeat.spells)
        when = tuple(s.began for s in repeat.spells)
        groups[(repeat.node, repeat.rule, when) if unseen else (number,)].append(repeat)
    for first, *others in groups.values():
        yield replace(first, also=tuple(dict.fromkeys(r.check for r in others)))

"""The numbers that checks compare with: their own, a model's, or a site's within a range."""

from __future__ import annotations

import math
from collections.abc import Iterable

from provision.health.expect import Expected
from provision.health.places import Mistake
from provision.health.words import Check, Limit


def lint(checks: Iterable[Check]) -> list[str]:
    """What is wrong with the limits that the checks ship with."""
    wrong = []
    seen: set[str] = set()
    for check in checks:
        for limit in check.limits:
            if limit.name in seen or not limit.name.startswith(check.id):
                wrong.append(f"{check.id}: the limit {limit.name} is not its own")
            seen.add(limit.name)
            if not limit.unit or not limit.source:
                wrong.append(f"{limit.name}: unit and source must be said")
            for whose, value in [("its value", limit.value), *limit.models.items()]:
                if not (math.isfinite(value) and limit.least <= value <= limit.most):
                    wrong.append(f"{limit.name}: {whose} is {value}, outside of its own range")
    return wrong


class Limits:
    """The limits of all checks with what a site changed."""

    def __init__(self, checks: Iterable[Check], expected: Expected) -> None:
        """Take the site's numbers from the declaration.

        Raises:
            Mistake: a name is unknown or a number out of range; all at once, with places.
        """
        self._limits: dict[str, Limit] = {x.name: x for check in checks for x in check.limits}
        self._site: dict[str, float] = {}
        problems = []
        for name, value in (expected.declared.get("limits") or {}).items():
            place = expected.places.at("limits", name) if expected.places else name
            limit = self._limits.get(name)
            if limit is None:
                problems.append(f"{place}: there is no limit {name!r}")
            elif not (math.isfinite(value) and limit.least <= value <= limit.most):
                problems.append(
                    f"{place}: {name} is {value:g}; it must be from {limit.least:g} to"
                    f" {limit.most:g} {limit.unit}"
                )
            else:
                self._site[name] = float(value)
        if problems:
            raise Mistake(problems)

    def is_sites(self, name: str) -> bool:
        """Whether the site said this number itself."""
        return name in self._site

    def value(self, name: str, model: str = "") -> float:
        """The number for a GPU of `model`: the site's, else the model's, else the common one."""
        if name in self._site:
            return self._site[name]
        limit = self._limits[name]
        return limit.models.get(model, limit.value)

"""What a check of an image is, and how it says what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from provision.image.lint.tree import Tree
from provision.verdict.model import Severity


class Unseen(Exception):
    """The check could not look; the message says why. Nothing is proven then."""


class NotHere(Exception):
    """The image holds nothing that the check is about; the message says what was looked for."""


@dataclass(frozen=True)
class Found:
    """One thing that should not be so: where, and what it is."""

    path: str
    words: str


@dataclass(frozen=True)
class Told:
    """What checks are told beside the tree.

    `privileged` are the programs that may run with another's rights, as rows of
    `provision.image.lint.privileged`, or None where nobody said; `canaries` are secrets of the site
    of which no copy may be in an image.
    """

    privileged: tuple[str, ...] | None = None
    canaries: tuple[str, ...] = ()


Look = Callable[[Tree, Told], Iterator[Found]]


@dataclass(frozen=True)
class Check:
    """A check. `title` is what holds when it passes; `notes` says that it never gates."""

    id: str
    title: str
    why: str
    fix: str
    severity: Severity
    look: Look
    notes: bool = False


@dataclass
class Outcome:
    """What came of a check; `unseen` and `absent` say why there is nothing to judge."""

    check: str
    found: list[Found] = field(default_factory=list)
    unseen: str = ""
    absent: str = ""
    more: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "check": self.check,
            "found": [[one.path, one.words] for one in self.found],
            "unseen": self.unseen,
            "absent": self.absent,
            "more": self.more,
        }


CHECKS: dict[str, Check] = {}
"""Every check by its id, in the order of the files that hold them."""

_Looks = TypeVar("_Looks", bound=Look)


def check(
    check_id: str, *, title: str, why: str, fix: str, severity: Severity, notes: bool = False
) -> Callable[[_Looks], _Looks]:
    """Make the function below it a check."""

    def mark(function: _Looks) -> _Looks:
        CHECKS[check_id] = Check(check_id, title, why, fix, severity, function, notes)
        return function

    return mark

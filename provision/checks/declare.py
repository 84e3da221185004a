"""How a check says what it is: id, title, severity and the rest, in one place, above its test.

A check is an ordinary test function with the `check` decorator. It asks `look` for what a probe
saw, says what that was with `seen`, and asserts. What becomes of the outcome:

- assertion holds and something was `seen`: pass;
- assertion fails: fail, its message is the evidence;
- `CouldNotLook`, any other exception, a skip, or nothing `seen`: unknown;
- `applies` gave a reason, or `NotApplicable` was raised before anything was looked at: not
  applicable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from provision.checks.declaration import Expected
from provision.verdict.model import Severity

ATTRIBUTE = "holdfast_check"
"""Where a test function keeps its `Check`."""


class NotApplicable(Exception):
    """The declaration says that this check has no meaning on this node.

    Only the declaration may lead to it: raised after the check looked at the node it counts as
    unknown.
    """


class CouldNotLook(Exception):
    """The check could not see what it has to judge; the finding is `unknown`."""


class Absent(AssertionError):
    """What every check of this part needs is not there: the finding is `fail`."""


@dataclass(frozen=True)
class Check:
    """What a check is.

    `looks` names the probe areas that it reads, `expected` is a sentence or makes one from the
    declaration, `applies` returns why the check has no meaning on a node, or None.
    """

    id: str
    title: str
    expected: str | Callable[[Expected], str]
    severity: Severity
    action: str
    clears: str
    looks: tuple[str, ...] = ()
    applies: Callable[[Expected], str | None] | None = None

    def expectation(self, node: Expected) -> str:
        """What is expected of `node`, as a sentence."""
        return self.expected if isinstance(self.expected, str) else self.expected(node)

    def why_not(self, node: Expected) -> str | None:
        """Why the check does not apply to `node` by its declaration, or None."""
        return self.applies(node) if self.applies else None


class Looker(Protocol):
    """What a check calls to see a node: the value of one part of one probe area."""

    def __call__(self, area: str, part: str) -> Any:
        """The value that the probe saw.

        Raises:
            CouldNotLook: the node or this part of it could not be looked at.
            Absent: it was looked for, and is not there.
        """
        ...


Seen = Callable[[str], None]
"""What a check calls to record its evidence, before it asserts."""

_Test = TypeVar("_Test", bound=Callable[..., None])


def check(
    check_id: str,
    *,
    title: str,
    expected: str | Callable[[Expected], str],
    severity: Severity,
    action: str,
    clears: str,
    looks: tuple[str, ...] = (),
    applies: Callable[[Expected], str | None] | None = None,
) -> Callable[[_Test], _Test]:
    """Make the test function below it a check."""

    def mark(function: _Test) -> _Test:
        made = Check(check_id, title, expected, severity, action, clears, looks, applies)
        setattr(function, ATTRIBUTE, made)
        return function

    return mark


def listed(things: list[str], limit: int = 8) -> str:
    """Things as one line of evidence; a long list says how many more there are."""
    shown = ", ".join(things[:limit])
    more = len(things) - limit
    return f"{shown} and {more} more" if more > 0 else shown

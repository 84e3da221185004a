"""The reason of a drain of ours: says what to do, and proves that nobody has changed it since.

``holdfast:CHECK STATUS ACTION boot=XXXXXXXX sum=XXXXXXXX: what was seen``. The sum is over all of
the rest. A node without a disk forgets its record at every restart, and a restart is often what
clears a drain, so everything that lifting needs stands in the reason, where Slurm keeps it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from provision.health.render import TAG

_SHAPE = re.compile(
    r"holdfast:(?P<check>[a-z0-9_]+(?:\.[A-Za-z0-9_-]+)*) (?P<status>[a-z]+) (?P<action>[a-z_]+)"
    r" boot=(?P<boot>[0-9a-f]{8}) sum=(?P<sum>[0-9a-f]{8}): (?P<seen>.*)"
)
_SEEN = 160
_UNSAFE = "\"'\\`$|;[]"


@dataclass(frozen=True)
class Reason:
    """A reason that is ours to the letter: nobody has added to it or changed it."""

    check: str
    status: str
    action: str
    boot: str
    seen: str

    def __str__(self) -> str:
        return _text(self, _sum(self))


def made(cause: dict[str, Any], boot: str, more: int) -> Reason:
    """The reason for a cause (a finding), with how many more there are."""
    seen = "".join(c if 32 <= ord(c) < 127 and c not in _UNSAFE else " " for c in cause["seen"])
    seen = " ".join(seen.split())[:_SEEN].rstrip()
    seen += f" (and {more} more)" if more else ""
    return Reason(cause["check"], cause["status"], cause["action"], boot[:8], seen)


def read(text: str) -> Reason | None:
    """The reason in `text` if it is one of ours and unchanged."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        return None
    parts = match.groupdict()
    told = parts.pop("sum")
    found = Reason(**parts)
    return found if _sum(found) == told else None


def tagged(text: str) -> bool:
    """Whether a reason begins with our tag, changed by somebody or not."""
    return text.startswith(TAG)


def _sum(reason: Reason) -> str:
    return hashlib.sha256(_text(reason, "").encode()).hexdigest()[:8]


def _text(reason: Reason, total: str) -> str:
    return (
        f"{TAG}{reason.check} {reason.status} {reason.action} boot={reason.boot}"
        f" sum={total}: {reason.seen}"
    )

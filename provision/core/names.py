"""The nearest valid name, for hints."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, or None when none is close enough to be meant."""
    choices = sorted(set(known))
    folded = {c.casefold(): c for c in reversed(choices)}
    found = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else None


MOST = 30
"""Most names that a hint lists."""


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint sentence: the nearest name, or the list of valid ones, or of some of them."""
    choices = sorted(set(known))
    close = nearest(name, choices)
    if close:
        return f"did you mean {close!r}?"
    if not choices:
        return "no name is known here"
    more = len(choices) - MOST
    listed = ", ".join(choices[:MOST]) + (f" and {more} more" if more > 0 else "")
    return f"valid: {listed}"

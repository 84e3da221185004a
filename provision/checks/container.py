"""What the checks of the inference container share."""

from __future__ import annotations

from typing import Any

from provision.checks.declare import CouldNotLook, Looker

LOOKS = ("inference",)


def processes(look: Looker) -> list[dict[str, Any]]:
    """The container's processes, as /proc shows them.

    Raises:
        CouldNotLook: there is none.
    """
    found: list[dict[str, Any]] = look("inference", "processes")
    if not found:
        raise CouldNotLook("the container has no process")
    return found


def option(words: list[str], *names: str) -> str | None:
    """An option's value, said with `=` or as the next word; the last one counts."""
    found = None
    for number, word in enumerate(words):
        for name in names:
            if word.startswith(name + "="):
                found = word.partition("=")[2]
            elif word == name and number + 1 < len(words):
                found = words[number + 1]
    return found

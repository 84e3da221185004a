"""What a rehearsal makes once and keeps: folders below ``<cache>/rehearsal``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from provision.core import once
from provision.core.events import Event, EventSink
from provision.core.once import digest_of, remove_tree, source_of
from provision.core.paths import cache_home

__all__ = ["digest_of", "made_once", "remove_tree", "source_of"]


def made_once(
    name: str,
    key: str,
    make: Callable[[Path], None],
    events: EventSink,
    *,
    says: str,
    remove: Callable[[Path], None] | None = None,
) -> Path:
    """The folder ``<cache>/rehearsal/<name>-<key>``, made by `make` when it is not there yet.

    See `provision.core.once.made_once`; `events` is told when it starts and ends.

    Raises:
        HoldfastError: making it failed, or another process held it for an hour.
    """
    final = cache_home() / "rehearsal" / f"{name}-{key}"
    step = {"step": name, "says": says}

    def told(state: str) -> None:
        events.emit(Event("rehearsal.step", data={**step, "state": state}))

    once.made_once(final, make, told, remove)
    return final

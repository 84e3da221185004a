"""Events: what happens during long work, one JSON object each.

Producers call `emit`; a sink decides whether that becomes a line in a journal, a row of the
live table or nothing. Sinks are passed as arguments, never kept in a global.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from provision.core.files import append_line

SCHEMA = "holdfast.event/1"
"""First line of every event stream says this, so that a reader can refuse what it cannot read."""


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    `kind` is a dotted word (``run.start``, ``phase.end``, ``task.end``); `node` and `phase` are
    set where the event belongs to one; `data` holds the rest as plain JSON values; `at` is Unix
    seconds; `durable` events must reach the disk before work goes on.
    """

    kind: str
    node: str | None = None
    phase: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.time)
    durable: bool = False

    def to_json(self) -> str:
        """The event as one line of JSON, without a newline."""
        body: dict[str, Any] = {"kind": self.kind, "at": round(self.at, 3)}
        if self.node is not None:
            body["node"] = self.node
        if self.phase is not None:
            body["phase"] = self.phase
        body.update(self.data)
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def from_json(line: str) -> Event:
        """The event that `to_json` wrote.

        Raises:
            ValueError: the line is not an event.
        """
        body = json.loads(line)
        if not isinstance(body, dict) or "kind" not in body:
            raise ValueError(f"not an event: {line[:80]!r}")
        known = {k: body.pop(k, None) for k in ("kind", "at", "node", "phase")}
        return Event(
            str(known["kind"]),
            known["node"],
            known["phase"],
            body,
            float(known["at"] or 0),
        )


class EventSink(Protocol):
    """Anything that takes events."""

    def emit(self, event: Event) -> None:
        """Take one event. Must not raise for what the event contains."""
        ...


class NullSink:
    """Takes events and forgets them."""

    def emit(self, event: Event) -> None:
        """Forget `event`."""


class ListSink:
    """Keeps events in `seen`, for tests."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep `event`."""
        self.seen.append(event)


class FileSink:
    """Appends events to a file (0600); durable ones are flushed to disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists() or path.stat().st_size == 0:
            append_line(path, json.dumps({"schema": SCHEMA}))

    def emit(self, event: Event) -> None:
        """Append `event`."""
        append_line(self.path, event.to_json(), durable=event.durable)


class StreamSink:
    """Writes events to an open text stream, one a line, flushed."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        print(json.dumps({"schema": SCHEMA}), file=stream, flush=True)

    def emit(self, event: Event) -> None:
        """Write `event`."""
        print(event.to_json(), file=self.stream, flush=True)


class Tee:
    """Hands every event to several sinks, in order."""

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self.sinks = list(sinks)

    def emit(self, event: Event) -> None:
        """Hand `event` on."""
        for sink in self.sinks:
            sink.emit(event)


def read_events(path: Path) -> list[Event]:
    """All whole events of a journal; a last line cut short by a crash is left out.

    Raises:
        OSError: the file cannot be read.
        ValueError: the schema line names a version this code does not know, or a line before
            the last is damaged.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    events: list[Event] = []
    whole, rest = lines[:-1], lines[-1]
    del rest  # no newline: the write was cut short
    for number, line in enumerate(whole, start=1):
        if not line:
            continue
        if number == 1 and '"schema"' in line:
            if json.loads(line).get("schema") != SCHEMA:
                raise ValueError(f"{path}:1: unknown event schema {line[:80]!r}")
            continue
        try:
            events.append(Event.from_json(line))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
    return events

"""Shows a run while it goes on: a live table, plain lines, or one JSON event a line.

A person at a terminal sees the table, a pipe sees events, CI sees lines. What is shown comes
from `provision.engine.progress`; here it only meets the screen.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from provision.core.events import Event, EventSink, FileSink, NullSink, StreamSink, Tee
from provision.engine.progress import Progress, Row, follow, plain, view

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

HEARTBEAT_S = 60.0
"""A log that says nothing for so long gets a line, so that CI does not take the run for dead."""

REFRESH_PER_S = 4

_STYLES = {
    "plain": "",
    "bold": "bold",
    "dim": "dim",
    "good": "green",
    "bad": "bold red",
    "warn": "yellow",
    "note": "cyan",
}


def mode(stream: TextIO, environ: Mapping[str, str], *, as_json: bool) -> str:
    """How a run is shown on `stream`: ``table``, ``lines``, ``events`` or ``nothing``.

    With `--json` stdout belongs to the one document, so that nothing else is written there.
    """
    if as_json:
        return "nothing"
    if stream.isatty() and environ.get("TERM") != "dumb" and not environ.get("CI"):
        return "table"
    if stream.isatty() or environ.get("CI"):
        return "lines"
    return "events"


class Show(Protocol):
    """What is shown of long work: a state that events change, and views of it."""

    def follow(self, event: Event) -> None:
        """Change the state by one event."""
        ...

    def view(self, now: float, *, width: int, height: int, unicode: bool) -> list[Row]:
        """The state as rows of styled text that fit the screen."""
        ...

    def plain(self, event: Event) -> Iterator[str]:
        """The lines that a log without a terminal gets for one event."""
        ...


class RunShow:
    """A run of the engine."""

    def __init__(self) -> None:
        self.state = Progress()

    def follow(self, event: Event) -> None:
        """Change the state by one event."""
        follow(self.state, event)

    def view(self, now: float, *, width: int, height: int, unicode: bool) -> list[Row]:
        """The run as rows of styled text."""
        return view(self.state, now, width=width, height=height, unicode=unicode)

    def plain(self, event: Event) -> Iterator[str]:
        """The lines that a log gets for one event."""
        return plain(event)


class Lines:
    """Writes a plain line for what is worth one, and a heartbeat when nothing is for long."""

    def __init__(
        self, stream: TextIO, heartbeat: float = HEARTBEAT_S, show: Show | None = None
    ) -> None:
        self.stream = stream
        self.show = show or RunShow()
        self.heartbeat = heartbeat
        self._last = time.monotonic()
        self._now = ""
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def emit(self, event: Event) -> None:
        """Take one event."""
        if event.kind == "task.start":
            self._now = f"{event.node}: {event.phase}: {event.data.get('task')}"
        for line in self.show.plain(event):
            self._print(line, event.at)

    def close(self) -> None:
        """Stop the heartbeat."""
        self._closed.set()
        self._thread.join(timeout=1)

    def _print(self, line: str, at: float) -> None:
        with self._lock:
            stamp = time.strftime("%H:%M:%S", time.localtime(at))
            print(f"{stamp} {line}", file=self.stream, flush=True)
            self._last = time.monotonic()

    def _beat(self) -> None:
        while not self._closed.wait(min(1.0, self.heartbeat)):
            if time.monotonic() - self._last >= self.heartbeat:
                self._print(f"still working: {self._now or 'starting'}", time.time())


class Table:
    """Keeps the state that the live table shows; a thread of rich draws it."""

    def __init__(self, console: Console, show: Show | None = None) -> None:
        self.console = console
        self.show = show or RunShow()
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Take one event."""
        with self._lock:
            self.show.follow(event)

    def __rich__(self) -> Text:
        from rich.text import Text

        width, height = self.console.size
        unicode = (self.console.encoding or "").lower().startswith("utf")
        with self._lock:
            rows = self.show.view(time.time(), width=width, height=height - 1, unicode=unicode)
        text = Text(no_wrap=True, overflow="crop")
        for number, row in enumerate(rows):
            if number:
                text.append("\n")
            for words, style in row:
                text.append(words, style=_STYLES[style])
        return text


class WhileRead:
    """Hands events on for as long as somebody reads them.

    A reader that goes away (`holdfast up ... | head`) must not stop a run half-way.
    """

    def __init__(self, sink: EventSink) -> None:
        self.sink = sink
        self._read = True

    def emit(self, event: Event) -> None:
        """Take one event."""
        if self._read:
            try:
                self.sink.emit(event)
            except BrokenPipeError:
                self._read = False


class Watch:
    """What a verb uses to show a run: a sink for events, and a way to say something between."""

    def __init__(self, sink: EventSink, shown: str, console: Console | None = None) -> None:
        self.sink = sink
        self.shown = shown
        self._console = console

    def say(self, text: str) -> None:
        """Show text for a person; a pipe that reads events does not get it."""
        if self._console is not None:
            # Above the live table; the text brings its own colours.
            from rich.text import Text

            self._console.print(Text.from_ansi(text))
        elif self.shown == "lines":
            with suppress(BrokenPipeError):
                print(text, flush=True)


@contextmanager
def watching(
    *, as_json: bool, events: Path | None, quiet: bool = False, show: Show | None = None
) -> Iterator[Watch]:
    """Show a run for as long as the context lasts.

    Args:
        as_json: whether stdout is kept for one JSON document.
        events: a file that gets every event as well, one JSON object a line.
        quiet: whether a pipe gets no events (for verbs whose result is text).
        show: what a person sees; a run of the engine when None.

    Raises:
        OSError: `events` cannot be written.
    """
    shown = mode(sys.stdout, os.environ, as_json=as_json)
    if quiet and shown in ("events", "lines"):
        shown = "nothing"
    with ExitStack() as stack:
        sinks: list[EventSink] = [FileSink(events)] if events else []
        console = None
        if shown == "table":
            table = _table(stack, show)
            sinks.append(table)
            console = table.console
        elif shown == "lines":
            lines = Lines(sys.stdout, show=show)
            stack.callback(lines.close)
            sinks.append(WhileRead(lines))
        elif shown == "events":
            sinks.append(WhileRead(StreamSink(sys.stdout)))
        yield Watch(Tee(sinks) if sinks else NullSink(), shown, console)


def _table(stack: ExitStack, show: Show | None) -> Table:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    table = Table(console, show)
    live = Live(
        table,
        console=console,
        refresh_per_second=REFRESH_PER_S,
        # The table is one block: what does not fit has been left out by the view already.
        vertical_overflow="crop",
        redirect_stdout=False,
        redirect_stderr=False,
    )
    stack.enter_context(live)
    return table

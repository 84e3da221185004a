"""What the building of an image looks like while it goes on: its stages, one a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from provision.core.events import Event
from provision.verdict.text import shorten

Row = tuple[tuple[str, str], ...]
WAITING, RUNNING = "waiting", "running"
_LOOKS = {
    "failed": ("✗", "x", "bad"),
    RUNNING: ("●", "*", "note"),
    "made": ("✓", "v", "good"),
    "reused": ("✓", "v", "dim"),
    "stopped": ("-", "-", "dim"),
    WAITING: ("·", ".", "dim"),
}
"""Glyph, the same in ASCII, and style."""


@dataclass
class _Stage:
    name: str
    about: str = ""
    state: str = WAITING
    since: float = 0.0
    seconds: float = 0.0
    says: str = ""


@dataclass
class BuildShow:
    """The state of a build, for `provision.cli.live`."""

    image: str = ""
    started: float = 0.0
    step: str = ""
    stages: dict[str, _Stage] = field(default_factory=dict)

    def follow(self, event: Event) -> None:
        """Change the state by one event."""
        if event.kind == "rehearsal.step":
            self.started = self.started or event.at
            self.step = str(event.data.get("says")) if event.data.get("state") == "start" else ""
        elif event.kind == "image.start":
            self.started = self.started or event.at
            self.image = str(event.data.get("image"))
            self.stages = {str(n): _Stage(str(n)) for n in event.data.get("stages") or []}
        stage = self.stages.get(event.phase or "")
        if stage is not None:
            _follow(stage, event)

    def view(self, now: float, *, width: int, height: int, unicode: bool) -> list[Row]:
        """The build as rows of styled text."""
        if not self.stages and not self.step:
            return []
        seconds = int(now - self.started)
        clock = f"{seconds // 60:02d}:{seconds % 60:02d}"
        rows: list[Row] = [(("holdfast image build", "bold"),
                            (f"   {self.image}   {clock}", "plain"))]  # fmt: skip
        if self.step:
            rows.append(((f"{'●' if unicode else '*'} ", "note"), (self.step, "plain")))
        wide = max((len(name) for name in self.stages), default=0)
        for stage in list(self.stages.values())[: max(1, height - len(rows))]:
            glyph, plain, style = _LOOKS[stage.state]
            text = shorten(f"{stage.name:<{wide}}  {_words(stage, now)}", max(width - 2, 8))
            rows.append(((f"{glyph if unicode else plain} ", style),
                         (text, "dim" if stage.state == WAITING else "plain")))  # fmt: skip
        return rows

    def plain(self, event: Event) -> Iterator[str]:
        """The line that a log gets for one event."""
        if event.kind == "rehearsal.step" and event.data.get("state") == "start":
            yield str(event.data.get("says"))
        elif event.kind == "stage.end":
            state = str(event.data.get("state"))
            why = f": {event.data.get('why')}" if state == "failed" else ""
            took = f" in {event.data.get('seconds')} s" if "seconds" in event.data else ""
            yield f"{event.phase} {state}{took}{why}"


def _follow(stage: _Stage, event: Event) -> None:
    if event.kind == "stage.start":
        stage.state, stage.since = RUNNING, event.at
        stage.about = str(event.data.get("about", ""))
    elif event.kind == "stage.end":
        stage.state = str(event.data.get("state"))
        stage.seconds = float(event.data.get("seconds", event.at - stage.since))
    elif event.kind == "stage.says":
        stage.says = str(event.data.get("says"))
    elif event.kind == "stage.task":
        stage.says = str(event.data.get("task"))


def _words(stage: _Stage, now: float) -> str:
    if stage.state == WAITING:
        return ""
    if stage.state == RUNNING:
        return f"{stage.says or stage.about} ({now - stage.since:.0f} s)"
    return f"{stage.state} in {stage.seconds:.1f} s"

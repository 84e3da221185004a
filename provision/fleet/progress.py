"""What a pull looks like while it goes on: which nodes are asked, what the others came to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from provision.core.events import Event
from provision.verdict.text import one_line, shorten

Row = tuple[tuple[str, str], ...]
WAITING, ASKED = "waiting", "asked"
_LOOKS = {
    "fail": ("✗", "x", "bad"),
    "unknown": ("?", "?", "warn"),
    ASKED: ("●", "*", "note"),
    WAITING: ("·", ".", "dim"),
    "pass": ("✓", "v", "good"),
}
"""Glyph, the same in ASCII, and style; in the order in which nodes are shown when not all fit."""


@dataclass
class _Node:
    name: str
    status: str = WAITING
    since: float = 0.0
    said: str = ""


@dataclass
class PullShow:
    """The state of a pull, for `provision.cli.live`."""

    title: str
    started: float = 0.0
    nodes: dict[str, _Node] = field(default_factory=dict)

    def follow(self, event: Event) -> None:
        """Change the state by one event."""
        if event.kind == "audit.start":
            self.started = event.at
            self.nodes = {str(n): _Node(str(n)) for n in event.data.get("nodes") or []}
        node = self.nodes.get(event.node or "")
        if node is None:
            return
        node.since = event.at
        if event.kind == "audit.ask":
            node.status = ASKED
        elif event.kind == "audit.answer":
            node.status = str(event.data.get("status"))
            node.said = said(event)

    def view(self, now: float, *, width: int, height: int, unicode: bool) -> list[Row]:
        """The pull as rows of styled text; nodes that need a look come first."""
        if not self.nodes:
            return []
        done = sum(n.status not in (WAITING, ASKED) for n in self.nodes.values())
        clock = f"{int(now - self.started) // 60:02d}:{int(now - self.started) % 60:02d}"
        head = (("holdfast audit", "bold"), (f"   {self.title}   {clock}", "plain"),
                (f"   {done} of {len(self.nodes)} nodes", "dim"))  # fmt: skip
        order = list(_LOOKS)
        every = list(self.nodes.values())
        room = max(1, height - 2)
        if len(every) > room:
            every = sorted(every, key=lambda n: order.index(n.status))[:room]
        wide = max(len(n.name) for n in every)
        rows: list[Row] = [head]
        for node in every:
            glyph, plain, style = _LOOKS[node.status]
            words = node.said
            if node.status == ASKED:
                words = f"asked ({now - node.since:.0f} s)"
            text = shorten(f"{node.name:<{wide}}  {words}", max(width - 2, 8))
            rows.append(((f"{glyph if unicode else plain} ", style), (text, "plain")))
        return rows

    def plain(self, event: Event) -> Iterator[str]:
        """The line that a log gets for one event."""
        if event.kind == "audit.start":
            yield f"{self.title}: {len(event.data.get('nodes') or [])} nodes"
        elif event.kind == "audit.answer":
            yield f"{event.node}: {event.data.get('status')}: {said(event)}"


def said(event: Event) -> str:
    """What a node's answer came to, in a few words."""
    data = event.data
    sent = "audit sent along; " if data.get("shipped") else ""
    if data.get("outcome") != "fresh":
        return one_line(f"{sent}{data.get('outcome')}: {data.get('why')}".replace("_", " ", 1))
    counts = data.get("counts") or {}
    return sent + ", ".join(f"{n} {s.replace('_', ' ')}" for s, n in counts.items() if n)

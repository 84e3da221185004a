"""What a run looks like while it goes on: a state that events change, and a view of it.

Everything here is pure: `follow` takes an event, `view` gives lines of styled text. Whoever
shows them decides when and where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from provision.core.events import Event
from provision.engine.recorder import INTERNAL

Span = tuple[str, str]
"""Text and the name of its style: plain, bold, dim, good, bad, warn, note."""
Row = tuple[Span, ...]

WAITING, WORKING, DONE, CHANGED, FAILED, NOTHING = (
    "waiting",
    "working",
    "ok",
    "changed",
    "failed",
    "same",
)

_GLYPHS: dict[str, Span] = {
    WAITING: ("·", "dim"),
    WORKING: ("●", "note"),
    DONE: ("✓", "good"),
    CHANGED: ("✓", "warn"),
    FAILED: ("✗", "bad"),
    NOTHING: ("=", "good"),
}
_ASCII = {"·": ".", "●": "*", "✓": "v", "✗": "x", "=": "="}
_WORDS = {
    WAITING: "waiting",
    WORKING: "working",
    DONE: "ok",
    CHANGED: "changed",
    FAILED: "failed",
    NOTHING: "nothing to change",
}
_ORDER = {FAILED: 0, WORKING: 1, CHANGED: 2, DONE: 3, NOTHING: 4, WAITING: 5}
_DRAINS = {
    "drain.due": "being drained",
    "drain.taken": "drained",
    "drain.wait": "drained, waits for what still works on it",
    "gate.end": "checked after its change",
    "drain.lifted": "back in service",
    "drain.left": "its drain is not ours to lift",
}
"""What a row says while a node's GPU unit changes."""
STAGES = ("preflight", "plan", "apply", "verify")


@dataclass
class NodeView:
    """One row: what the node's phases came to, and what it does now."""

    name: str
    phases: dict[str, str] = field(default_factory=dict)
    status: str = WAITING
    now: str = ""
    since: float = 0.0
    planned: int = 0
    changes: int = 0
    message: str = ""


@dataclass
class Progress:
    """All that is shown of a run."""

    run: str = ""
    verb: str = ""
    rack: str = ""
    started: float = 0.0
    phases: list[str] = field(default_factory=list)
    stages: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, NodeView] = field(default_factory=dict)
    wave: int = 0
    checked: int = 0
    gating: int = 0

    def counts(self) -> dict[str, int]:
        """How many nodes have each status."""
        found = dict.fromkeys(_WORDS, 0)
        for node in self.nodes.values():
            found[node.status] += 1
        return found


def follow(state: Progress, event: Event) -> None:
    """Change the state by one event. Events of unknown kinds are passed over."""
    data = event.data
    if event.kind == "run.start":
        state.run, state.verb = str(data.get("run")), str(data.get("verb"))
        state.rack, state.started = str(data.get("rack")), event.at
        state.phases = [str(p) for p in data.get("phases") or []]
        for name in data.get("nodes") or []:
            state.nodes.setdefault(str(name), NodeView(str(name)))
    elif event.kind == "stage.start":
        state.stages[str(data.get("stage"))] = WORKING
    elif event.kind == "stage.end":
        good = data.get("status") == "ok"
        state.stages[str(data.get("stage"))] = DONE if good else FAILED
        _rest(state)
    elif event.kind == "wave.start":
        state.wave = int(data.get("wave", 0))
    elif event.kind == "verify.finding":
        state.checked += 1
        state.gating += data.get("status") in ("fail", "unknown")
    if event.node is not None and event.node in state.nodes:
        _follow_node(state.nodes[event.node], event)


def _rest(state: Progress) -> None:
    """A stage is over: nobody works any more."""
    for node in state.nodes.values():
        node.now = ""
        if node.status == WORKING:
            node.status = WAITING


def _follow_node(node: NodeView, event: Event) -> None:
    data = event.data
    check = bool(data.get("check"))
    phase = event.phase or ""
    if event.kind == "task.start":
        node.status = WORKING
        node.now, node.since = f"{phase}: {data.get('task')}", event.at
        if phase not in INTERNAL:
            node.phases[phase] = WORKING
    elif event.kind == "task.end":
        if data.get("status") == "changed" and phase not in INTERNAL:
            found = len(data.get("changes") or [])
            node.planned += found if check else 0
            node.changes += 0 if check else found
    elif event.kind == "phase.end":
        _phase_end(node, phase, str(data.get("status")), data.get("message"))
    elif event.kind in ("restart.due", "restart.end"):
        back = event.kind == "restart.end"
        node.now, node.since = ("back after a restart" if back else "restarting"), event.at
        node.status = WORKING
    elif event.kind in _DRAINS:
        node.now, node.since = _DRAINS[event.kind], event.at
        node.status = WORKING
    elif event.kind == "node.end":
        _node_end(node, str(data.get("status")), str(data.get("message") or ""), phase)
    if check and event.kind == "phase.end" and data.get("status") in ("ok", "changed"):
        # Looked at only; what stands in the row later is what was applied.
        node.phases.pop(phase, None)


def _phase_end(node: NodeView, phase: str, status: str, message: object) -> None:
    known = {"ok": DONE, "changed": CHANGED}
    node.phases[phase] = known.get(status, FAILED)
    node.now = ""
    if status not in known:
        node.status, node.message = FAILED, f"{phase}: {message}"


def _node_end(node: NodeView, status: str, message: str, phase: str) -> None:
    node.now = ""
    if status != "ok":
        node.status = FAILED
        node.message = node.message or (f"{phase}: {message}" if phase else message)
    elif message == "nothing to change":
        node.status = NOTHING
    else:
        node.status = CHANGED if CHANGED in node.phases.values() else DONE


def view(
    state: Progress, now: float, *, width: int = 100, height: int = 40, unicode: bool = True
) -> list[Row]:
    """The run as rows of styled text that fit into `width` columns and `height` rows.

    Args:
        state: the run.
        now: Unix seconds.
        width: columns.
        height: rows; nodes that failed or work come first when not all have room.
        unicode: False where only ASCII can be shown.
    """
    if not state.run:
        return []
    rows = [_headline(state, now), _stage_row(state, unicode)]
    shown = _chosen(state, max(1, height - 5))
    if state.nodes:
        names = max(4, *(len(n.name) for n in state.nodes.values()))
        rows.append(_phase_heading(state, names))
        rows += [_node_row(state, n, names, now, unicode) for n in shown]
        rows.append(_footer(state, len(state.nodes) - len(shown)))
    return [_cut(row, width) for row in rows]


def _headline(state: Progress, now: float) -> Row:
    wave = f"   wave {state.wave}" if state.wave else ""
    return (
        (f"holdfast {state.verb}", "bold"),
        (f"   rack {state.rack}   {_clock(now - state.started)}{wave}", "plain"),
        (f"   run {state.run}", "dim"),
    )


def _stage_row(state: Progress, unicode: bool) -> Row:
    spans: list[Span] = []
    stages = STAGES if state.verb in ("up", "audit-install") else STAGES[:2]
    for stage in stages:
        status = state.stages.get(stage, WAITING)
        text, style = _glyph(status, unicode)
        suffix = f" {state.checked} checks" if stage == "verify" and state.checked else ""
        spans += [(f"{text} ", style), (f"{stage}{suffix}   ", style)]
    return tuple(spans)


def _phase_heading(state: Progress, names: int) -> Row:
    cells = "".join(f"{_short(p):<{_cell(p)}}" for p in state.phases)
    return ((f"  {'node':<{names}}  {cells}now", "dim"),)


def _node_row(state: Progress, node: NodeView, names: int, now: float, unicode: bool) -> Row:
    glyph, style = _glyph(node.status, unicode)
    spans: list[Span] = [(f"{glyph} ", style), (f"{node.name:<{names}}  ", "plain")]
    for phase in state.phases:
        status = node.phases.get(phase, NOTHING if node.status == NOTHING else WAITING)
        mark, colour = _glyph(status, unicode)
        spans.append((f"{mark:<{_cell(phase)}}", colour))
    if node.status == FAILED:
        spans.append((f"failed  {node.message}", "bad"))
    elif node.now:
        seconds = now - node.since
        slow = f" ({seconds:.0f} s)" if seconds >= 3 else ""
        spans.append((f"{node.now}{slow}", "plain"))
    else:
        spans.append((_words(node), "dim"))
    return tuple(spans)


def _words(node: NodeView) -> str:
    if node.status == CHANGED:
        return f"changed, {node.changes} changes"
    if node.status == WAITING and node.planned:
        return f"waiting, {node.planned} to change"
    return _WORDS[node.status]


def _footer(state: Progress, hidden: int) -> Row:
    counts = state.counts()
    words = ", ".join(f"{counts[s]} {_WORDS[s]}" for s in _ORDER if counts[s])
    more = f"   ({hidden} more nodes)" if hidden > 0 else ""
    return ((f"  {words}{more}", "dim"),)


def _chosen(state: Progress, room: int) -> list[NodeView]:
    nodes = list(state.nodes.values())
    if len(nodes) <= room:
        return nodes
    return sorted(nodes, key=lambda n: _ORDER[n.status])[:room]


def _cut(row: Row, width: int) -> Row:
    left = width
    kept: list[Span] = []
    for text, style in row:
        # A message may hold newlines, and a row is a row.
        part = " ".join(text.splitlines()) if "\n" in text else text
        if len(part) > left:
            part = part[: max(left - 1, 0)] + "…" if left else ""
        left -= len(part)
        kept.append((part, style))
    return tuple(kept)


def _glyph(status: str, unicode: bool) -> Span:
    text, style = _GLYPHS[status]
    return (text if unicode else _ASCII[text]), style


def _short(phase: str) -> str:
    return phase.replace("container_", "").replace("model_store", "models").replace("_", " ")


def _cell(phase: str) -> int:
    return len(_short(phase)) + 2


def _clock(seconds: float) -> str:
    whole = max(0, int(seconds))
    return f"{whole // 60:02d}:{whole % 60:02d}"


def plain(event: Event) -> Iterator[str]:
    """The lines that a log without a terminal gets for one event; most events have none."""
    where = f"{event.node}: " if event.node else ""
    if event.kind in _DRAINS:
        yield where + _plain_drain(event)
    else:
        yield from _plain(event, where)


def _plain(event: Event, where: str) -> Iterator[str]:
    data = event.data
    if event.kind == "run.start":
        word = "resumed" if data.get("resumed") else "started"
        nodes = len(data.get("nodes") or [])
        rack, run = data.get("rack"), data.get("run")
        yield f"{data.get('verb')} {word}: rack {rack}, {nodes} nodes, run {run}"
    elif event.kind == "stage.start":
        yield f"{data.get('stage')} ..."
    elif event.kind == "stage.end":
        yield f"{data.get('stage')}: {data.get('status')}"
    elif event.kind == "wave.start":
        yield f"wave {data.get('wave')}: {', '.join(data.get('nodes') or [])}"
    elif event.kind == "phase.end" and _worth_a_line(event):
        yield _plain_phase(event, where)
    elif event.kind == "restart.due":
        yield f"{where}restarting: {'; '.join(data.get('reasons') or [])}"
    elif event.kind == "restart.end":
        yield f"{where}back after {data.get('seconds')} s"
    elif event.kind == "node.end":
        # The line of the phase has said why already.
        told = event.phase not in (None, "preflight", "restart")
        message = f"in {event.phase}" if told else data.get("message")
        yield f"{where}{data.get('status')}" + (f": {message}" if message else "")
    elif event.kind == "run.end":
        yield f"ended: {data.get('reason')} (exit code {data.get('exit_code')})"


def _plain_drain(event: Event) -> str:
    data = event.data
    more = "; ".join(data.get("busy") or data.get("gating") or []) or data.get("why")
    return _DRAINS[event.kind] + (f": {more}" if more else "")


def _worth_a_line(event: Event) -> bool:
    """Whether a phase's end is worth one; what preflight found is told in full at the end."""
    if event.phase in INTERNAL:
        return event.phase != "preflight" and bool(event.data.get("message"))
    return True


def _plain_phase(event: Event, where: str) -> str:
    data = event.data
    word = "looked at" if data.get("check") else str(data.get("status"))
    if data.get("status") not in ("ok", "changed"):
        return (
            f"{where}{event.phase} {data.get('status')}: {data.get('task')}: {data.get('message')}"
        )
    return f"{where}{event.phase} {word} ({data.get('tasks')} tasks, {data.get('seconds')} s)"

"""Turns what the callback writes into events of the run, and keeps count of phases per node.

A play is a phase. A node's phase has ended well when the next play began and the node had not
failed: only then is it finished for a resume. A failure counts once it is certain: a task may
fail inside a block that rescues it, and then the node simply goes on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from provision.core.events import Event, EventSink
from provision.engine.ansible import Line

INTERNAL = frozenset(
    {"node_lock", "node_restart", "node_restart_again", "node_unlock", "preflight"}
)
LOOKS = ("node_restart", "node_restart_again")
"""Plays in which a node may leave for a restart."""

"""Plays that are the engine's own and not phases of a node."""


@dataclass
class _Open:
    """A phase that runs on one node."""

    phase: str
    started: float
    tasks: int = 0
    changed: int = 0
    broken: str | None = None
    message: str | None = None
    task: str | None = None


@dataclass
class Tally:
    """What one ansible process did on one node.

    `reboot` says why a restart is asked for, by the last task that looked; `left` in which
    play the node left the playbook before its end for that.
    """

    tasks: int = 0
    finished: list[str] = field(default_factory=list)
    failed: str | None = None
    message: str | None = None
    unreachable: bool = False
    reboot: list[str] = field(default_factory=list)
    left: str | None = None


class Recorder:
    """Takes callback lines and emits `phase.*`, `task.*`, `facts` and `lock.*` events.

    Args:
        sink: where the events go.
        check: whether the process runs in check mode; phases are then not journalled as done.
    """

    def __init__(self, sink: EventSink, *, check: bool = False) -> None:
        self.sink = sink
        self.check = check
        self.nodes: dict[str, Tally] = {}
        self._open: dict[str, _Open] = {}
        self._doubtful: dict[str, _Open] = {}
        self._phase = ""

    def take(self, line: Line) -> None:
        """Take one line of the callback's file."""
        kind = line.get("kind")
        if kind == "play.start":
            self._close_all()
            self._phase = str(line.get("phase", ""))
        elif kind == "task.start":
            self._task_start(line)
        elif kind == "task.end":
            self._task_end(line)
        elif kind == "facts":
            self._emit("facts", line, data={"facts": line.get("data")})
        elif kind == "stats":
            self._close_all()
            self._settle(line.get("nodes") or {})

    def finish(self) -> None:
        """The process is over; what is still open has not ended well, what is doubtful failed."""
        for node, phase in list(self._doubtful.items()):
            self._fail(node, phase)
        self._open.clear()

    def _tally(self, node: str) -> Tally:
        return self.nodes.setdefault(node, Tally())

    def _task_start(self, line: Line) -> None:
        node, phase = str(line["node"]), str(line.get("phase", ""))
        healed = self._doubtful.get(node)
        if healed is not None and healed.phase != phase:
            # It takes part in a later play, so the failure was rescued.
            del self._doubtful[node]
            self._end_well(node, healed)
        opened = self._open.get(node)
        if opened is None or opened.phase != phase:
            self._open[node] = _Open(phase, time.time())
            if phase not in INTERNAL:
                self._emit("phase.start", line, data={"check": self.check})
        self._emit("task.start", line, data={"task": line.get("task")})

    def _task_end(self, line: Line) -> None:
        node = str(line["node"])
        tally = self._tally(node)
        tally.tasks += 1
        opened = self._open.get(node) or _Open(self._phase, time.time())
        self._open[node] = opened
        opened.tasks += 1
        status = line.get("status")
        if status == "changed":
            opened.changed += 1
        if status in ("failed", "unreachable") and not line.get("ignored"):
            opened.broken = str(status)
            opened.message = str(line.get("message") or "")
            opened.task = str(line.get("task") or "")
        if line.get("reboot"):
            tally.reboot = [str(reason) for reason in line["reboot"]]
            if opened.phase in LOOKS:
                tally.left = opened.phase
        kept = ("task", "path", "status", "changes", "depends", "message", "check", "seconds")
        extra = ("ignored", "holder", "reboot", "notes", "left")
        data = {k: line.get(k) for k in kept} | {k: line[k] for k in extra if k in line}
        self._emit("task.end", line, data=data)
        if opened.phase in INTERNAL and status != "failed":
            self._lock_event(opened.phase, line)

    def _lock_event(self, phase: str, line: Line) -> None:
        kind = {"node_lock": "lock.taken", "node_unlock": "lock.released"}.get(phase)
        if kind is not None and line.get("status") in ("ok", "changed"):
            self._emit(kind, line, durable=True)

    def _close_all(self) -> None:
        """A play ended: what has not failed in it ended well."""
        for node, phase in self._open.items():
            if phase.broken is None:
                self._end_well(node, phase)
            else:
                self._doubtful[node] = phase
        self._open.clear()

    def _settle(self, stats: dict[str, Any]) -> None:
        for node, phase in list(self._doubtful.items()):
            counts = stats.get(node)
            # Only ansible's own word that nothing failed makes a failure a rescued one.
            if counts is not None and not counts.get("failures") and not counts.get("unreachable"):
                self._end_well(node, phase)
            else:
                self._fail(node, phase)
        self._doubtful.clear()

    def _end_well(self, node: str, phase: _Open) -> None:
        self._tally(node).finished.append(phase.phase)
        if phase.phase not in INTERNAL:
            self._phase_end(node, phase, "changed" if phase.changed else "ok")

    def _fail(self, node: str, phase: _Open) -> None:
        self._doubtful.pop(node, None)
        tally = self._tally(node)
        tally.failed, tally.message = phase.phase, phase.message
        tally.unreachable = phase.broken == "unreachable"
        self._phase_end(node, phase, phase.broken or "failed")

    def _phase_end(self, node: str, phase: _Open, status: str) -> None:
        data = {
            "status": status,
            "tasks": phase.tasks,
            "changed": phase.changed,
            "seconds": round(time.time() - phase.started, 3),
            "check": self.check,
        }
        if phase.broken is not None:
            data |= {"task": phase.task, "message": phase.message}
        # Durable: a resume skips what stands here, so it must not be lost, and nothing may stand
        # here that has not happened.
        event = Event("phase.end", node, phase.phase, data, durable=not self.check)
        self.sink.emit(event)

    def _emit(
        self, kind: str, line: Line, *, data: dict[str, Any] | None = None, durable: bool = False
    ) -> None:
        phase = line.get("phase")
        at = float(line.get("at") or time.time())
        self.sink.emit(
            Event(kind, str(line["node"]), str(phase) if phase else None, data or {}, at, durable)
        )

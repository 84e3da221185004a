"""What a run has done, read back from its journal.

The journal is the run's events. A crash can cut the last line short; everything before it
stands, and what it says is finished is on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from provision.core.events import Event, read_events
from provision.core.problems import fail
from provision.engine.processes import ProcessId
from provision.engine.recorder import INTERNAL

STAGES = ("preflight", "plan", "apply", "verify")

DONE = frozenset({"ok", "changed"})
"""The endings of a phase after which a resume does not repeat it."""


@dataclass
class NodeState:
    """What a run did on one node.

    `phases` maps a phase to its last ending; `changes` lists what was changed, as
    (phase, task, change); `tasks` counts the tasks that could change something and `looked`
    those in check mode and preflight; `locked` says that the node's lock was taken and not given
    back.
    """

    phases: dict[str, str] = field(default_factory=dict)
    changes: list[tuple[str, str, str]] = field(default_factory=list)
    tasks: int = 0
    looked: int = 0
    locked: bool = False
    status: str | None = None
    message: str | None = None
    failed_phase: str | None = None
    restarts: int = 0
    restart_due: bool = False
    boot_before: str | None = None

    @property
    def finished(self) -> set[str]:
        """The phases that a resume does not repeat."""
        return {phase for phase, status in self.phases.items() if status in DONE}


@dataclass
class RunState:
    """What a run did; `exit_code` is None while it runs, or when it was killed."""

    nodes: dict[str, NodeState] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    processes: list[ProcessId] = field(default_factory=list)
    exit_code: int | None = None
    reason: str | None = None
    started: float | None = None
    ended: float | None = None
    waves: int = 0

    def node(self, name: str) -> NodeState:
        """The state of a node, made when it is first met."""
        return self.nodes.setdefault(name, NodeState())

    def stage_done(self, stage: str) -> bool:
        """Whether a stage ended well."""
        return self.stages.get(stage) == "ok"


def replay(events: Iterable[Event]) -> RunState:
    """The state that a run's events lead to. Events of unknown kinds are passed over."""
    state = RunState()
    for event in events:
        if state.started is None:
            state.started = event.at
        _run_event(state, event)
        if event.node is not None:
            _node_event(state.node(event.node), event)
    return state


def read_journal(path: Path) -> RunState:
    """The state of the run whose journal this is.

    Raises:
        HoldfastError: the journal cannot be read or is damaged before its last line.
    """
    try:
        return replay(read_events(path))
    except FileNotFoundError:
        return RunState()
    except (OSError, ValueError) as error:
        raise fail(
            "journal-damaged",
            f"the journal cannot be read: {error}",
            hint="start a new `holdfast up`; it looks at everything",
            where=str(path),
        ) from error


def mend(path: Path) -> None:
    """Cut off a last line that a crash left half written, so that the next one starts clean.

    Raises:
        OSError: the journal cannot be written.
    """
    if not path.exists():
        return
    with open(path, "rb+") as stream:
        data = stream.read()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            stream.truncate(whole)
            os.fsync(stream.fileno())


def _run_event(state: RunState, event: Event) -> None:
    data = event.data
    if event.kind == "run.start":
        # A resume goes on: how the run ended before no longer counts.
        state.exit_code = state.reason = state.ended = None
    elif event.kind == "process.start":
        state.processes.append(
            ProcessId(int(data["pid"]), int(data["start"]), str(data.get("boot", "")))
        )
    elif event.kind == "stage.end":
        state.stages[str(data.get("stage"))] = str(data.get("status"))
    elif event.kind == "wave.start":
        state.waves = max(state.waves, int(data.get("wave", 0)))
    elif event.kind == "run.end":
        code = data.get("exit_code")
        state.exit_code = int(code) if code is not None else None
        state.reason = data.get("reason")
        state.ended = event.at


def _node_event(node: NodeState, event: Event) -> None:
    data = event.data
    if event.kind == "phase.end" and not data.get("check") and event.phase:
        _phase_end(node, event.phase, event)
    elif event.kind == "task.end":
        _task_end(node, event)
    elif event.kind in ("lock.taken", "lock.released"):
        node.locked = event.kind == "lock.taken"
    elif event.kind == "restart.due":
        node.restart_due = True
        node.boot_before = str(data.get("boot") or "") or None
    elif event.kind == "restart.end":
        node.restart_due = False
        # The lock lies where a restart clears it.
        node.locked = False
        node.restarts += 1
    elif event.kind == "node.end":
        node.status = str(data.get("status"))
        node.message = data.get("message")
        node.failed_phase = event.phase


def _task_end(node: NodeState, event: Event) -> None:
    data = event.data
    if data.get("check") or event.phase == "preflight":
        node.looked += 1
        return
    node.tasks += 1
    if data.get("status") == "changed" and event.phase and event.phase not in INTERNAL:
        task = str(data.get("task"))
        node.changes += [(event.phase, task, str(change)) for change in data.get("changes") or []]


def _phase_end(node: NodeState, phase: str, event: Event) -> None:
    status = str(event.data.get("status"))
    node.phases[phase] = status
    if status in DONE:
        if node.failed_phase == phase:
            node.failed_phase = node.message = node.status = None
    else:
        node.failed_phase = phase
        node.message = event.data.get("message")

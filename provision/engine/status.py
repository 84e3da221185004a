"""What the last run of a rack did, read from its folder; contacts nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from provision.engine.journal import NodeState, RunState, read_journal
from provision.engine.runs import RunFolder, RunRecord

SCHEMA = "holdfast.status/1"
LOOKERS = ("plan", "verify")
"""Verbs that change nothing, whose runs finish no node."""


@dataclass(frozen=True)
class Status:
    """A run as its folder tells it."""

    record: RunRecord
    state: RunState
    folder: RunFolder
    verdict: str | None

    @property
    def running(self) -> bool:
        """Whether a process of the run still works."""
        return self.state.exit_code is None and any(p.alive for p in self.state.processes)

    @property
    def word(self) -> str:
        """How the run stands, in one word."""
        if self.state.exit_code is not None:
            return self.state.reason or "ended"
        return "running" if self.running else "broken off"

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The nodes that a resume would still work on; none of a run that changes nothing."""
        if self.record.verb in LOOKERS:
            return ()
        return tuple(n for n in self.record.nodes if self.node(n).status != "ok")

    @property
    def resumable(self) -> bool:
        """Whether a resume has something to continue: the run came as far as changing nodes."""
        begun = "plan" in self.state.stages or any(n.locked for n in self.state.nodes.values())
        done = self.state.exit_code == 0 or self.running
        return self.record.verb == "up" and begun and not done and bool(self.unfinished)

    def node(self, name: str) -> NodeState:
        """What the run did on a node; an empty state when it never got there."""
        return self.state.nodes.get(name, NodeState())

    def to_json(self) -> dict[str, Any]:
        """The status as plain data."""
        return {
            "schema": SCHEMA,
            "run": self.record.run,
            "verb": self.record.verb,
            "rack": self.record.rack,
            "started": self.record.started,
            "ended": self.state.ended,
            "status": self.word,
            "exit_code": self.state.exit_code,
            "stages": dict(self.state.stages),
            "verdict": self.verdict,
            "unfinished": list(self.unfinished),
            "folder": str(self.folder.path),
            "nodes": [node_to_json(n, self.node(n)) for n in self.record.nodes],
        }


def node_to_json(name: str, node: NodeState) -> dict[str, Any]:
    """What a run did on a node, as plain data."""
    return {
        "node": name,
        "status": node.status,
        "failed_phase": node.failed_phase,
        "message": node.message,
        "phases": dict(node.phases),
        "tasks": node.tasks,
        "looked": node.looked,
        "changes": [{"phase": p, "task": t, "change": c} for p, t, c in node.changes],
        "restarts": node.restarts,
        "locked": node.locked,
    }


def status_of(folder: RunFolder) -> Status:
    """The status of a run.

    Raises:
        HoldfastError: its record or journal cannot be read.
    """
    return Status(folder.record(), read_journal(folder.journal), folder, _verdict(folder))


def render(status: Status, only: Collection[str] | None = None) -> list[str]:
    """The status as lines of text: the run, then a line a node (of those in `only`)."""
    record = status.record
    began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(record.started))
    lines = [
        f"run {record.run}   {record.verb}   rack {record.rack}   {began}   {status.word}",
        "  " + "   ".join(f"{stage} {status.state.stages[stage]}" for stage in status.state.stages),
    ]
    if status.verdict:
        lines.append(f"  verdict: {status.verdict}")
    names = [n for n in record.nodes if only is None or n in only]
    width = max((len(n) for n in names), default=4)
    open_end = "not finished"
    if record.verb in LOOKERS and status.state.exit_code is not None:
        open_end = "looked at"
    lines += [f"  {name:<{width}}  {_node_words(status.node(name), open_end)}" for name in names]
    if status.resumable:
        lines.append(f"  continue with: holdfast up {record.inventory} --resume {record.run}")
    lines.append(f"  folder: {status.folder.path}")
    return lines


def _node_words(node: NodeState, open_end: str) -> str:
    words = [node.status or open_end]
    if node.phases:
        words.append(", ".join(f"{phase} {end}" for phase, end in node.phases.items()))
    if node.changes:
        words.append(f"{len(node.changes)} changes")
    if node.restarts:
        words.append(f"{node.restarts} restart{'s' * (node.restarts != 1)}")
    if node.locked:
        words.append("still locked by this run")
    if node.message:
        words.append(node.message)
    return "; ".join(words)


def _verdict(folder: RunFolder) -> str | None:
    try:
        body = json.loads(folder.verdict.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(body.get("status")) if isinstance(body, dict) else None

"""Puts back what a run changed on the nodes of a rack, from the undo journals that they keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.core.events import Event, EventSink, ListSink, Tee
from provision.core.exitcodes import ExitCode
from provision.core.paths import playbook
from provision.core.problems import Problem, fail
from provision.engine.apply import Applier, Holding
from provision.engine.recorder import Recorder, Tally
from provision.engine.restart import Restarter
from provision.engine.session import Session

SCHEMA = "holdfast.restore/1"


@dataclass(frozen=True)
class NodeRestore:
    """What was, or would be, put back on one node.

    `left` is what somebody changed since, `notes` what cannot be undone and why, `failed` why
    the node could not be restored to the end.
    """

    node: str
    changes: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failed: str | None = None

    def to_json(self) -> dict[str, Any]:
        """It as plain data."""
        return {
            "node": self.node,
            "changes": list(self.changes),
            "left": list(self.left),
            "cannot_be_undone": list(self.notes),
            "failed": self.failed,
        }


@dataclass
class RestoreReport:
    """What a restore came to; `check` when it only said what it would do."""

    run: str
    folder: Path
    to: str
    check: bool
    nodes: tuple[NodeRestore, ...] = ()
    problems: list[Problem] = field(default_factory=list)

    @property
    def exit_code(self) -> ExitCode:
        """3 when a node could not be restored, 1 when something was left, else 0."""
        if any(node.failed is not None for node in self.nodes) or self.problems:
            return ExitCode.NOT_DONE
        left = any(node.left for node in self.nodes)
        return ExitCode.FINDINGS if left else ExitCode.OK

    def to_json(self) -> dict[str, Any]:
        """The document of `--json`."""
        return {
            "schema": SCHEMA,
            "run": self.run,
            "folder": str(self.folder),
            "to": self.to,
            "check": self.check,
            "exit_code": int(self.exit_code),
            "nodes": [node.to_json() for node in self.nodes],
            "problems": [problem.to_json() for problem in self.problems],
        }


def restore(
    session: Session, to: str, *, check: bool = False, force: bool = False
) -> RestoreReport:
    """Bring nodes back to what they were before the run `to`.

    Args:
        session: the opened run, of the verb `restore`.
        to: the run to go back before; it and all later ones are put back, the latest first.
        check: only say what would be put back, and what cannot be.
        force: put files back that somebody changed since, too.

    Raises:
        HoldfastError: ansible did not run at all.
        KeyboardInterrupt: it was interrupted; the nodes were given back.
    """
    report = RestoreReport(session.record.run, session.folder.path, to, check)
    names = [node.name for node in session.request.rack.nodes]
    holding = Holding(session.record, session.request.takeover)
    kept = ListSink()
    recorder = Recorder(Tee([session.sink, kept]), check=check)
    session.stage("restore", to=to, check=check)
    outcome = session.ansible.run(
        "restore",
        playbook("restore"),
        recorder.take,
        limit=names,
        variables={
            **holding.variables(),
            "engine_restore_to": to,
            "engine_restore_force": force,
        },
        check=check,
    )
    recorder.finish()
    if not outcome.finished and not outcome.interrupted and not recorder.nodes:
        raise fail(
            "ansible",
            f"ansible-playbook ended with {outcome.status} before it reached any node:\n"
            + outcome.last_words(),
            hint=f"the whole log is {outcome.log}",
        )
    report.nodes = gather(names, kept.seen, recorder.nodes)
    report.problems += [
        Problem("restore-failed", node.failed, where=node.node)
        for node in report.nodes
        if node.failed is not None
    ]
    if not check:
        _give_back(session, holding, session.sink)
    if outcome.interrupted:
        raise KeyboardInterrupt
    session.stage("restore", "ok" if report.exit_code is ExitCode.OK else "failed")
    return report


def gather(
    names: Sequence[str], events: Sequence[Event], tallies: dict[str, Tally]
) -> tuple[NodeRestore, ...]:
    """What the events of a restore say of each node."""
    found = {}
    for event in events:
        if event.kind == "task.end" and event.phase == "restore" and event.node:
            found[event.node] = event.data
    nodes = []
    for name in names:
        data, tally = found.get(name, {}), tallies.get(name)
        failed = None
        if tally is None or tally.tasks == 0:
            failed = "the node was not reached"
        elif tally.failed is not None:
            failed = tally.message or f"{tally.failed} failed"
        nodes.append(
            NodeRestore(
                name,
                tuple(data.get("changes") or ()) if data.get("status") == "changed" else (),
                tuple(data.get("left") or ()),
                tuple(data.get("notes") or ()),
                failed,
            )
        )
    return tuple(nodes)


def render(report: RestoreReport) -> str:
    """The report as text for a person."""
    verb = "would be put back" if report.check else "was put back"
    lines = []
    for node in report.nodes:
        lines.append(node.node)
        lines += [f"  ~ {change}" for change in node.changes]
        lines += [f"  ! left: {what}" for what in node.left]
        lines += [f"  ! cannot be undone: {note}" for note in node.notes]
        if not node.changes and node.failed is None:
            lines.append(f"  = nothing of {report.to} or later to put back")
    changed = sum(bool(node.changes) for node in report.nodes)
    lines.append("")
    lines.append(f"before {report.to}: {changed} of {len(report.nodes)} nodes, what {verb}")
    return "\n".join(lines) + "\n"


def _give_back(session: Session, holding: Holding, sink: EventSink) -> None:
    """Give back nodes whose restore failed on its way."""
    held = [name for name, node in session.state().nodes.items() if node.locked]
    restarter = Restarter(session.request.rack, session.ansible, session.ssh, sink)
    Applier(session.ansible, restarter, sink, holding).unlock(held)

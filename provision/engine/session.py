"""One run from opening to closing: its folder, journal, controller lock and ansible processes."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self

from provision import __version__
from provision.checks.audit_program import program
from provision.core.events import Event, EventSink, FileSink, ListSink, Tee
from provision.core.locks import FileLock, Held
from provision.core.paths import playbook, state_home
from provision.core.problems import HoldfastError, Problem, fail
from provision.engine import audit, controls, journal
from provision.engine.ansible import Ansible, Tail, socket_folder
from provision.engine.apply import phases_of
from provision.engine.environment import Place
from provision.engine.journal import RunState
from provision.engine.processes import ProcessId, end
from provision.engine.recorder import Recorder
from provision.engine.runs import (
    RunFolder,
    RunRecord,
    controller_name,
    new_run,
    new_run_id,
    runs_home,
)
from provision.policy.load import Policy
from provision.rack.model import Rack
from provision.rack.ssh import SshSettings, write_known_hosts
from provision.supply.lock import lock_sha256
from provision.supply.model import StackLock

LEFTOVER_WAIT_S = 20.0
"""How long an ansible process of a killed run may take to end by itself."""

MAX_FORKS = 50
WRITERS = ("up", "restore", "audit-install")
"""Verbs that change nodes, of which one at a time works on a rack."""


@dataclass(frozen=True)
class Request:
    """What a run is asked to do.

    `rack` holds the chosen nodes only; `command` is the command line as it was typed;
    `takeover` names the one run whose node locks may be replaced; `resume` is the run to
    continue; `policy` is what the rack's profile is made of, `lock` what its nodes are; `phases`
    are the only ones to plan and apply, all where there are none.
    """

    rack: Rack
    verb: str
    command: tuple[str, ...]
    takeover: str | None = None
    resume: RunFolder | None = None
    policy: Policy = field(default_factory=Policy)
    lock: StackLock | None = None
    phases: tuple[str, ...] = ()


class Session:
    """A run while it goes on; use as a context manager.

    On entry the controller's lock for this rack is taken (not for verbs that change nothing), the
    run folder is made or opened again, and what a killed process of the run left on this machine
    is ended.

    Raises (on entry):
        HoldfastError: another process works on the rack, or the run cannot be resumed because
            its inputs have changed (exit code 3).
        OSError: the state folder cannot be written.
    """

    def __init__(self, request: Request, watcher: EventSink) -> None:
        self.request = request
        self.record, self.folder, self.before = _open(request)
        self._watcher = watcher
        holder = {
            "run": self.record.run,
            "command": " ".join(request.command),
            "controller": controller_name(),
        }
        path = state_home() / "locks" / f"{request.rack.name}.lock"
        self._lock = FileLock(path, holder) if request.verb in WRITERS else None
        self.sink: EventSink = watcher
        self.ssh = SshSettings(self.folder.known_hosts)

    def __enter__(self) -> Self:
        if self._lock is not None:
            try:
                self._lock.__enter__()
            except Held as held:
                raise _locked(self.request.rack.name, held) from held
        try:
            self._start()
        except BaseException:
            self._unlock()
            raise
        return self

    def _start(self) -> None:
        request = self.request
        if request.resume is None:
            new_run(self.record)
        else:
            journal.mend(self.folder.journal)
            end_leftovers(self.before)
        self.sink = Tee([FileSink(self.folder.journal), self._watcher])
        if request.resume is not None:
            self.before = recover(self.folder, self.sink)
        write_known_hosts(request.rack, self.folder.known_hosts)
        place = Place(
            self.folder.ansible,
            socket_folder(self.folder.path / "sockets"),
            request.rack.path,
            self.folder.known_hosts,
            forks=min(MAX_FORKS, max(1, len(request.rack.nodes))),
            secrets=_secret_variables(request.rack),
            patience=max((node.patience for node in request.rack.nodes), default=1),
            variables=self._rendered(),
        )
        self.ansible = Ansible(place, started=self._process_started)
        self.shared_ssh = SshSettings(self.folder.known_hosts, control_dir=place.sockets)
        data = {
            "run": self.record.run,
            "verb": request.verb,
            "rack": request.rack.name,
            "nodes": [node.name for node in request.rack.nodes],
            "phases": list(request.phases or phases_of(playbook("site"))),
            "resumed": request.resume is not None,
        }
        self.sink.emit(Event("run.start", data=data, durable=True))
        own = ProcessId.of(os.getpid())
        if own is not None:
            self._process_started("holdfast", own)

    def _rendered(self) -> dict[str, Any]:
        """What playbooks are told of what was rendered for them."""
        rack, policy = self.request.rack, self.request.policy
        files = controls.write_controls(rack, policy, self.folder.controls)
        told = controls.variables(files)
        if self.request.lock is not None:
            told |= audit.write_audit(rack, self.request.lock, policy, self.folder.audit)
        return told

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.ansible.close()
        finally:
            self._unlock()

    def stage(self, stage: str, status: str | None = None, **data: object) -> None:
        """Journal the start of a stage, or how it ended."""
        kind = "stage.start" if status is None else "stage.end"
        body: dict[str, object] = {"stage": stage, **data}
        if status is not None:
            body["status"] = status
        self.sink.emit(Event(kind, data=body, durable=status is not None))

    def state(self) -> RunState:
        """What the run has done until now, by its journal."""
        return journal.read_journal(self.folder.journal)

    def _process_started(self, name: str, process: ProcessId) -> None:
        data = {"name": name, "pid": process.pid, "start": process.start, "boot": process.boot}
        self.sink.emit(Event("process.start", data=data, durable=True))

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.__exit__(None, None, None)


def end_leftovers(state: RunState) -> None:
    """End what a killed run left running on this machine.

    Raises:
        HoldfastError: a process does not end.
    """
    for process in state.processes:
        if process.pid == os.getpid():
            continue
        if process.alive and not end(process, LEFTOVER_WAIT_S, wait_first=LEFTOVER_WAIT_S):
            raise fail(
                "left-behind",
                f"process {process.pid} of the earlier run still works and does not end",
                hint=f"look at it with `ps -fp {process.pid}`, end it, and resume again",
            )


def recover(folder: RunFolder, sink: EventSink) -> RunState:
    """Journal the phases that ansible finished and that we were killed before writing down.

    Ansible's own events are a moment ahead of the journal.
    """
    state = journal.read_journal(folder.journal)
    waves = sorted(folder.ansible.glob("[0-9]*-wave.jsonl"))
    if not waves:
        return state
    kept = ListSink()
    recorder = Recorder(kept)
    for line in Tail(waves[-1]).lines():
        recorder.take(line)
    for event in kept.seen:
        done = event.kind == "phase.end" and event.data.get("status") in journal.DONE
        if done and event.node and event.phase not in state.node(event.node).finished:
            sink.emit(event)
    return journal.read_journal(folder.journal)


def new_record(request: Request) -> RunRecord:
    """The record of a new run."""
    now = time.time()
    rack = request.rack
    return RunRecord(
        run=new_run_id(now),
        verb=request.verb,
        rack=rack.name,
        inventory=str(rack.path),
        nodes=tuple(node.name for node in rack.nodes),
        inputs=inputs_of(request),
        command=request.command,
        controller=controller_name(),
        pid=os.getpid(),
        started=now,
        versions=versions(),
    )


def inputs_of(request: Request) -> dict[str, str]:
    """What a run reads, by sha256."""
    rack = request.rack
    found = {"inventory": rack.sha256, "stack_lock": lock_sha256(rack.stack)}
    wanted = controls.digest(rack, request.policy)
    if wanted is not None:
        found["controls"] = wanted
    if request.lock is not None and any(node.audited for node in rack.nodes):
        found["audit_program"] = program().sha256
    return found


def versions() -> dict[str, str]:
    """The versions that a run depends on, on this machine."""
    try:
        core = version("ansible-core")
    except PackageNotFoundError:
        core = "unknown"
    return {"holdfast": __version__, "ansible-core": core, "python": platform.python_version()}


def changed_inputs(record: RunRecord, now: dict[str, str]) -> list[str]:
    """The inputs that are not what they were when the run began, by name."""
    return sorted(name for name in now if record.inputs.get(name) != now[name])


def _open(request: Request) -> tuple[RunRecord, RunFolder, RunState]:
    if request.resume is None:
        record = new_record(request)
        return record, RunFolder(runs_home() / record.run), RunState()
    record = request.resume.record()
    _check_resumable(record, request)
    return record, request.resume, journal.read_journal(request.resume.journal)


def _check_resumable(record: RunRecord, request: Request) -> None:
    problems = []
    if record.verb != "up":
        message = f"run {record.run} is a `{record.verb}`; only an `up` can be resumed"
        problems.append(Problem("not-resumable", message))
    if record.rack != request.rack.name:
        message = f"run {record.run} is of rack {record.rack!r}, not {request.rack.name!r}"
        problems.append(Problem("not-resumable", message))
    places = {"stack_lock": request.rack.stack}
    for name in changed_inputs(record, inputs_of(request)):
        path = places.get(name, request.rack.path)
        words = name.replace("_", " ")
        problems.append(
            Problem(
                "inputs-changed",
                f"the {words} is not what it was when run {record.run} began",
                where=str(path),
                hint="start a new `holdfast up`, which looks at everything, or put the "
                f"{words} back as it was",
            )
        )
    if problems:
        raise HoldfastError(problems)


def _locked(rack: str, held: Held) -> HoldfastError:
    holder = held.holder
    since = holder.get("since")
    age = f", for {time.time() - float(since):.0f} s" if since else ""
    return fail(
        "locked",
        f"rack {rack} is held by process {holder.get('pid', '?')} of "
        f"{holder.get('controller', 'this machine')}: run {holder.get('run', '?')}{age}"
        f" ({holder.get('command', 'no command')})",
        hint="wait for it to end; `holdfast status` shows how far it is",
    )


def _secret_variables(rack: Rack) -> tuple[str, ...]:
    found = {
        ref.target for node in rack.nodes for ref in node.secrets.values() if ref.kind == "env"
    }
    return tuple(sorted(found))


def typed_command(argv: Sequence[str] | None = None) -> tuple[str, ...]:
    """The command line as it was typed; no option takes a secret."""
    words = list(sys.argv if argv is None else argv)
    return ("holdfast", *words[1:])

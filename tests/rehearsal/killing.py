"""Kills `holdfast up` at a moment, and watches that no two writers meet on a node.

Only the process of holdfast itself is killed, with SIGKILL: what it started has to notice that.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from provision.core.events import Event, read_events
from provision.engine.processes import ProcessId
from provision.rehearsal.node import Node
from tests.rehearsal.conftest import SimulatedRack

DONE = {"ok", "changed"}
ORPHAN_S = 30.0
"""How long what a killed run started on the controller may go on."""


@dataclass(frozen=True)
class Kill:
    """Where a run was when it was killed; `hit` is false when it had ended before."""

    hit: bool
    events: int
    where: str
    at: float


@dataclass
class Watcher:
    """Samples which ssh sessions of a node have Python at work, for as long as the context lasts.

    A process belongs to the session that it was first seen in, also when its parents are gone.
    """

    node: Node
    samples: list[tuple[float, frozenset[int]]] = field(default_factory=list)
    first_seen: dict[int, float] = field(default_factory=dict)
    _sessions: dict[tuple[int, str], int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            at = time.time()
            working = frozenset(self._look())
            for session in working:
                self.first_seen.setdefault(session, at)
            self.samples.append((at, working))

    def _look(self) -> set[int]:
        """The sessions that have Python at work now."""
        processes = _processes(_pid_of(self.node))
        working = set()
        for pid, (_, name, start) in processes.items():
            session = self._session(processes, pid)
            if session is None:
                continue
            self._sessions[(pid, start)] = session
            if name.startswith("python"):
                working.add(session)
        return working

    def _session(self, processes: Mapping[int, tuple[int, str, str]], pid: int) -> int | None:
        parent, name, start = processes[pid]
        known = self._sessions.get((pid, start))
        if known is not None:
            return known
        if name == "sshd-session":
            above = processes.get(parent)
            return pid if above is None or above[1] != "sshd-session" else parent
        return self._session(processes, parent) if parent in processes else None

    def late(self, killed_at: float, taken_at: float) -> list[float]:
        """When a session from before the kill was still at work after its successor began."""
        old = {s for s, at in self.first_seen.items() if at < killed_at}
        return [at for at, working in self.samples if at > taken_at and working & old]


def _processes(top: int) -> dict[int, tuple[int, str, str]]:
    """Parent, name and start of a process and all its descendants, by number."""
    known: dict[int, tuple[int, str, str]] = {}
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text(errors="replace")
        except OSError:
            continue
        head, _, tail = text.rpartition(")")
        state, parent, *fields = tail.split()
        if state != "Z":
            known[int(folder.name)] = (int(parent), head.partition("(")[2], fields[17])
            children.setdefault(int(parent), []).append(int(folder.name))
    inside = [top] if top in known else []
    for pid in inside:
        inside += children.get(pid, [])
    return {pid: known[pid] for pid in inside}


def _pid_of(node: Node) -> int:
    return int((node.folder / "pid").read_text())


def journal_of(run: Path) -> list[Event]:
    """The events of a run; a line that is being written is left out."""
    try:
        return list(read_events(run / "events.jsonl"))
    except FileNotFoundError:
        return []


def kill_up(rack: SimulatedRack, words: Sequence[str], events: int, delay: float) -> Kill:
    """Start `holdfast up`, kill it `delay` seconds after its journal grew by `events` events."""
    before = _lines(rack)
    child = rack.start("up", rack.inventory, *words)
    while child.poll() is None and _lines(rack) - before < events:
        time.sleep(0.02)
    if child.poll() is None:
        time.sleep(delay)
    hit = child.poll() is None
    at = time.time()
    if hit:
        os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    run = rack.runs()[-1] if rack.runs() else None
    seen = journal_of(run) if run else []
    wait_for_orphans(seen)
    return Kill(hit, _lines(rack) - before, _where(seen), at)


def events_before(run: Path, node: str, kind: str) -> int:
    """How many events a run of this node alone would have had before its first of this kind."""
    count = 0
    for event in journal_of(run):
        if event.node == node and event.kind == kind:
            return count
        count += event.node in (None, node)
    raise AssertionError(f"{run} has no {kind} of {node}")


def wait_for_orphans(events: Iterable[Event]) -> None:
    """Wait for the processes that a killed run had started on this machine to notice."""
    started = [e.data for e in events if e.kind == "process.start"]
    left = [ProcessId(int(d["pid"]), int(d["start"]), str(d["boot"])) for d in started]
    deadline = time.monotonic() + ORPHAN_S
    while any(process.alive for process in left):
        assert time.monotonic() < deadline, f"still there after {ORPHAN_S} s: {left}"
        time.sleep(0.1)


def _lines(rack: SimulatedRack) -> int:
    """How many events the last run of this rack has journalled."""
    runs = rack.runs()
    path = runs[-1] / "events.jsonl" if runs else None
    return path.read_bytes().count(b"\n") if path is not None and path.exists() else 0


def _where(events: Sequence[Event]) -> str:
    """Stage and task of the last events, in words."""
    stage = next((e.data["stage"] for e in reversed(events) if e.kind == "stage.start"), "start")
    for event in reversed(events):
        if event.kind == "stage.start":
            return f"{stage}: begins"
        if event.kind in ("task.start", "task.end", "restart.due", "restart.end"):
            task = event.data.get("task") or ""
            return f"{stage}: {event.phase or ''} {event.kind} {task}".strip()
    return str(stage)


def assert_nothing_redone(run: Path) -> None:
    """No phase was begun again on a node after it had ended well there."""
    done: set[tuple[str | None, str | None]] = set()
    for event in journal_of(run):
        key = (event.node, event.phase)
        if event.data.get("check"):
            continue
        if event.kind == "phase.start":
            assert key not in done, f"{event.phase} was done again on {event.node}"
        if event.kind == "phase.end" and event.data.get("status") in DONE:
            done.add(key)


def assert_one_writer(node: Node) -> None:
    """The node's own history: whoever took the node had it until it was given back."""
    holder = None
    for line in (node.folder / "upper/var/lib/holdfast/history.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["event"] == "lock.acquired":
            # A restart takes the lock away with /run, and the same run takes it again.
            assert holder in (None, entry["run"]), line
            holder = entry["run"]
        else:
            assert holder == entry["run"], line
            holder = None
    assert holder is None


def assert_no_overlap(watcher: Watcher, kills: Sequence[Kill], run: Path) -> None:
    """Nothing of a killed session was at work once its successor held the node."""
    taken = [e.at for e in journal_of(run) if e.kind == "lock.taken"]
    assert watcher.first_seen, "the watcher saw nobody at work"
    for kill in kills:
        after = [at for at in taken if at > kill.at]
        if kill.hit and after:
            late = watcher.late(kill.at, min(after))
            assert not late, f"two writers met {len(late)} times after the kill at {kill.where}"

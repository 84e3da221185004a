"""Empties nodes before their GPU unit changes, and puts them back into service after.

What was done stands on the node itself before it is done, so that a killed run, another run and
another controller all find it. Only a drain of ours is lifted, and it is ours while the reason in
Slurm is to the letter the one that we gave.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from provision.core.events import Event, EventSink
from provision.core.shown import printable
from provision.engine.onnode import CannotTell, OnNode, Record, Ssh
from provision.health.slurm.controller import Node as SlurmNode
from provision.rack.model import Drain, Node, Rack
from provision.rack.ssh import SshSettings

POLL_S = 5.0
COMMAND_S = 300.0
"""How long a command of the site's own may take; it need not wait until the node is empty."""
_WORKING = frozenset({"ALLOCATED", "MIXED", "COMPLETING"})
_SHAPE = re.compile(r"holdfast-up run=(?P<run>[A-Za-z0-9-]+) sum=(?P<sum>[0-9a-f]{8})")


def reason_of(run: str) -> str:
    """The reason of a drain by `run`. The audit's own drains begin otherwise."""
    total = hashlib.sha256(f"holdfast-up run={run}".encode()).hexdigest()[:8]
    return f"holdfast-up run={run} sum={total}"


def is_ours(reason: str) -> bool:
    """Whether a reason is one of ours, by whatever run, with nothing added or changed."""
    found = _SHAPE.fullmatch(reason)
    return found is not None and reason_of(found["run"]) == reason


class Drainer:
    """Drains nodes for one run.

    Args:
        rack: the rack.
        run: the run's id.
        ssh: how nodes are reached; it must not share connections.
        sink: is told what happens.
        reach: gives what can be asked of a node; a test may give its own.
    """

    def __init__(
        self,
        rack: Rack,
        run: str,
        ssh: SshSettings,
        sink: EventSink,
        reach: Callable[[Node], OnNode] | None = None,
    ) -> None:
        self.rack, self.run, self.sink = rack, run, sink
        self._stopped = threading.Event()
        self._reach = reach or (lambda node: Ssh(rack, node, ssh))

    def take(self, name: str) -> str | None:
        """Empty a node; None when it is, else why it is not.

        It stays drained in both cases: a `--resume` then finds it empty.
        """
        node = self.rack.node(name)
        at = self._reach(node)
        try:
            if node.drain is not None:
                self._out_of_service(node, node.drain, at)
            return self._emptied(node, at)
        except CannotTell as error:
            return f"{error}. Next: make that work, as root on the node"

    def lift(self, name: str) -> str | None:
        """Put a node back into service whose gate has passed; None, or why that failed."""
        node = self.rack.node(name)
        at = self._reach(node)
        try:
            record = at.record()
            if record is None:
                return None
            if not record.ours:
                self._emit("drain.left", name, why="somebody else had drained it before")
            elif record.by == "slurm":
                self._lift_slurm(name, record, at)
            else:
                self._lift_by_command(node, record)
            at.keep(None)
        except CannotTell as error:
            return f"the gate has passed, and the drain is not lifted: {error}"
        return None

    def stop(self) -> None:
        """Wait no longer for what works on a node."""
        self._stopped.set()

    def _out_of_service(self, node: Node, how: Drain, at: OnNode) -> None:
        record = at.record()
        if record is not None and record.done and "commands" in (record.by, how.by):
            # Only Slurm can be asked whether it still holds.
            self._emit("drain.taken", node.name, by=record.by, ours=record.ours, run=record.run)
            return
        if how.by == "slurm":
            record = self._drain_slurm(node.name, record, at)
        else:
            record = record or Record(self.run, "commands", "")
            self._due(node.name, record, at)
            self._command(node, how.drain)
        at.keep(replace(record, done=True))
        self._emit("drain.taken", node.name, by=record.by, ours=record.ours, run=record.run)

    def _drain_slurm(self, name: str, record: Record | None, at: OnNode) -> Record:
        seen = at.slurm()
        if seen.drained and is_ours(seen.reason):
            # By this run before it was killed, or by another one that did not end well.
            return record or Record(self.run, "slurm", seen.reason)
        if seen.drained or (seen.out and seen.reason):
            return Record(self.run, "slurm", seen.reason, ours=False)
        fresh = Record(self.run, "slurm", reason_of(self.run))
        self._due(name, fresh, at)
        at.drain(fresh.reason)
        after = at.slurm()
        if not after.drained:
            raise CannotTell("Slurm took the drain and does not show it")
        return replace(fresh, ours=after.reason == fresh.reason)

    def _due(self, name: str, record: Record, at: OnNode) -> None:
        at.keep(record)
        self._emit("drain.due", name, by=record.by, run=record.run)

    def _emptied(self, node: Node, at: OnNode) -> str | None:
        """Wait until nothing works on a node; None, or what still does at the deadline."""
        minutes = node.drain.deadline_minutes if node.drain is not None else 0
        end = time.monotonic() + minutes * 60
        before: list[str] = []
        while True:
            busy = at.busy()
            if node.drain is not None and node.drain.by == "slurm":
                busy += _jobs(at.slurm())
            if not busy:
                return None
            if busy != before:
                self._emit("drain.wait", node.name, busy=busy)
                before = busy
            if time.monotonic() >= end:
                return _still_busy(node, busy, minutes)
            if self._stopped.wait(POLL_S):
                return "interrupted while it was emptied"

    def _lift_slurm(self, name: str, record: Record, at: OnNode) -> None:
        seen = at.slurm()
        if not seen.drained:
            self._emit("drain.left", name, why="nobody drains it any more")
        elif seen.reason != record.reason:
            self._emit("drain.left", name, why=f"its reason is another one now: {seen.reason}")
        else:
            at.undrain()
            self._emit("drain.lifted", name, by="slurm", run=record.run)

    def _lift_by_command(self, node: Node, record: Record) -> None:
        if node.drain is None or node.drain.by != "commands":
            raise CannotTell(
                "it was drained by a command, and holdfast_drain names none now that puts it back;"
                " put it back by hand and remove /var/lib/holdfast/drain.json there"
            )
        self._command(node, node.drain.undrain)
        self._emit("drain.lifted", node.name, by="commands", run=record.run)

    def _command(self, node: Node, words: tuple[str, ...]) -> None:
        """Run a command of the site's own on this machine."""
        told = {"{node}": node.name, "{run}": self.run}
        argv = [_filled(word, told) for word in words]
        try:
            ran = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise CannotTell(f"{argv[0]} did not end within {COMMAND_S:.0f} s") from error
        except OSError as error:
            raise CannotTell(f"{argv[0]} cannot be run here: {error.strerror or error}") from error
        if ran.returncode != 0:
            lines = (ran.stderr + b"\n" + ran.stdout).decode("utf-8", "replace").splitlines()
            last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
            raise CannotTell(f"{argv[0]} ended with {ran.returncode}, and said: "
                             f"{printable(last)[:300]}")  # fmt: skip

    def _emit(self, kind: str, node: str, **data: object) -> None:
        self.sink.emit(Event(kind, node, data=dict(data), durable=kind != "drain.wait"))


def _jobs(seen: SlurmNode) -> list[str]:
    """What Slurm still runs on a node, in words."""
    working = sorted(seen.state & _WORKING)
    return [f"jobs of Slurm ({', '.join(working).lower()})"] if working else []


def _still_busy(node: Node, busy: list[str], minutes: int) -> str:
    shown = ", ".join(busy[:5]) + (f" and {len(busy) - 5} more" if len(busy) > 5 else "")
    if node.drain is None:
        return (
            f"its GPUs are used, and nothing drains it: {shown}. Next: end these, or declare "
            "holdfast_drain"
        )
    return (
        f"after {minutes} minutes it is still used: {shown}. It stays drained, and nothing was "
        "changed on it. Next: wait or end these, or put it back into service by hand"
    )


def _filled(word: str, told: dict[str, str]) -> str:
    for name, value in told.items():
        word = word.replace(name, value)
    return word

"""Asks nodes for results of their audits: the last one, or one of just now.

Every node gets an answer in the end, of whatever kind; nothing that goes wrong on a node, or on
the way to it, ends the pull.
"""

from __future__ import annotations

import base64
import json
import queue
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.checks import audited, remote, shipping
from provision.checks.audit_expected import expectations
from provision.checks.audit_program import program
from provision.checks.audit_result import MOST_BYTES, AuditResult, Refused, read
from provision.checks.shipping import Unreachable
from provision.core.events import Event, EventSink
from provision.fleet.kept import Visit
from provision.policy.load import Policy
from provision.rack.model import Node, Rack
from provision.rack.ssh import SshSettings
from provision.supply.model import StackLock

AT_ONCE = 48
"""Nodes that are asked together; each is an ssh process here."""
READ_S = 30
"""Seconds that a node of patience 1 has to send its last result."""
RUN_S = 240
"""Seconds that a node of patience 1 has to audit itself with what was sent to it."""
LOAD_S = 1800
"""Seconds that programs may put a node of patience 1 under load: more than all their deadlines."""
STALE_AFTER = 3
"""Results are stale after so many times the schedule: one run may be lost, two are a fault."""
_AHEAD_S = 60.0
"""A result from so far in the future says that the node's clock was set back since."""
_ABSENT = 44
_READ = (
    f"date +%s; [ -e {audited.RESULT} ] || exit {_ABSENT};"
    f" exec head -c {MOST_BYTES + 1} {audited.RESULT}"
)

Ask = Callable[[Node], Visit]
"""Asks one node; raises nothing."""


@dataclass(frozen=True)
class Way:
    """How nodes are reached, and what they are told when the audit is sent to them."""

    rack: Rack
    ssh: SshSettings
    lock: StackLock
    policy: Policy


def visits(nodes: Sequence[Node], ask: Ask, events: EventSink, at_once: int) -> list[Visit]:
    """Ask all nodes, and say so while it goes on; the visits in the order of `nodes`.

    Args:
        nodes: whom to ask.
        ask: asks one of them.
        events: is told of each.
        at_once: how many are asked together.
    """
    events.emit(Event("audit.start", data={"nodes": [n.name for n in nodes]}))
    found: dict[str, Visit] = {}
    for node, visit in _answers(nodes, ask, at_once):
        if visit is None:
            events.emit(Event("audit.ask", node=node))
            continue
        found[node] = visit
        data: dict[str, Any] = {
            "outcome": visit.outcome, "status": visit.status, "why": visit.why,
            "shipped": visit.shipped,
        }  # fmt: skip
        if visit.result is not None:
            data["counts"] = dict(visit.result.document["counts"])
        events.emit(Event("audit.answer", node=node, data=data))
    events.emit(Event("audit.end", data={"nodes": len(found)}))
    return [found[n.name] for n in nodes]


def _answers(nodes: Sequence[Node], ask: Ask, at_once: int) -> Iterator[tuple[str, Visit | None]]:
    """Each node when it is asked (without a visit) and when it has answered."""
    todo: queue.SimpleQueue[Node] = queue.SimpleQueue()
    told: queue.SimpleQueue[tuple[str, Visit | None]] = queue.SimpleQueue()
    for node in nodes:
        todo.put(node)

    def work() -> None:
        while True:
            try:
                node = todo.get_nowait()
            except queue.Empty:
                return
            told.put((node.name, None))
            told.put((node.name, _asked(ask, node)))

    for _ in range(min(at_once, len(nodes))):
        # Daemons: a node that never answers must not keep an interrupted command from ending.
        threading.Thread(target=work, daemon=True).start()
    left = len(nodes)
    while left:
        name, visit = told.get()
        left -= visit is not None
        yield name, visit


def _asked(ask: Ask, node: Node) -> Visit:
    try:
        return ask(node)
    except Exception as error:  # whoever waits for this node must get an answer
        why = f"asking broke: {type(error).__name__}: {error}"
        return Visit(node.name, "not_run", why)


def last(way: Way) -> Ask:
    """Asks for the result that the node's timer wrote last."""

    def ask(node: Node) -> Visit:
        command = f"{remote.AS_ROOT}/bin/sh -c {shlex.quote(_READ)}"
        try:
            answer = remote.call(
                way.rack, node, command, ssh=way.ssh, limit_s=READ_S * node.patience,
                most=MOST_BYTES + 64,
            )  # fmt: skip
        except Unreachable as error:
            return Visit(node.name, "unreachable", str(error))
        clock, _, raw = answer.out.partition(b"\n")
        if answer.returncode == _ABSENT:
            why = f"{audited.RESULT} is not there: no audit has run, or none is installed"
            return Visit(node.name, "absent", why)
        if answer.returncode or not clock.isdigit():
            why = remote.said(answer) or f"the command ended with {answer.returncode}"
            return Visit(node.name, "refused", f"the result could not be read: {why}")
        return judged(node, raw, float(clock[:16]))

    return ask


def judged(node: Node, raw: bytes, clock: float) -> Visit:
    """What a result of `node` is worth, by the node's own clock at the time of asking."""
    try:
        result = read(raw, node.name)
    except Refused as error:
        return Visit(node.name, "refused", str(error))
    age = clock - result.document["ended"]
    if age < -_AHEAD_S:
        why = f"the result ended {-age:.0f} s after it was asked for: the clock was set back"
        return Visit(node.name, "refused", why)
    return aged(node, result, max(age, 0.0))


def stale_after(node: Node) -> float:
    """From which age on, in seconds, a result of `node` proves nothing any more."""
    return STALE_AFTER * 60.0 * node.audit.every_minutes


def aged(node: Node, result: AuditResult, age: float) -> Visit:
    """A result that is `age` seconds old: fresh or stale."""
    most = stale_after(node)
    if age <= most:
        return Visit(node.name, "fresh", result=result, age=age)
    why = (
        f"the last result is {age / 60:.0f} min old; every {node.audit.every_minutes} min there"
        f" should be one, and none older than {most / 60:.0f} min counts"
    )
    return Visit(node.name, "stale", why, result, age)


def from_files(folder: Path) -> Ask:
    """Reads the results that lie as NODE.json in a folder, brought there by other means."""

    def ask(node: Node) -> Visit:
        path = folder / f"{node.name}.json"
        try:
            with path.open("rb") as stream:
                raw = stream.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return Visit(node.name, "absent", f"{path} is not there")
        except OSError as error:
            return Visit(node.name, "refused", f"{path} cannot be read: {error.strerror}")
        return judged(node, raw, time.time())

    return ask


def now(way: Way, *, under_load: bool = False) -> Ask:
    """Lets a node audit itself now: with the audit installed there, else with one sent along.

    Under load it is always one sent along, with the audits that it begins and ends with: what load
    makes counters do is then seen, and the result of the node's timer stays one of a node as it is.

    Raises:
        HoldfastError: the audit cannot be packed here.
    """
    program()  # packed once, and not by several threads

    def ask(node: Node) -> Visit:
        if under_load:
            return _sent(way, node, (LOAD_S + 2 * RUN_S) * node.patience, under_load=True)
        pulled = audited.fresh(way.rack, way.lock, way.policy, node, ssh=way.ssh)
        if pulled.unreachable is not None:
            return Visit(node.name, "unreachable", pulled.unreachable)
        if pulled.result is not None:
            return Visit(node.name, "fresh", result=pulled.result)
        if pulled.installed:
            return Visit(node.name, "not_run", pulled.problem)
        return _sent(way, node, RUN_S * node.patience)

    return ask


def _sent(way: Way, node: Node, limit_s: float, *, under_load: bool = False) -> Visit:
    """Send the audit along, into a folder that is gone afterwards."""
    job = {
        "program": base64.b64encode(program().data).decode(),
        "expect": expectations(way.rack, way.lock, way.policy, node),
        "patience": node.patience,
        "most": MOST_BYTES,
        "under_load": under_load,
    }
    inner = max(limit_s - 10, 5)
    try:
        answer = remote.call(
            way.rack, node, shipping.along("provision.fleet", inner), ssh=way.ssh,
            limit_s=limit_s, most=MOST_BYTES + 64, stdin=json.dumps(job).encode(),
        )  # fmt: skip
    except Unreachable as error:
        return Visit(node.name, "unreachable", str(error), shipped=True)
    if answer.returncode in (124, 137):
        return Visit(node.name, "not_run", f"the audit took more than {inner:.0f} s", shipped=True)
    if answer.returncode:
        why = remote.said(answer) or f"it ended with {answer.returncode}"
        return Visit(node.name, "not_run", f"the audit did not run: {why}", shipped=True)
    try:
        return Visit(node.name, "fresh", result=read(answer.out, node.name), shipped=True)
    except Refused as error:
        return Visit(node.name, "refused", str(error), shipped=True)

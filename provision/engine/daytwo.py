"""What a run needs for nodes whose GPU unit changes: what the plan says, the wave, the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from provision.checks.gate import gate
from provision.core.events import EventSink
from provision.engine import gpu, unit
from provision.engine.apply import Applier
from provision.engine.drain import Drainer
from provision.engine.plan import Plan
from provision.engine.preflight import Preflight
from provision.engine.session import Session
from provision.engine.unitwave import UnitWave
from provision.rack.model import Rack
from provision.rack.ssh import SshSettings
from provision.supply.model import StackLock
from provision.verdict.model import Verdict

Judge = Callable[[Rack, str, Path, SshSettings, EventSink], Verdict]
"""Gives the verdict on a rack: rack, run, a folder to work in, ssh settings, events."""


def with_units(plan: Plan, rack: Rack, lock: StackLock, seen: Preflight) -> Plan:
    """The plan with what becomes of GPU units, and what is installed beside the lock."""
    locked = gpu.locked(lock, rack.origin)
    units, beside = {}, {}
    for node in rack.nodes:
        facts = seen.facts.get(node.name)
        if facts is not None:
            units[node.name] = unit.told(node, facts, locked)
            beside[node.name] = unit.beside(node, facts, lock)
    return plan.with_units(units, beside)


def gate_of(session: Session, lock: StackLock) -> Judge:
    """What `verify` looks at, without OpenSCAP."""

    def holds(rack: Rack, run: str, workdir: Path, ssh: SshSettings, sink: EventSink) -> Verdict:
        return gate(
            rack,
            lock,
            run=run,
            events=sink,
            workdir=workdir,
            ssh=ssh,
            policy=session.request.policy,
        )

    return holds


def unit_wave(session: Session, applier: Applier, judge: Judge, number: int) -> UnitWave:
    """The wave of that number: its nodes are drained, changed, verified by `judge`, put back."""
    rack = session.request.rack

    def verified(nodes: Sequence[str]) -> Verdict:
        chosen = tuple(n for n in rack.nodes if n.name in nodes)
        return judge(
            rack.model_copy(update={"nodes": chosen}),
            session.record.run,
            session.folder.path / "gates" / f"{number:03d}",
            # Not the shared connections: a node that restarted hangs them.
            session.ssh,
            session.sink,
        )

    drains = Drainer(rack, session.record.run, session.ssh, session.sink)
    return UnitWave(drains, applier.wave, verified, session.sink)

"""The plan: what `up` would change on each node, as check mode saw it.

A plan is built from the events of a check run. What cannot be known before an earlier change is
its own kind, `depends`. A node on which check mode could not look at everything has no plan,
only the place where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from provision.core.events import Event
from provision.core.shown import short_digests
from provision.engine.journal import NodeState, RunState
from provision.engine.recorder import INTERNAL

SCHEMA = "holdfast.plan/1"

Kind = Literal["change", "depends"]


@dataclass(frozen=True, order=True)
class Item:
    """One task that would change something: `changes` in words, `reason` where it depends."""

    phase: str
    task: str
    changes: tuple[str, ...]
    kind: Kind = "change"
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The item as plain data."""
        return {
            "phase": self.phase,
            "task": self.task,
            "kind": self.kind,
            "changes": list(self.changes),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Stop:
    """Where and why check mode could not go on."""

    phase: str
    task: str
    message: str


@dataclass(frozen=True)
class NodePlan:
    """What would change on one node; `looked` counts the tasks that looked at it.

    `lasting` says what of it no restore takes back, and why; `unit` how its GPU unit changes, for
    which it is drained first, or why it is to be put back into service; `beside` are kernels and
    packages of NVIDIA's that are installed and not in the stack lock.
    """

    node: str
    items: tuple[Item, ...]
    looked: int = 0
    stop: Stop | None = None
    restart: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()
    unit: str = ""
    beside: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether everything was looked at and nothing would change."""
        due = self.items or self.restart or self.unit
        return self.looked > 0 and self.stop is None and not due


@dataclass(frozen=True)
class Group:
    """Nodes with the same plan."""

    nodes: tuple[str, ...]
    plan: NodePlan


@dataclass(frozen=True)
class Plan:
    """The plan of a rack, a node after the other in the inventory's order.

    Where it is what is left of a run's plan, `continues` is the run, and `done` are the nodes that
    it finished.
    """

    nodes: tuple[NodePlan, ...]
    continues: str | None = None
    done: tuple[str, ...] = ()

    def of(self, node: str) -> NodePlan:
        """The plan of one node.

        Raises:
            KeyError: it was not planned.
        """
        for plan in self.nodes:
            if plan.node == node:
                return plan
        raise KeyError(node)

    @property
    def changing(self) -> tuple[str, ...]:
        """The nodes on which something would change, in order."""
        return tuple(p.node for p in self.nodes if p.stop is None and not p.nothing)

    @property
    def units(self) -> tuple[str, ...]:
        """The nodes among them whose GPU unit changes, each to be drained first."""
        return tuple(p.node for p in self.nodes if p.stop is None and p.unit)

    @property
    def stopped(self) -> tuple[NodePlan, ...]:
        """The nodes on which check mode could not look at everything."""
        return tuple(p for p in self.nodes if p.stop is not None)

    def with_units(self, units: Mapping[str, str], beside: Mapping[str, tuple[str, ...]]) -> Plan:
        """The plan with what becomes of each node's GPU unit, and what is beside the lock."""
        nodes = tuple(
            replace(p, unit=units.get(p.node, ""), beside=beside.get(p.node, ()))
            for p in self.nodes
        )
        return replace(self, nodes=nodes)

    def left(self, run: str, state: RunState) -> Plan:
        """What is left of the plan where `run` has done what `state` says."""
        nodes, done = [], []
        for plan in self.nodes:
            before = state.nodes.get(plan.node, NodeState())
            if before.status == "ok":
                done.append(plan.node)
                continue
            items = tuple(item for item in plan.items if item.phase not in before.finished)
            nodes.append(replace(plan, items=items))
        return Plan(tuple(nodes), run, tuple(done))

    def groups(self) -> tuple[Group, ...]:
        """Nodes with the same plan together, in the order of each group's first node."""
        found: dict[tuple[Any, ...], list[NodePlan]] = {}
        for plan in self.nodes:
            like = (plan.items, plan.stop, plan.restart, plan.lasting, plan.nothing,
                    plan.unit, plan.beside)  # fmt: skip
            found.setdefault(like, []).append(plan)
        return tuple(Group(tuple(p.node for p in same), same[0]) for same in found.values())

    def counts(self) -> dict[str, int]:
        """How many changes have each kind, and how many nodes what fate."""
        items = [item for plan in self.nodes for item in plan.items]
        return {
            "nodes": len(self.nodes),
            "nodes_changing": len(self.changing),
            "nodes_stopped": len(self.stopped),
            "changes": sum(len(i.changes) for i in items if i.kind == "change"),
            "depends": sum(len(i.changes) for i in items if i.kind == "depends"),
        }

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {
            "schema": SCHEMA,
            "counts": self.counts(),
            "nodes": [
                {
                    "node": p.node,
                    "looked": p.looked,
                    "nothing_to_change": p.nothing,
                    "stopped": None
                    if p.stop is None
                    else {
                        "phase": p.stop.phase,
                        "task": p.stop.task,
                        "message": p.stop.message,
                    },
                    "restart": list(p.restart),
                    "items": [item.to_json() for item in p.items],
                    "cannot_be_undone": list(p.lasting),
                    "gpu_unit": p.unit or None,
                    "not_in_lock": list(p.beside),
                }
                for p in self.nodes
            ],
        }

    @staticmethod
    def from_json(body: dict[str, Any]) -> Plan:
        """The plan that `to_json` wrote.

        Raises:
            ValueError: it is of another schema.
        """
        if body.get("schema") != SCHEMA:
            raise ValueError(f"unknown plan schema {body.get('schema')!r}")
        return Plan(tuple(_node_from_json(node) for node in body["nodes"]))


def build(
    nodes: Sequence[str],
    events: Iterable[Event],
    restarts: dict[str, tuple[str, ...]] | None = None,
) -> Plan:
    """The plan that the events of a check run lead to.

    Args:
        nodes: the nodes that were to be looked at, in order.
        events: what happened in check mode.
        restarts: why a node's restart is due already, by node.
    """
    items: dict[str, list[Item]] = {node: [] for node in nodes}
    lasting: dict[str, dict[str, None]] = {node: {} for node in nodes}
    looked = dict.fromkeys(nodes, 0)
    stops: dict[str, Stop] = {}
    for event in events:
        node = event.node
        if node not in items or event.phase in INTERNAL:
            continue
        if event.kind == "task.end":
            looked[node] += 1
            item = _item(event)
            if item is not None:
                items[node].append(item)
            lasting[node].update((str(note), None) for note in event.data.get("notes") or ())
        elif event.kind == "phase.end" and event.data.get("status") in ("failed", "unreachable"):
            task, message = str(event.data.get("task")), str(event.data.get("message"))
            stops[node] = Stop(str(event.phase), task, message)
    for node in nodes:
        if looked[node] == 0 and node not in stops:
            stops[node] = Stop("", "", "the node was not looked at")
    due = restarts or {}
    return Plan(
        tuple(
            NodePlan(n, tuple(items[n]), looked[n], stops.get(n), due.get(n, ()), tuple(lasting[n]))
            for n in nodes
        )
    )


def render(plan: Plan, bold: bool = False) -> str:
    """The plan as text for a person.

    Nodes with the same changes stand together, and digests are cut short; `bold` marks headings
    for a terminal.
    """
    blocks = [_render_group(group, bold) for group in plan.groups()]
    if plan.continues is not None:
        blocks.insert(0, _render_continued(plan))
        if not plan.nodes:
            return blocks[0] + "\n"
    counts = plan.counts()
    summary = (
        f"{counts['nodes_changing']} of {counts['nodes']} nodes change: "
        f"{counts['changes']} changes, {counts['depends']} that depend on an earlier change"
    )
    if counts["nodes_stopped"]:
        summary += f"; {counts['nodes_stopped']} could not be looked at to the end"
    return short_digests("\n\n".join([*blocks, summary]) + "\n")


def _render_continued(plan: Plan) -> str:
    done = f"\nfinished before: {_few(plan.done)}" if plan.done else ""
    left = "this" if plan.nodes else "nothing"
    return f"run {plan.continues} goes on, and {left} is left of its plan{done}"


def _render_group(group: Group, bold: bool) -> str:
    plan = group.plan
    names = f"{_few(group.nodes)}  ({len(group.nodes)} node{'s' if len(group.nodes) > 1 else ''})"
    lines = [f"\x1b[1m{names}\x1b[0m" if bold else names]
    if plan.unit:
        lines.append(f"  {plan.unit}")
    if plan.nothing:
        lines.append(f"  = nothing to change ({plan.looked} tasks looked)")
    phase = None
    for item in plan.items:
        if item.phase != phase:
            phase = item.phase
            lines.append(f"  {phase}")
        lines += [f"    {'~' if item.kind == 'change' else '?'} {c}" for c in item.changes]
        if item.reason:
            lines.append(f"      depends: {item.reason}")
    for reason in plan.restart:
        lines += ["  restart", f"    ~ {reason}"]
    lines += [f"  ! cannot be undone: {note}" for note in plan.lasting]
    lines += [f"  ! installed, and not in the stack lock: {nevra}" for nevra in plan.beside]
    if plan.stop is not None:
        where = f"{plan.stop.phase}: {plan.stop.task}" if plan.stop.phase else "before it began"
        lines += [f"  ! could not look further than {where}", f"      {plan.stop.message}"]
    return "\n".join(lines)


def _few(names: Sequence[str], limit: int = 12) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _item(event: Event) -> Item | None:
    data = event.data
    depends = data.get("depends")
    if data.get("status") != "changed":
        return None
    task = str(data.get("task"))
    changes = tuple(str(change) for change in data.get("changes") or [task])
    reason = str(depends) if depends else None
    return Item(str(event.phase), task, changes, "depends" if reason else "change", reason)


def _node_from_json(body: dict[str, Any]) -> NodePlan:
    stop = body.get("stopped")
    return NodePlan(
        body["node"],
        tuple(
            Item(i["phase"], i["task"], tuple(i["changes"]), i["kind"], i["reason"])
            for i in body["items"]
        ),
        int(body["looked"]),
        Stop(stop["phase"], stop["task"], stop["message"]) if stop else None,
        tuple(body.get("restart") or ()),
        tuple(body.get("cannot_be_undone") or ()),
        str(body.get("gpu_unit") or ""),
        tuple(body.get("not_in_lock") or ()),
    )

"""Applies phases to the nodes of a wave: hold, apply, restart where asked, give back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from provision.core.events import Event, EventSink
from provision.core.paths import playbook
from provision.core.problems import fail
from provision.engine.ansible import Ansible, Outcome
from provision.engine.recorder import Recorder, Tally
from provision.engine.restart import Restarter
from provision.engine.runs import RunRecord
from provision.policy.resolve import NONE

RESTART_AFTER = (("base", "gpu_driver"), ("hardening",))
"""Phases after which a restart may have to come before what follows can be proven: once after the
last of each group. What base and the GPU driver bring takes one restart together."""

RESTART_GROUP = "holdfast_restart_first"
RESTART_PLAYS = ("engine_restart_hosts", "engine_restart_again_hosts")
"""The variables that say on which nodes it is looked whether a restart is asked for."""
NOBODY = "all,!all"
"""A host pattern that fits no node, without a warning."""

ROUNDS = 4
"""How often a node may ask for a restart in one wave before that counts as a failure."""


@dataclass(frozen=True)
class NodeResult:
    """How applying ended on one node; `message` says why it failed."""

    ok: bool
    phase: str | None = None
    message: str | None = None
    unreachable: bool = False


@dataclass(frozen=True)
class Holding:
    """What the node lock of this run says, and how it treats what an earlier process left."""

    record: RunRecord
    takeover: str | None = None
    resume: bool = False

    def variables(self) -> dict[str, Any]:
        """The playbook variables of the node lock."""
        return {
            "engine_run": self.record.run,
            "engine_controller": self.record.controller,
            "engine_pid": self.record.pid,
            "engine_command": " ".join(self.record.command)[:200],
            "engine_lock_digest": self.record.inputs.get("stack_lock", ""),
            "engine_takeover": self.takeover or "",
            "engine_resume": self.resume,
            # A resumed run may meet a package transaction that needs its time.
            "engine_wait": 120 if self.resume or self.takeover else 30,
        }


class Applier:
    """Applies phases for one run."""

    def __init__(
        self,
        ansible: Ansible,
        restarter: Restarter,
        sink: EventSink,
        holding: Holding,
        only: Sequence[str] = (),
    ) -> None:
        self.ansible = ansible
        self.restarter = restarter
        self.sink = sink
        self.holding = holding
        self.only = tuple(only)
        self.phases = phases_of(playbook("site"))

    @property
    def wanted(self) -> tuple[str, ...]:
        """The phases that this run applies."""
        return tuple(p for p in self.phases if not self.only or p in self.only)

    def wave(self, todo: Mapping[str, Sequence[str]]) -> dict[str, NodeResult]:
        """Apply to each node the phases that it still needs.

        Nodes ask for restarts while this goes on; each restart is carried out and the node
        continues with the phases that are left.

        Raises:
            HoldfastError: ansible did not run at all.
            KeyboardInterrupt: it was interrupted; nodes may still be locked.
        """
        results: dict[str, NodeResult] = {}
        left = {node: list(phases) for node, phases in todo.items()}
        for _ in range(ROUNDS):
            outcome, tallies = self._round(left)
            due: dict[str, list[str]] = {}
            for node, phases in list(left.items()):
                tally = tallies.get(node, Tally())
                left[node] = self._left(phases, tally, outcome)
                result = _judge(tally, left[node])
                if result is not None:
                    results[node] = result
                    del left[node]
                elif tally.reboot:
                    due[node] = tally.reboot
                else:
                    results[node] = NodeResult(True)
                    del left[node]
            wrong = self.restarter.restart(list(due), due) if due else {}
            for node, message in wrong.items():
                results[node] = NodeResult(False, "restart", message, unreachable=True)
                del left[node]
            for node in [n for n in due if n in left and not left[n]]:
                results[node] = NodeResult(True)
                del left[node]
            if not left:
                break
        for node in left:
            message = f"asked for a restart {ROUNDS} times; look for a package that is always newer"
            results[node] = NodeResult(False, "restart", message)
        return results

    def unlock(self, nodes: Sequence[str], name: str = "unlock") -> dict[str, str]:
        """Give nodes back that the run still holds; returns why not, by node."""
        if not nodes:
            return {}
        recorder = Recorder(self.sink)
        self.ansible.run(
            name,
            playbook("unlock"),
            recorder.take,
            limit=nodes,
            variables=self.holding.variables(),
        )
        recorder.finish()
        return {
            node: (tally.message if tally else None) or "the node could not be asked"
            for node in nodes
            if (tally := recorder.nodes.get(node)) is None or "node_unlock" not in tally.finished
        }

    def _left(self, phases: Sequence[str], tally: Tally, outcome: Outcome) -> list[str]:
        """The phases that a node still needs.

        When ansible came to its end, a phase without a single task on this node had nothing to
        do there, unless the node left for a restart before it.
        """
        if not outcome.finished or tally.failed is not None or tally.tasks == 0:
            return [p for p in phases if p not in tally.finished]
        points = {"node_restart": 1, "node_restart_again": 2}
        point = points.get(tally.left or "", len(RESTART_AFTER) + 1)
        later = [phase for piece in pieces(self.phases)[point:] for phase in piece]
        return [p for p in phases if p in later]

    def _round(self, left: Mapping[str, Sequence[str]]) -> tuple[Outcome, dict[str, Tally]]:
        recorder = Recorder(self.sink)
        names = list(left)
        outcome = self.ansible.run(
            "wave",
            playbook("wave"),
            recorder.take,
            limit=names,
            variables=self.holding.variables() | self._hosts(left),
        )
        recorder.finish()
        if outcome.interrupted:
            raise KeyboardInterrupt
        _check_started(outcome, recorder)
        return outcome, recorder.nodes

    def _hosts(self, left: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        found = hosts_of(self.phases, left, again=self.restarter.rack.profile != NONE)
        # A restart that something else asked for waits for a run of all phases.
        return found | (dict.fromkeys(RESTART_PLAYS, NOBODY) if self.only else {})


def phases_of(site: Path) -> tuple[str, ...]:
    """The phases of a playbook, which are its plays' names ("Model store" is model_store).

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no plays.
    """
    plays = yaml.safe_load(site.read_text(encoding="utf-8"))
    names = tuple(str(p["name"]) for p in plays or [] if isinstance(p, dict) and "name" in p)
    if not names:
        raise ValueError(f"{site} holds no named play")
    return tuple(name.lower().replace(" ", "_") for name in names)


def hosts_of(
    phases: Sequence[str], left: Mapping[str, Sequence[str]], *, again: bool = True
) -> dict[str, Any]:
    """The host patterns of every phase, in the pieces between which a restart may come.

    `again` says whether nodes are looked at for a restart after hardening, too.
    """
    wanted = {p: ",".join(n for n, todo in left.items() if p in todo) for p in phases}
    found: dict[str, Any] = {}
    for name, piece in zip(("before", "middle", "after"), pieces(phases), strict=True):
        # Who left for a restart takes no part in what comes after it.
        stays = "" if name == "before" else f",!{RESTART_GROUP}"
        found[f"engine_{name}"] = {
            p: f"{wanted[p]}{stays}" if p in piece and wanted[p] else NOBODY for p in phases
        }
    for number, name in enumerate(RESTART_PLAYS, 1):
        later = [p for piece in pieces(phases)[number:] for p in piece]
        goes_on = ",".join(n for n, todo in left.items() if any(p in later for p in todo))
        found[name] = f"{goes_on},!{RESTART_GROUP}" if goes_on else NOBODY
    return found if again else {**found, "engine_restart_again_hosts": NOBODY}


def pieces(phases: Sequence[str]) -> list[tuple[str, ...]]:
    """The phases in pieces; a restart may come between two of them."""
    found: list[tuple[str, ...]] = []
    rest = tuple(phases)
    for group in RESTART_AFTER:
        end = max((rest.index(phase) + 1 for phase in group if phase in rest), default=0)
        found.append(rest[:end])
        rest = rest[end:]
    return [*found, rest]


def only_hosts(phases: Sequence[str], only: Sequence[str]) -> dict[str, Any]:
    """The host patterns that leave every phase out but `only`; nothing where there are none."""
    if not only:
        return {}
    return {"engine_phase_hosts": {p: "all" if p in only else NOBODY for p in phases}}


def emit_node_end(sink: EventSink, node: str, result: NodeResult) -> None:
    """Journal how a node ended."""
    data = {
        "status": "ok" if result.ok else "failed",
        "message": result.message,
        "unreachable": result.unreachable,
    }
    sink.emit(Event("node.end", node, result.phase, data, durable=True))


def _judge(tally: Tally, left: Sequence[str]) -> NodeResult | None:
    """How a node ended; None when it may go on (it is done, or a restart comes first)."""
    if tally.failed is not None:
        return NodeResult(False, tally.failed, tally.message, tally.unreachable)
    if tally.tasks == 0:
        return NodeResult(False, None, "ansible did not get to this node")
    if left and not tally.reboot:
        return NodeResult(False, left[0], "ansible ended before this phase was finished")
    return None


def _check_started(outcome: Outcome, recorder: Recorder) -> None:
    if recorder.nodes or outcome.finished:
        return
    raise fail(
        "ansible",
        f"ansible-playbook ended with {outcome.status} before it reached any node:\n"
        + outcome.last_words(),
        hint=f"the whole log is {outcome.log}",
    )

"""A wave of nodes whose GPU unit changes: emptied, changed, checked, and only then in service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from provision.core.events import Event, EventSink
from provision.engine.apply import NodeResult
from provision.verdict.model import Verdict

DRAIN, GATE, UNDRAIN = "drain", "gate", "undrain"
"""Where a node may fail beside its phases."""

Gate = Callable[[Sequence[str]], Verdict]
"""Verifies nodes that were changed."""


class Drains(Protocol):
    """What empties a node and puts it back; see `provision.engine.drain.Drainer`."""

    def take(self, name: str) -> str | None:
        """Empty a node; None when it is, else why it is not."""
        ...

    def lift(self, name: str) -> str | None:
        """Put it back into service; None, or why that failed."""
        ...

    def stop(self) -> None:
        """Wait no longer for what works on a node."""
        ...


Apply = Callable[[Mapping[str, Sequence[str]]], dict[str, NodeResult]]


class UnitWave:
    """What one wave needs: how nodes are drained, changed and verified, and who is told."""

    def __init__(self, drains: Drains, apply: Apply, gate: Gate, sink: EventSink) -> None:
        self.drains, self.apply, self.gate, self.sink = drains, apply, gate, sink

    def run(self, todo: Mapping[str, Sequence[str]]) -> dict[str, NodeResult]:
        """Empty the nodes, apply to each the phases that it needs, verify, put back.

        A node that fails anywhere stays drained.

        Raises:
            HoldfastError: ansible did not run at all.
            KeyboardInterrupt: it was interrupted.
        """
        results = self._each(list(todo), DRAIN, self.drains.take)
        work = {n: phases for n, phases in todo.items() if n not in results}
        unfinished = {n: phases for n, phases in work.items() if phases}
        done = self.apply(unfinished) if unfinished else {}
        results |= {n: r for n, r in done.items() if not r.ok}
        left = [n for n in work if n not in results]
        results |= self._failing(left)
        left = [n for n in left if n not in results]
        results |= self._each(left, UNDRAIN, self.drains.lift)
        return results | {n: NodeResult(True) for n in left if n not in results}

    def _each(
        self, nodes: Sequence[str], phase: str, act: Callable[[str], str | None]
    ) -> dict[str, NodeResult]:
        """The nodes on which something went wrong; all at once, since each may wait long."""
        if not nodes:
            return {}
        with ThreadPoolExecutor(max_workers=min(16, len(nodes))) as pool:
            try:
                said = dict(zip(nodes, pool.map(act, nodes), strict=True))
            except BaseException:
                # The pool waits for its threads, and one of them may wait for a job.
                self.drains.stop()
                raise
        return {n: NodeResult(False, phase, why) for n, why in said.items() if why is not None}

    def _failing(self, nodes: Sequence[str]) -> dict[str, NodeResult]:
        """The nodes whose gate does not hold, with what it says of each."""
        if not nodes:
            return {}
        verdict = self.gate(nodes)
        results = {}
        for node in nodes:
            found = [f for f in verdict.findings if f.node == node]
            bad = [f for f in found if f.status.gates]
            data = {"checks": len(found), "gating": [f.check for f in bad]}
            self.sink.emit(Event("gate.end", node, data=data, durable=True))
            if not found:
                results[node] = NodeResult(False, GATE, "nothing was verified, so nothing holds")
            elif bad:
                first = "; ".join(f"{f.check} is {f.status.value}: {f.seen}" for f in bad[:3])
                more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
                action = next((f.action for f in bad if f.action), "mend what it names")
                told = f"the node does not hold after its change: {first}{more}. Next: {action}"
                results[node] = NodeResult(False, GATE, told)
        return results

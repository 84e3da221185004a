"""Restarts nodes and waits until they are back.

A node is back when it answers over ssh with another boot than before. Waiting is all that a
resumed run has to do again: asking twice is harmless, because what asked for the restart goes
away with it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from provision.core.events import Event, EventSink
from provision.core.paths import playbook
from provision.engine.ansible import Ansible
from provision.engine.recorder import Recorder
from provision.rack.model import Rack
from provision.rack.ssh import SshSettings

DEADLINE_S = {"metal": 1200.0, "vm": 300.0, "container": 120.0}
"""How long a node of each kind may take to come back, where its patience is 1."""

POLL_S = 2.0

SETTLE_S = 10.0
"""How long a node that was asked to restart may still answer from its old boot."""

# The first process's start tells boots apart where the boot id is the host's (containers).
_MARK = "cat /proc/sys/kernel/random/boot_id; cut -d' ' -f22 /proc/1/stat 2>/dev/null"


class Restarter:
    """Restarts nodes of a rack.

    `ssh` must not share connections: one that was open before the restart would hang.
    """

    def __init__(self, rack: Rack, ansible: Ansible, ssh: SshSettings, sink: EventSink) -> None:
        self.rack = rack
        self.ansible = ansible
        self.ssh = ssh
        self.sink = sink

    def restart(self, nodes: Sequence[str], reasons: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Restart nodes and wait for all of them; returns what went wrong, by node.

        Raises:
            KeyboardInterrupt: it was interrupted.
        """
        before = self._marks(nodes)
        wrong = {n: "the node did not answer before its restart" for n in nodes if not before[n]}
        ready = [n for n in nodes if before[n]]
        for node in ready:
            data = {"boot": before[node], "reasons": list(reasons.get(node, ()))}
            self.sink.emit(Event("restart.due", node, data=data, durable=True))
        recorder = Recorder(self.sink)
        if ready:
            done = self.ansible.run("restart", playbook("restart"), recorder.take, limit=ready)
            recorder.finish()
            if done.interrupted:
                raise KeyboardInterrupt
        for node in ready:
            tally = recorder.nodes.get(node)
            if tally is None or tally.failed:
                wrong[node] = (tally.message if tally else None) or "the restart was not asked for"
        self.ansible.disconnect()
        waiting = {n: before[n] or "" for n in ready if n not in wrong}
        return wrong | self.wait(waiting)

    def answering(self, before: Mapping[str, str]) -> None:
        """Wait until nodes that an earlier process asked to restart answer again.

        Whether they restarted is not judged: it may have been killed before it asked. A node
        that stays away is left to preflight to report.
        """
        start = time.monotonic()
        left = dict(before)
        while left and time.monotonic() - start < max(map(self._limit, left)):
            for node, mark in self._marks(list(left)).items():
                # The old boot may still answer for a moment before it goes down.
                settle = SETTLE_S * self.rack.node(node).patience
                if mark and (mark != left[node] or time.monotonic() - start > settle):
                    del left[node]
            if left:
                time.sleep(POLL_S)

    def wait(self, before: Mapping[str, str]) -> dict[str, str]:
        """Wait until nodes run another boot than `before`; returns what went wrong, by node.

        Raises:
            KeyboardInterrupt: it was interrupted.
        """
        start = time.monotonic()
        left = dict(before)
        while left:
            marks = self._marks(list(left))
            for node, mark in marks.items():
                if mark and mark != left[node]:
                    del left[node]
                    seconds = round(time.monotonic() - start, 1)
                    data = {"seconds": seconds}
                    self.sink.emit(Event("restart.end", node, data=data, durable=True))
            passed = time.monotonic() - start
            late = [n for n in left if passed > self._limit(n)]
            if late and len(late) == len(left):
                break
            if left:
                time.sleep(POLL_S)
        return {
            node: f"the node did not come back within {time.monotonic() - start:.0f} s of its "
            "restart; look at its console"
            for node in left
        }

    def _limit(self, name: str) -> float:
        node = self.rack.node(name)
        return DEADLINE_S[node.kind] * node.patience

    def _marks(self, nodes: Sequence[str]) -> dict[str, str | None]:
        if not nodes:
            return {}
        with ThreadPoolExecutor(max_workers=min(16, len(nodes))) as pool:
            return dict(zip(nodes, pool.map(self._mark, nodes), strict=True))

    def _mark(self, name: str) -> str | None:
        node = self.rack.node(name)
        argv = ["ssh", *self.ssh.arguments(self.rack, node), node.address, _MARK]
        limit = self.ssh.seconds(node) + 5
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        words = done.stdout.split()
        return ":".join(words) if done.returncode == 0 and words else None

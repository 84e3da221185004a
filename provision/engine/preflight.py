"""Looks at all nodes at once, changes nothing, and judges what it saw."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from provision.core.events import Event, EventSink, ListSink, Tee
from provision.core.paths import playbook
from provision.core.problems import Problem, fail
from provision.engine import gpu
from provision.engine.ansible import Ansible
from provision.engine.evaluate import evaluate, refused, root_causes
from provision.engine.judges import LOOKED_AT, Asked, Sight
from provision.engine.recorder import Recorder
from provision.engine.unreachable import PYTHON, classify
from provision.rack.model import Rack
from provision.rack.ssh import SshSettings
from provision.supply.model import StackLock
from provision.verdict.model import Finding

_RELEASE_COMMAND = ". /etc/os-release && echo $PRETTY_NAME"


@dataclass(frozen=True)
class Preflight:
    """What preflight found; `facts` by node, where a node could be looked at."""

    findings: tuple[Finding, ...]
    facts: Mapping[str, Mapping[str, object]]

    @property
    def refused(self) -> tuple[str, ...]:
        """Nodes that a run must not touch."""
        return tuple(refused(self.findings))

    def problems(self) -> list[Problem]:
        """The root causes as problems to print."""
        return [
            Problem(f.check, _told(f), where=f.node, hint=f.action or None)
            for f in root_causes(self.findings)
        ]

    def restarts(self) -> dict[str, tuple[str, ...]]:
        """Why a restart is due already, by node."""
        found = {}
        for node, facts in self.facts.items():
            reasons = facts.get("reboot_required")
            if isinstance(reasons, list) and reasons:
                found[node] = tuple(str(reason) for reason in reasons)
        return found


def _told(finding: Finding) -> str:
    """A finding in words; why a node could not be looked at says all by itself."""
    if finding.expected == LOOKED_AT:
        return finding.seen
    subject = finding.check.removeprefix("preflight.")
    return f"{subject}: expected {finding.expected}; seen: {finding.seen}"


def preflight(
    rack: Rack, ansible: Ansible, ssh: SshSettings, sink: EventSink, asked: Asked
) -> Preflight:
    """Look at every node of the rack in parallel and judge it.

    Raises:
        HoldfastError: ansible did not even start.
        KeyboardInterrupt: it was interrupted.
    """
    sights = look(rack, ansible, ssh, sink)
    findings = [f for node in rack.nodes for f in evaluate(node, sights[node.name], asked)]
    facts = {name: sight.facts for name, sight in sights.items() if sight.facts is not None}
    return Preflight(tuple(findings), facts)


def asked_of(lock: StackLock, run: str, takeover: str | None, origin: str | None = None) -> Asked:
    """What nodes are judged against beside the inventory; `origin` replaces the lock's own."""
    platforms = frozenset((r.release, r.arch) for r in lock.repositories)
    sizes = {model.name: model.size // (1024 * 1024) for model in lock.models}
    return Asked(platforms, run, takeover, sizes, gpu.locked(lock, origin))


def look(rack: Rack, ansible: Ansible, ssh: SshSettings, sink: EventSink) -> dict[str, Sight]:
    """What can be seen of every node.

    Raises:
        HoldfastError: ansible did not even start.
        KeyboardInterrupt: it was interrupted.
    """
    kept = ListSink()
    recorder = Recorder(Tee([sink, kept]))
    names = [node.name for node in rack.nodes]
    outcome = ansible.run("preflight", playbook("preflight"), recorder.take, limit=names)
    recorder.finish()
    if outcome.interrupted:
        raise KeyboardInterrupt
    sights = gather(kept.seen, names)
    if not outcome.finished and all(s.facts is None and s.error is None for s in sights.values()):
        raise fail(
            "ansible",
            f"ansible-playbook ended with {outcome.status} before it looked at any node:\n"
            + outcome.last_words(),
            hint=f"the whole log is {outcome.log}",
        )
    return _with_releases(rack, ssh, sights)


def gather(events: list[Event], names: list[str]) -> dict[str, Sight]:
    """What the events of a preflight say of each node.

    A node without events has neither facts nor an error.
    """
    sights = {name: Sight() for name in names}
    for event in events:
        if event.node not in sights:
            continue
        sight = sights[event.node]
        if event.kind == "task.start" and sight.asked_at == 0.0:
            sight = replace(sight, asked_at=event.at)
        elif event.kind == "facts":
            sight = replace(sight, facts=event.data.get("facts"), seen_at=event.at)
        elif event.kind == "task.end" and event.data.get("status") in ("failed", "unreachable"):
            sight = replace(sight, error=str(event.data.get("message")), seen_at=event.at)
        sights[event.node] = sight
    return sights


def _with_releases(rack: Rack, ssh: SshSettings, sights: dict[str, Sight]) -> dict[str, Sight]:
    """Add the release of nodes whose Python is too old or missing: EL 8 deserves a clear word."""
    old = [n for n, s in sights.items() if s.error and classify(s.error).check == PYTHON]
    if not old:
        return sights
    with ThreadPoolExecutor(max_workers=min(16, len(old))) as pool:
        names = dict(zip(old, pool.map(lambda n: _release_name(rack, ssh, n), old), strict=True))
    return {n: replace(s, release=names[n]) if n in names else s for n, s in sights.items()}


def _release_name(rack: Rack, ssh: SshSettings, name: str) -> str | None:
    node = rack.node(name)
    argv = ["ssh", *ssh.arguments(rack, node), node.address, _RELEASE_COMMAND]
    limit = ssh.seconds(node) + 10
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()[:100] or None

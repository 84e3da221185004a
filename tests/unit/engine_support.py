"""Nodes, a rack, and an ansible that follows a script, for tests of the engine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from provision.engine.ansible import Outcome
from provision.rack.model import Inference, Node, Rack, Waves

PHASES = ("repositories", "base", "time")

FACTS: dict[str, Any] = {
    "python": "3.12.5",
    "distribution_id": "rocky",
    "id_like": "rhel centos fedora",
    "version_id": "10.1",
    "pretty_name": "Rocky Linux 10.1",
    "rehearsal": False,
    "arch": "x86_64",
    "kernel": "6.12.0",
    "memory_mib": 15800,
    "cores": 8,
    "disk_free_mib": {"/": 20000, "/var": 20000, "/srv": 300000},
    "clock": 1000.0,
    "uptime_s": 10.0,
    "boot_id": "b1",
    "pci_gpus": [{"address": "0000:01:00.0", "vendor": "10de", "device": "2330"}] * 8,
    "nics": [{"name": "eno1", "speed_mbps": 100000, "up": True}],
    "secure_boot": "disabled",
    "listening_ports": [{"port": 22, "process": "sshd"}],
    "become_ok": True,
    "virtualization": "none",
    "locks": None,
    "reboot_required": [],
    "gpu_packages": [],
    "gpu_loaded": "",
    "drained": None,
}


def serving(port: int = 8443) -> Inference:
    return Inference(
        engine="llama_cpp", model="tiny", image="llama-cpp", port=port, allow_from=("192.0.2.0/24",)
    )


def node(name: str = "n1", **given: Any) -> Node:
    known = {"address": "192.0.2.11", "user": "admin", "host_keys": ("ssh-ed25519 AAAA",)}
    return Node(name=name, **{**known, **given})


def rack(folder: Path, names: Sequence[str] = ("n1", "n2"), **waves: Any) -> Rack:
    inventory = folder / "rack.yml"
    inventory.write_text("all: {}\n", encoding="utf-8")
    stack = folder / "stack.lock.json"
    stack.write_text("{}\n", encoding="utf-8")
    sizes = {"sizes": (1, 8, 50), "failure_budget": 0, **waves}
    return Rack(
        name="lab-a",
        path=inventory,
        stack=stack,
        waves=Waves(**sizes),
        nodes=tuple(node(name, address=f"192.0.2.{11 + i}") for i, name in enumerate(names)),
        sha256="aa" * 32,
    )


Say = Callable[..., None]


class ScriptedAnsible:
    """Stands in for `Ansible`: every playbook is a function that says what the callback would."""

    def __init__(self, place: Any = None) -> None:
        self.place = place
        self.calls: list[tuple[str, tuple[str, ...], dict[str, Any], bool]] = []
        self.facts: dict[str, dict[str, Any]] = {}
        self.drift: dict[str, dict[str, list[str]]] = {}
        self.errors: dict[tuple[str, str], str] = {}
        self.unreachable: set[str] = set()
        self.reboots: dict[str, list[str]] = {}
        self.asks_after: dict[str, str] = {}
        self.interrupt_in: str | None = None
        self.applied: list[tuple[str, str]] = []

    def at(self, place, started=None):
        """Stand in for the class: what a session calls to make its driver."""
        del started
        self.place = place
        return self

    def run(self, name, playbook, take, *, limit, variables=None, check=False):
        del playbook
        self.calls.append((name, tuple(limit), dict(variables or {}), check))
        interrupted = getattr(self, f"_{name}")(take, list(limit), variables or {})
        return Outcome(name, 99 if interrupted else 0, not interrupted, interrupted, Path("x.log"))

    def disconnect(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open; the folder of sockets goes away."""
        shutil.rmtree(self.place.sockets)

    def runs(self, name: str) -> list[tuple[str, ...]]:
        return [limit for called, limit, _, _ in self.calls if called == name]

    def _preflight(self, take, limit, variables):
        self._play(take, "preflight")
        for name in limit:
            if name in self.unreachable:
                self._task(take, name, "preflight", "Look", "unreachable", message="timed out")
                continue
            facts = {**FACTS, "clock": time.time(), **self.facts.get(name, {})}
            self._task(take, name, "preflight", "Look", "ok")
            take({"kind": "facts", "node": name, "phase": "preflight", "data": facts, **_at()})
        self._stats(take, limit, set())

    def _plan(self, take, limit, variables):
        failed: set[str] = set()
        for phase in PHASES:
            self._play(take, phase)
            for name in [n for n in limit if n not in failed]:
                self._phase(take, name, phase, failed, check=True)
        self._stats(take, limit, failed)

    def _wave(self, take, limit, variables):
        failed: set[str] = set()
        self._play(take, "node_lock")
        for name in limit:
            self._task(take, name, "node_lock", "Hold", "changed")
        left: set[str] = set()
        for part in ("engine_before", "engine_middle", "engine_after"):
            for phase in PHASES:
                self._play(take, phase)
                hosts = variables[part][phase]
                for name in [n for n in limit if n in hosts.split(",") and n not in failed | left]:
                    if self.interrupt_in == phase:
                        self._start(take, name, phase, "Work")
                        return True
                    self._phase(take, name, phase, failed, check=False)
            look = {"engine_before": "node_restart", "engine_middle": "node_restart_again"}.get(
                part
            )
            if look is not None:
                self._play(take, look)
                hosts = variables[f"engine{look.removeprefix('node')}_hosts"].split(",")
                for name in [n for n in limit if n in hosts and n not in failed | left]:
                    reasons = self.reboots.get(name, [])
                    self._task(take, name, look, "Look", "ok", reboot=reasons)
                    left |= {name} if reasons else set()
        self._give_back(take, [n for n in limit if n not in failed])
        self._stats(take, limit, failed)
        return False

    def _unlock(self, take, limit, variables):
        self._give_back(take, limit)
        self._stats(take, limit, set())
        return False

    def _give_back(self, take, limit):
        self._play(take, "node_unlock")
        for name in limit:
            reasons = self.reboots.get(name, [])
            self._task(take, name, "node_unlock", "Give back", "changed", reboot=reasons)

    def _restart(self, take, limit, variables):
        self._play(take, "node_restart")
        for name in limit:
            self.reboots.pop(name, None)
            self._task(take, name, "node_restart", "Restart", "changed")
        self._stats(take, limit, set())
        return False

    def _phase(self, take, name, phase, failed, *, check):
        message = self.errors.get((name, phase))
        if message is not None and not check:
            self._task(take, name, phase, "Work", "failed", message=message)
            failed.add(name)
            return
        changes = self.drift.get(name, {}).get(phase, [])
        status = "changed" if changes else "ok"
        self._task(take, name, phase, "Work", status, changes=changes, check=check)
        if not check:
            self.applied.append((name, phase))
            if self.asks_after.get(name) == phase:
                self.reboots[name] = [f"{phase} waits"]
                del self.asks_after[name]
            self.drift.get(name, {}).pop(phase, None)

    def _play(self, take, phase):
        take({"kind": "play.start", "phase": phase, **_at()})

    def _start(self, take, name, phase, task):
        take({"kind": "task.start", "node": name, "phase": phase, "task": task, **_at()})

    def _task(self, take, name, phase, task, status, **given):
        self._start(take, name, phase, task)
        line = {
            "kind": "task.end", "node": name, "phase": phase, "task": task, "status": status,
            "path": "roles/x.yml:1", "changes": [], "depends": None, "message": None,
            "check": False, "seconds": 0.1, **_at(),
        }  # fmt: skip
        take({**line, **given})

    def _stats(self, take, limit, failed):
        nodes = {n: {"failures": int(n in failed), "unreachable": 0} for n in limit}
        take({"kind": "stats", "nodes": nodes, **_at()})


def _at() -> dict[str, float]:
    return {"at": time.time()}

"""Racks of simulated nodes for the journeys.

`rack` is one provisioned rack of two nodes that all journeys of a session share, `lone_rack` one of
a single node, `audit_rack` one of a single node with GPUs; a journey that changes a node puts it
back. `fresh_rack` is a factory for racks of bare nodes of a journey's own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.core.events import NullSink
from provision.rehearsal import identity
from provision.rehearsal import rack as racks
from provision.rehearsal.node import Node
from provision.rehearsal.rack import Rehearsal
from tests.rehearsal.likeness import Likeness, look_at

ROOT = Path(__file__).resolve().parents[2]
RACK_NAME = re.compile(r"\bhf-[0-9a-f]{6}\b")


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    argv: list[str]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as the one JSON document of `--json`."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    def said(self) -> str:
        """Everything it printed, for assertion messages."""
        return f"$ {' '.join(self.argv)}\n[{self.code}]\n{self.out}\n{self.err}"


def not_passed(ran: Ran) -> dict[str, dict[str, str]]:
    """By node, the checks that neither passed nor are not applicable, with their status."""
    found: dict[str, dict[str, str]] = {}
    for finding in ran.document["findings"]:
        own = found.setdefault(finding["node"], {})
        if finding["status"] not in ("pass", "not_applicable"):
            own[finding["check"]] = finding["status"]
    return found


class SimulatedRack:
    """A rack for journeys: runs holdfast inside its network, and commands on its nodes."""

    def __init__(self, rehearsal: Rehearsal, state: Path) -> None:
        self.rehearsal = rehearsal
        self.state = state
        self.rehearsed: Ran | None = None
        self.undisturbed: Likeness | None = None
        self.environment = {**os.environ, "XDG_STATE_HOME": os.fspath(state), "CI": "1"}

    @property
    def inventory(self) -> Path:
        return self.rehearsal.inventory

    @property
    def nodes(self) -> list[Node]:
        return self.rehearsal.nodes

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def command(self, *words: str | os.PathLike[str]) -> list[str]:
        """The argv of `holdfast WORDS` inside the rack's network."""
        said = [os.fspath(word) for word in words]
        return [*self.rehearsal.inside(), sys.executable, "-m", "provision.cli.main", *said]

    def holdfast(self, *words: str | os.PathLike[str], timeout: float = 600) -> Ran:
        """Run `holdfast WORDS` inside the rack's network."""
        return self.run(self.command(*words), timeout=timeout)

    def start(self, *words: str | os.PathLike[str]) -> subprocess.Popen[str]:
        """Start `holdfast WORDS` in a session of its own and return at once."""
        return subprocess.Popen(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=ROOT,
            start_new_session=True,
        )

    def run(self, argv: Sequence[str], *, timeout: float = 600, stdin: str = "") -> Ran:
        """Run any command with the rack's environment."""
        begin = time.monotonic()
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=ROOT,
            timeout=timeout,
            check=False,
        )
        took = time.monotonic() - begin
        return Ran(list(argv), done.returncode, done.stdout, done.stderr, took)

    def ssh(self, name: str, script: str, *, check: bool = True, timeout: float = 120) -> Ran:
        """Run a shell script as root on a node."""
        secrets = self.rehearsal.folder / "secrets"
        known = self.rehearsal.folder / f"known-{name}"
        known.write_text(f"{self.node(name).address} {self.node(name).host_key}\n")
        ran = self.run(
            [
                *self.rehearsal.inside(), "ssh", "-q", "-i", os.fspath(secrets / "login"),
                "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes",
                "-o", "ConnectTimeout=10", f"{identity.USER}@{self.node(name).address}",
                "sudo bash -s",
            ],
            stdin=script,
            timeout=timeout,
        )  # fmt: skip
        if check:
            assert ran.code == 0, ran.said()
        return ran

    def broken(self, name: str, fault: str) -> None:
        """Put a fault into a node's simulated GPUs, as a person would, and wait until it shows."""
        ran = self.holdfast("rehearse", "--fault", fault, "--on", f"{self.rehearsal.name}/{name}")
        assert ran.code == 0, ran.said()
        self.ssh(name, "systemctl start holdfast-simulated-gpus.service")

    def runs(self) -> list[Path]:
        """The folders of this rack's runs that plan or change, oldest first."""
        found = sorted((self.state / "holdfast/runs").glob("*/run.json"))
        records = {path.parent: json.loads(path.read_text()) for path in found}
        return [
            path
            for path, record in records.items()
            if record["rack"] == self.rehearsal.name and record["verb"] != "verify"
        ]

    def edited(self, name: str, change: Callable[[str], str]) -> Path:
        """A changed copy of the inventory, beside it so that its relative paths hold."""
        target = self.inventory.with_name(name)
        target.write_text(change(self.inventory.read_text()))
        return target


def _built(count: int, state: Path) -> SimulatedRack:
    os.environ["XDG_STATE_HOME"] = os.fspath(state)
    return SimulatedRack(
        racks.build(release="10", count=count, events=NullSink(), keep=False), state
    )


@pytest.fixture(scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """State of this session's racks and runs, apart from what else this machine holds."""
    before = os.environ.get("XDG_STATE_HOME")
    home = tmp_path_factory.mktemp("state")
    yield home
    if before is None:
        os.environ.pop("XDG_STATE_HOME", None)
    else:
        os.environ["XDG_STATE_HOME"] = before
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def rack(state_home: Path) -> Iterator[SimulatedRack]:
    """Two nodes, rehearsed once for the whole session with the command that a person would type."""
    yield from _rehearsed_rack(state_home)


@pytest.fixture(scope="session")
def lone_rack(state_home: Path) -> Iterator[SimulatedRack]:
    """One node, rehearsed once, for journeys to which a second node adds nothing."""
    yield from _rehearsed_rack(state_home, "--nodes", "1")


@pytest.fixture(scope="session")
def audit_rack(state_home: Path) -> Iterator[SimulatedRack]:
    """A node with eight GPUs, rehearsed once; a journey that breaks one makes it whole again."""
    yield from _rehearsed_rack(state_home, "--nodes", "1", "--gpus", "h100-sxm")


def _rehearsed_rack(state_home: Path, *words: str) -> Iterator[SimulatedRack]:
    os.environ["XDG_STATE_HOME"] = os.fspath(state_home)
    ran = rehearsed("--keep", *words)
    name = RACK_NAME.search(ran.out)
    assert name, ran.said()
    try:
        assert ran.code == 0, ran.said()
        found = SimulatedRack(racks.load(name[0]), state_home)
        found.rehearsed = ran
        found.undisturbed = look_at(found, "n1")
        yield found
    finally:
        down = rehearsed("--down", name[0])
        assert down.code == 0, down.said()
        assert left_of(name[0], state_home) == []


def rehearsed(*words: str) -> Ran:
    """Run `holdfast rehearse WORDS`, as somebody at a shell would."""
    begin = time.monotonic()
    argv = [sys.executable, "-m", "provision.cli.main", "rehearse", *words]
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "CI": "1"},
        cwd=ROOT,
        # One of a node with GPUs took 17 minutes beside a dozen other programs.
        timeout=1800,
        check=False,
    )
    return Ran(argv, done.returncode, done.stdout, done.stderr, time.monotonic() - begin)


def left_of(name: str, state: Path) -> list[str]:
    """What is still there of a rack that was taken down."""
    found = [f"namespace {p}" for p in Path("/run/netns").glob(name)]
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    found += [f"mount {line}" for line in mounts if name in line]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, UnicodeDecodeError):
                continue
            if name in words:
                found.append(f"process {entry.name}: {words}")
    racks_home = state / "holdfast/rehearsal"
    return found + [f"file {p}" for p in racks_home.rglob("*") if name in p.name]


@pytest.fixture(scope="session")
def undisturbed(lone_rack: SimulatedRack) -> Likeness:
    """Node n1 as it stood right after it was provisioned, before any journey touched it."""
    assert lone_rack.undisturbed is not None
    return lone_rack.undisturbed


@pytest.fixture(scope="module")
def story_rack(state_home: Path) -> Iterator[SimulatedRack]:
    """Two nodes, bare at first, that the journeys of one file change one after the other."""
    found = _built(2, state_home)
    try:
        yield found
    finally:
        found.rehearsal.take_down()


@pytest.fixture
def fresh_rack(state_home: Path) -> Iterator[Callable[[int], SimulatedRack]]:
    """Makes racks of bare nodes, each in a network of its own; all are taken down at the end."""
    made: list[SimulatedRack] = []

    def make(count: int = 1) -> SimulatedRack:
        made.append(_built(count, state_home))
        return made[-1]

    yield make
    for one in made:
        one.rehearsal.take_down()

"""A rehearsal's rack: built, started, faulted and taken down as one thing."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from provision.core.events import Event, EventSink
from provision.core.files import write_whole
from provision.core.locks import FileLock, Held
from provision.core.paths import state_home
from provision.core.problems import fail
from provision.rehearsal import network, node
from provision.rehearsal.artefacts import artefacts
from provision.rehearsal.base import node_base
from provision.rehearsal.cache import remove_tree
from provision.rehearsal.inventory import write_inventory
from provision.rehearsal.node import Node
from provision.rehearsal.recipe import load_recipe
from provision.rehearsal.secrets import make_secrets
from provision.rehearsal.shell import run


@dataclass
class Rehearsal:
    """A rack of simulated nodes. `folder` holds all it has; removing it removes the rack."""

    name: str
    folder: Path
    base: Path
    artefacts: Path
    nodes: list[Node]
    outlive: bool
    _origin: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def inventory(self) -> Path:
        """The inventory that describes the rack."""
        return self.folder / "inventory.yml"

    def inside(self) -> list[str]:
        """Words that put a command into the rack's network."""
        return network.inside(self.name)

    def holdfast(self, *words: str | os.PathLike[str]) -> list[str]:
        """A holdfast command line that runs inside the rack's network."""
        return [
            *self.inside(),
            sys.executable,
            "-m",
            "provision.cli.main",
            *(os.fspath(word) for word in words),
        ]

    def start_origin(self) -> None:
        """Serve the artefacts and the time to the nodes."""
        if self._origin is not None and self._origin.poll() is None:
            return
        tied = [] if self.outlive else ["setpriv", "--pdeathsig", "KILL"]
        with (self.folder / "origin.log").open("ab") as log:
            self._origin = subprocess.Popen(
                [*tied, *self.inside(), sys.executable, "-m", "provision.rehearsal.origin",
                 os.fspath(self.artefacts), network.CONTROLLER, str(network.ORIGIN_PORT)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        (self.folder / "origin.pid").write_text(f"{self._origin.pid}\n")

    def stop_origin(self) -> None:
        """Take the origin away, as when an upstream vanishes."""
        if self._origin is not None:
            self._origin.kill()
            self._origin.wait()
            self._origin = None
        _end(self.folder / "origin.pid")

    def start_node(self, one: Node) -> None:
        """Boot a node, and wait until its SSH port answers (60 s at most)."""
        node.start(one, self.base, outlive=self.outlive)
        node.wait_for_ssh(one, time.monotonic() + 60)

    def take_down(self) -> None:
        """Stop everything and remove all that the rehearsal wrote."""
        self.stop_origin()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(node.remove, self.nodes))
        network.delete(self.name)
        remove_tree(self.folder)


def racks_home() -> Path:
    """Where rehearsal racks live."""
    return state_home() / "rehearsal"


def build(*, release: str, count: int, events: EventSink, keep: bool) -> Rehearsal:
    """Build a rack of `count` nodes and start it.

    Args:
        release: the major release that the nodes present, "9" or "10".
        keep: the rack outlives this process.
        count: how many nodes, 1 to 50.
        events: is told each step's start and end.

    Raises:
        HoldfastError: no privilege, a tool is missing, a build step failed, a node did not start.
    """
    if os.geteuid() != 0:
        raise fail("privilege", "a rehearsal starts whole systems and needs root", hint="use sudo")
    recipe = load_recipe()
    base = node_base(recipe, release, events)
    made = artefacts(recipe, release, base, events)
    name = f"hf-{secrets.token_hex(3)}"
    folder = racks_home() / name
    folder.mkdir(parents=True, mode=0o700)
    nodes = [Node(f"n{i}", i, folder / "nodes" / f"n{i}", name) for i in range(1, count + 1)]
    rack = Rehearsal(name, folder, base, made, nodes, outlive=keep)
    write_whole(folder / "rehearsal.json", json.dumps(_record(rack), indent=1), mode=0o600)
    try:
        _start(rack, events)
    except BaseException:
        rack.take_down()
        raise
    return rack


def _start(rack: Rehearsal, events: EventSink) -> None:
    make_secrets(rack.folder / "secrets", rack.nodes)
    login = rack.folder / "secrets/login"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rehearsal", "-f", login])
    shutil.copyfile(rack.artefacts / "stack.lock.json", rack.folder / "stack.lock.json")
    network.create(rack.name)
    rack.start_origin()
    peers = {"controller": network.CONTROLLER, **{one.name: one.address for one in rack.nodes}}
    for one in rack.nodes:
        node.create(one, rack.base, peers, login.with_suffix(".pub").read_text())
    write_inventory(rack.inventory, rack.name, rack.nodes)
    says = f"starting {len(rack.nodes)} nodes"
    events.emit(Event("rehearsal.step", data={"step": "nodes", "state": "start", "says": says}))
    # Started by this thread: a node is tied to the life of the thread that started it.
    for one in rack.nodes:
        node.start(one, rack.base, outlive=rack.outlive)
    deadline = time.monotonic() + 60 + 5 * len(rack.nodes)
    for one in rack.nodes:
        node.wait_for_ssh(one, deadline)
    events.emit(Event("rehearsal.step", data={"step": "nodes", "state": "end", "says": says}))


def _record(rack: Rehearsal) -> dict[str, object]:
    return {
        "schema": "holdfast.rehearsal/1",
        "name": rack.name,
        "base": os.fspath(rack.base),
        "artefacts": os.fspath(rack.artefacts),
        "nodes": [one.name for one in rack.nodes],
        "keep": rack.outlive,
    }


def load(name: str) -> Rehearsal:
    """A rack that is there, by name.

    Raises:
        HoldfastError: there is none of that name.
    """
    folder = racks_home() / name
    try:
        record = json.loads((folder / "rehearsal.json").read_text())
    except (OSError, ValueError):
        known = ", ".join(one.name for one in sorted(racks_home().glob("hf-*"))) or "none"
        raise fail("no-rehearsal", f"there is no {name!r}", hint=f"here: {known}") from None
    names: Sequence[str] = record["nodes"]
    nodes = [Node(one, i, folder / "nodes" / one, name) for i, one in enumerate(names, start=1)]
    return Rehearsal(
        name, folder, Path(record["base"]), Path(record["artefacts"]), nodes, record["keep"]
    )


@contextmanager
def owned(rack: Rehearsal) -> Iterator[Rehearsal]:
    """Hold the rack, and take it down on every way out unless it is to be kept."""
    with FileLock(racks_home() / f"{rack.name}.lock", {"rack": rack.name}):
        try:
            yield rack
        finally:
            if not rack.outlive:
                rack.take_down()
    if not rack.outlive:
        (racks_home() / f"{rack.name}.lock").unlink(missing_ok=True)


def sweep() -> list[str]:
    """Take down racks whose owner was killed; kept ones stay. Returns their names."""
    swept = []
    for folder in sorted(racks_home().glob("hf-*/")):
        lock = racks_home() / f"{folder.name}.lock"
        try:
            rack = load(folder.name)
            if rack.outlive:
                continue
            with FileLock(lock, {"sweeps": folder.name}):
                rack.take_down()
        except (Held, OSError):
            continue
        lock.unlink(missing_ok=True)
        swept.append(folder.name)
    return swept


def _end(pid_file: Path) -> None:
    try:
        os.kill(int(pid_file.read_text()), 9)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return
    finally:
        pid_file.unlink(missing_ok=True)

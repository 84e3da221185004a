"""A rehearsal's rack: built, started, faulted and taken down as one thing."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from provision.core.events import Event, EventSink
from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.locks import FileLock, Held
from provision.core.names import suggest
from provision.core.paths import state_home
from provision.core.problems import HoldfastError, fail
from provision.rehearsal import el, machine, network, node
from provision.rehearsal.artefacts import artefacts
from provision.rehearsal.base import node_base
from provision.rehearsal.cache import remove_tree
from provision.rehearsal.choice import choose
from provision.rehearsal.gpu import faults, models, onnode, packages
from provision.rehearsal.gpu.models import NodeModel
from provision.rehearsal.gpu.packages import Other
from provision.rehearsal.inventory import write_inventory
from provision.rehearsal.limits import make_room
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
    made_of: str
    kind: str = "container"
    gpus: str | None = None
    _lock: FileLock | None = field(default=None, repr=False)
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

    def take_down(self) -> None:
        """Stop everything and remove all that the rehearsal wrote."""
        self.stop_origin()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(node.remove, self.nodes))
        network.delete(self.name)
        remove_tree(self.folder)
        if self._lock is not None:
            self._lock.__exit__(None, None, None)
        lock_path(self.name).unlink(missing_ok=True)


def racks_home() -> Path:
    """Where rehearsal racks live."""
    return state_home() / "rehearsal"


def lock_path(name: str) -> Path:
    """The lock that a rack's owner holds for as long as it lives."""
    return racks_home() / f"{name}.lock"


def build(
    *,
    release: str | None,
    count: int,
    events: EventSink,
    keep: bool,
    base: str = "auto",
    engine_image: Path | None = None,
    kind: str = "container",
    profile: str = "none",
    gpus: str | None = None,
    units: Sequence[Other] = (),
) -> Rehearsal:
    """Build a rack of `count` nodes and start it. This process owns it until it is taken down.

    Args:
        release: the major release that the nodes present, "9" or "10"; None for the usual one.
        count: how many nodes, 1 to 50.
        events: is told what was chosen, and each step's start and end.
        keep: the rack outlives this process.
        base: ``el``, ``compat`` or ``auto``; see `provision.rehearsal.choice`.
        engine_image: an OCI archive of the inference engine; None builds one.
        kind: ``container``, or ``vm`` for virtual machines with a kernel of their own.
        profile: the security profile that the inventory asks for.
        gpus: the model of the nodes' simulated GPUs, of `provision.rehearsal.gpu.models`.
        units: other GPU units that its repository has too, each with a stack lock of its own.

    Raises:
        HoldfastError: no privilege, a tool is missing, a build step failed, a node did not start.
    """
    if os.geteuid() != 0:
        raise fail("privilege", "a rehearsal starts whole systems and needs root", hint="use sudo")
    gpu_model = models.load(gpus) if gpus else None
    if gpu_model is not None and kind == "vm":
        raise fail("gpus-in-vm", "a virtual machine has a PCI bus of its own, without GPUs",
                   hint="simulated ones need --kind container",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    recipe = load_recipe()
    choice = choose(base, release, engine_image)
    said = {"base": choice.base, "release": choice.release, "made_of": choice.made_of}
    events.emit(Event("rehearsal.base", data={**said, "why": choice.why}))
    if choice.base == "el":
        tree = el.node_base(recipe, choice.release, events)
    else:
        tree = node_base(recipe, choice.release, events)
    if kind == "vm":
        chosen = machine.accelerator(tree)
        events.emit(Event("rehearsal.machine", data={"says": chosen.says, "why": chosen.why}))
    made = artefacts(recipe, choice, tree, events)
    if gpu_model is not None:
        made = packages.with_gpus(made, gpu_model, choice, tree, events, *units)
    name = f"hf-{secrets.token_hex(3)}"
    folder = racks_home() / name
    nodes = [Node(f"n{i}", i, folder / "nodes" / f"n{i}", name, kind) for i in range(1, count + 1)]
    # Held before there is anything, or another rehearsal that starts now would sweep it away.
    lock = FileLock(lock_path(name), {"rack": name})
    lock.__enter__()
    rack = Rehearsal(name, folder, tree, made, nodes, keep, choice.made_of, kind, gpus, lock)
    try:
        folder.mkdir(parents=True, mode=0o700)
        write_whole(folder / "rehearsal.json", json.dumps(_record(rack), indent=1), mode=0o600)
        waived = recipe.waived.get(profile, {}) if choice.base == "compat" else {}
        if kind == "vm" and choice.base == "compat":
            waived = {**waived, **machine.WAIVED.get(profile, {})}
        lacks = machine.lacks(choice.base) if kind == "vm" else {}
        _start(rack, events, profile, waived, lacks=lacks, gpus=gpu_model, units=units)
    except BaseException:
        rack.take_down()
        raise
    return rack


def _start(
    rack: Rehearsal,
    events: EventSink,
    profile: str,
    waived: Mapping[str, str],
    *,
    lacks: Mapping[str, str],
    gpus: NodeModel | None,
    units: Sequence[Other],
) -> None:
    make_secrets(rack.folder / "secrets", rack.nodes)
    login = rack.folder / "secrets/login"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rehearsal", "-f", login])
    for lock in rack.artefacts.glob("stack.lock*.json"):
        shutil.copyfile(lock, rack.folder / lock.name)
    network.create(rack.name)
    rack.start_origin()
    peers = {"controller": network.CONTROLLER, **{one.name: one.address for one in rack.nodes}}
    made = machine if rack.kind == "vm" else node
    for one in rack.nodes:
        made.create(one, rack.base, peers, login.with_suffix(".pub").read_text())
        if gpus is not None:
            seen = models.fresh(gpus, f"{rack.name}/{one.name}")
            kinds = [gpus, *(models.with_driver(gpus, unit.version) for unit in units)]
            drivers = [kind.driver for kind in kinds] if units else []
            onnode.prepare(one.folder, node.machine_id(one), seen, drivers)
    slow = rack.kind == "vm" and machine.accelerator(rack.base).emulated
    write_inventory(
        rack.inventory, rack.name, rack.nodes, rack.kind,
        profile=profile, waived=waived, gpus=gpus, emulated=slow, lacks=lacks,
    )  # fmt: skip
    make_room(len(rack.nodes), events)
    says = f"starting {len(rack.nodes)} nodes"
    events.emit(Event("rehearsal.step", data={"step": "nodes", "state": "start", "says": says}))
    # Started by this thread: a node is tied to the life of the thread that started it.
    for one in rack.nodes:
        made.start(one, rack.base, outlive=rack.outlive)
    patience = machine.START_S if rack.kind == "vm" else 60
    deadline = time.monotonic() + patience + 5 * len(rack.nodes)
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
        "made_of": rack.made_of,
        "kind": rack.kind,
        "gpus": rack.gpus,
    }


def load(name: str) -> Rehearsal:
    """A rack that is there, by name.

    Raises:
        HoldfastError: there is none of that name, or its record is damaged.
    """
    known = [one.name for one in racks_home().glob("hf-*/")]
    if name not in known:
        raise fail("no-rehearsal", f"there is no rehearsal rack {name!r}",
                   hint=suggest(name, known) if known else "no rack is there",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    folder = racks_home() / name
    try:
        record = json.loads((folder / "rehearsal.json").read_text())
        names: Sequence[str] = record["nodes"]
        base, made = Path(record["base"]), Path(record["artefacts"])
        made_of: str = record.get("made_of", "")
        kind: str = record.get("kind", "container")
        gpus: str | None = record.get("gpus")
    except (OSError, ValueError, KeyError) as error:
        raise fail("no-record", f"its record cannot be read: {error}", where=str(folder),
                   hint="nothing of it runs; remove the folder") from error  # fmt: skip
    nodes = [
        Node(one, i, folder / "nodes" / one, name, kind) for i, one in enumerate(names, start=1)
    ]
    return Rehearsal(name, folder, base, made, nodes, record["keep"], made_of, kind, gpus)


def break_gpus(rack: Rehearsal, name: str, fault: str, gpu: int = 0) -> None:
    """Put a fault into the simulated GPUs of a node that runs; ``none`` makes them whole again.

    Args:
        rack: a rack whose nodes have simulated GPUs.
        name: of the node.
        fault: of `provision.rehearsal.gpu.faults`, or ``none``.
        gpu: which GPU, for a fault of one.

    Raises:
        HoldfastError: there is no such node, fault or GPU.
    """
    known = {one.name: one for one in rack.nodes}
    if rack.gpus is None or name not in known:
        what = "has no simulated GPUs" if rack.gpus is None else f"has no node {name!r}"
        hint = suggest(name, list(known)) if rack.gpus else "rehearse --gpus MODEL makes some"
        raise fail("no-gpus", f"{rack.name} {what}", hint=hint, exit_code=ExitCode.USAGE)
    seen = onnode.current(known[name].folder)
    if fault == "none":
        # What the kernel wrote stays written, as it does on hardware.
        whole = models.fresh(models.load(rack.gpus), f"{rack.name}/{name}")
        seen = whole.model_copy(update={"log": seen.log})
    else:
        seen = faults.inject(seen, fault, gpu, now=time.time())
    node.show_gpus(known[name], seen)


@contextmanager
def owned(rack: Rehearsal) -> Iterator[Rehearsal]:
    """Take the rack down on every way out unless it is to be kept."""
    try:
        yield rack
    finally:
        if not rack.outlive:
            rack.take_down()


def sweep() -> list[str]:
    """Take down racks whose owner was killed; kept ones stay. Returns their names."""
    swept = []
    for path in sorted(racks_home().glob("hf-*.lock")):
        folder = path.with_suffix("")
        try:
            with FileLock(path, {"sweeps": folder.name}):
                if not (folder / "rehearsal.json").exists():
                    remove_tree(folder)  # killed before anything ran
                    path.unlink(missing_ok=True)
                    continue
                rack = load(folder.name)
                if rack.outlive:
                    continue
                rack.take_down()
        except (Held, OSError, HoldfastError):
            continue
        swept.append(folder.name)
    return swept


def _end(pid_file: Path) -> None:
    try:
        os.kill(int(pid_file.read_text()), 9)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return
    finally:
        pid_file.unlink(missing_ok=True)

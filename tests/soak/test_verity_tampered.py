"""A netboot root with one bit changed is refused by the machine that fetched it, wherever the bit.

As an operator I want a machine that boots over the network to start what I signed or nothing: the
server that it fetches from may be anybody's.

`HOLDFAST_SOAK_NETBOOT` names a folder that `image build --format netboot` made (with ``netboot/``
in it); without it one is built. `HOLDFAST_SOAK_SEED` chooses other places. One start takes about a
minute where it is emulated.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from provision.core import emulator
from provision.core.events import NullSink
from provision.image.build import build
from provision.image.load import load, ours
from provision.image.qemu import MEMORY_MIB, serial_text
from provision.image.work import Given
from provision.rehearsal.image_base import image_base

pytestmark = [pytest.mark.soak, pytest.mark.needs("ovmf", "user_namespaces")]

ROOT, TREE = "rootfs.erofs", "rootfs.verity"
SUPERBLOCK = 4096
"""What of the tree of hashes is about itself: no byte of the root follows from it."""
PLACES = 20
SEED = int(os.environ.get("HOLDFAST_SOAK_SEED", "20"))
WAIT_S = 1200.0
REFUSED = "holdfast: the root is not what was signed"
MOUNTED = re.compile(r"erofs: \(device [^)]*\): mounted with")
LOGIN = re.compile(r" login: ?$", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """One bit of a file: how far into it, from 0 to 1, and which of the byte's eight."""

    file: str
    at: float
    bit: int

    def offset(self, size: int) -> int:
        """The byte, in a file of `size` bytes."""
        start = SUPERBLOCK if self.file == TREE else 0
        return start + int(self.at * (size - start))


def changes() -> list[Change]:
    """Random places, every fifth of them in the tree of hashes."""
    source = random.Random(SEED)
    return [
        Change(TREE if number % 5 == 4 else ROOT, source.random(), source.randrange(8))
        for number in range(PLACES)
    ]


class Handler(BaseHTTPRequestHandler):
    """Serves a folder's files, with one bit of one of them changed on the way."""

    folder: ClassVar[Path]
    change: ClassVar[Change | None]
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        """Answer."""
        path = self.folder / Path(self.path).name
        size = path.stat().st_size
        self.asked.append(path.name)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        change = self.change if self.change and self.change.file == path.name else None
        with path.open("rb") as stream:
            sent = 0
            while piece := bytearray(stream.read(1 << 20)):
                inside = change.offset(size) - sent if change else -1
                if change and 0 <= inside < len(piece):
                    piece[inside] ^= 1 << change.bit
                self.wfile.write(piece)
                sent += len(piece)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path, change: Change | None) -> Iterator[tuple[int, list[str]]]:
    """A server's port, and the files that it was asked for."""
    handler = type("Changed", (Handler,), {"folder": folder, "change": change, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], handler.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Start:
    """One start: what came over the serial port, and whether the machine ended by itself."""

    text: str
    ended: bool
    asked: tuple[str, ...]
    seconds: float


def start(folder: Path, change: Change | None, serial: Path) -> Start:
    """Start a machine without a disk until it ends by itself or somebody could log in."""
    begun = time.monotonic()
    serial.write_bytes(b"")
    runs = emulator.accelerator(folder / "vmlinuz")
    line = (folder / "cmdline").read_text().strip()
    with served(folder, change) as (port, asked):
        argv = [
            "setpriv", "--pdeathsig", "KILL", emulator.emulator(), *runs.words,
            "-m", str(MEMORY_MIB), *emulator.QUIET, "-no-reboot",
            "-nic", "user,model=virtio-net-pci", "-device", "virtio-rng-pci",
            "-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd"),
            "-append", f"{line} holdfast.root=http://10.0.2.2:{port}/{ROOT}",
            "-serial", f"file:{serial}",
        ]  # fmt: skip
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
            try:
                while process.poll() is None and time.monotonic() < begun + WAIT_S:
                    if LOGIN.search(serial_text(serial)):
                        break
                    time.sleep(0.5)
                ended = process.poll() is not None
            finally:
                process.kill()
    return Start(serial_text(serial), ended, tuple(asked), time.monotonic() - begun)


@pytest.fixture(scope="module")
def netboot() -> Path:
    """The folder of a netboot whose root is proven."""
    told = os.environ.get("HOLDFAST_SOAK_NETBOOT")
    if told:
        return Path(told) / "netboot"
    definition = load(ours()["gpu-node"]).definition.model_copy(
        update={"base": "rehearsal", "formats": ("netboot",)}
    )
    assert definition.root.verity
    given = Given(base=image_base(str(definition.release), definition.epoch, NullSink()))
    built = build(definition, given, NullSink(), until="pack", environ={})
    return built.outputs["pack"] / "netboot"


def test_the_root_as_it_was_signed_is_started(netboot: Path, tmp_path: Path) -> None:
    found = start(netboot, None, tmp_path / "serial")
    assert LOGIN.search(found.text), found.text[-3000:]
    assert MOUNTED.search(found.text), found.text[-3000:]
    assert REFUSED not in found.text
    assert set(found.asked) == {ROOT, TREE}
    print(f"login after {found.seconds:.0f} s")


@pytest.mark.parametrize("number", range(PLACES))
def test_a_bit_changed_anywhere_is_refused(netboot: Path, number: int, tmp_path: Path) -> None:
    change = changes()[number]
    found = start(netboot, change, tmp_path / "serial")
    told = f"{change} of seed {SEED}: {found.text[-3000:]}"
    assert REFUSED in found.text, told
    assert found.ended, told
    assert set(found.asked) == {ROOT, TREE}
    assert not MOUNTED.search(found.text), told
    assert not LOGIN.search(found.text), told
    print(f"refused after {found.seconds:.0f} s")

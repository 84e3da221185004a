"""A disk for a machine: partitions with file systems, filled without mounting any of them."""

from __future__ import annotations

import binascii
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.rehearsal.cache import remove_tree
from provision.rehearsal.shell import run

MIB = 1024 * 1024
_SECTOR = 512
_ENTRIES = 128
_LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
_TABLE = 2 + _ENTRIES * 128 // _SECTOR
"""Sectors at the start of a disk: the protective record, the header and the entries."""


@dataclass(frozen=True)
class Part:
    """A partition: where it is mounted, its size, and the options of its line in fstab."""

    path: str
    mib: int
    options: str = "defaults"


# What the benchmarks ask to be a file system of its own; the first is the root.
PARTS = (
    Part("/", 4096),
    Part("/home", 64),
    Part("/tmp", 512),
    # The container runtime asks for 4 GiB free.
    Part("/var", 6144),
    Part("/var/log", 256),
    Part("/var/log/audit", 128),
    Part("/var/tmp", 256),
)


def fstab(device: str) -> str:
    """The lines that mount `PARTS` from `device`, and memory where EL has it."""
    lines = [
        f"{device}p{number} {part.path} ext4 {part.options} 0 0"
        for number, part in enumerate(PARTS, start=1)
    ]
    return "\n".join([*lines, "tmpfs /dev/shm tmpfs defaults 0 0"]) + "\n"


def fill(image: Path, lower: Path, upper: Path, work: Path) -> None:
    """Write a disk whose file systems hold the tree `upper` over `lower`.

    Args:
        image: the file to write; it takes only the space that is used.
        lower: a tree, which is left as it is.
        upper: another, whose files come first.
        work: a folder to be made on the file system of `upper`; it goes away again.

    Raises:
        HoldfastError: a tool is missing or failed.
    """
    starts = _partition(image, PARTS)
    tree, empty, over = work / "tree", work / "empty", work / "over"
    for folder in (tree, empty, over):
        folder.mkdir(parents=True)
    lines = ["set -eu", 'mount -t overlay overlay -o "$4" "$1"']
    # The deepest first: each is hidden before the one that it lies in is copied.
    places = sorted(zip(PARTS, starts, strict=True), key=lambda one: one[0].path, reverse=True)
    for part, start in places:
        path = part.path.rstrip("/")
        (upper / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        lines.append(f'mke2fs -F -q -t ext4 -m 1 -E offset={start} -d "$1{path}" "$3" {part.mib}M')
        if path:
            lines.append(f'mount --bind "$2" "$1{path}"')
    options = f"lowerdir={lower},upperdir={upper},workdir={over}"
    script = "\n".join(lines)
    run(["unshare", "--mount", "bash", "-c", script, "fill", tree, empty, image, options])
    remove_tree(work)


def _partition(image: Path, parts: Sequence[Part]) -> list[int]:
    """Write a partition table with `parts`; returns where each starts, in bytes."""
    starts, end = [], MIB
    for part in parts:
        starts.append(end)
        end += part.mib * MIB
    sectors = (end + MIB) // _SECTOR
    entries = b"".join(
        struct.pack(
            "<16s16sQQQ72s",
            _LINUX.bytes_le,
            uuid.uuid4().bytes_le,
            start // _SECTOR,
            (start + part.mib * MIB) // _SECTOR - 1,
            0,
            part.path.encode("utf-16-le"),
        )
        for part, start in zip(parts, starts, strict=True)
    ).ljust(_ENTRIES * 128, b"\0")
    disk = uuid.uuid4()
    # One partition over everything, for whoever does not know this kind of table.
    protective = struct.pack("<446x4B4BII48xH", 0, 0, 2, 0, 0xEE, 255, 255, 255, 1,
                             min(sectors - 1, 0xFFFFFFFF), 0xAA55)  # fmt: skip
    with image.open("wb") as out:
        out.truncate(sectors * _SECTOR)
        out.write(protective)
        out.write(_header((1, sectors - 1, 2), sectors, disk, entries))
        out.write(entries)
        out.seek((sectors - _TABLE + 1) * _SECTOR)
        out.write(entries)
        out.write(_header((sectors - 1, 1, sectors - _TABLE + 1), sectors, disk, entries))
    return starts


def _header(places: tuple[int, int, int], sectors: int, disk: uuid.UUID, entries: bytes) -> bytes:
    """A header of a GUID partition table, in a sector of its own.

    `places` are the sectors of this header, of the other one, and of this one's entries.
    """
    own, other, table = places

    def packed(checksum: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, checksum, 0, own, other,
            _TABLE, sectors - _TABLE - 1, disk.bytes_le, table, _ENTRIES, 128,
            binascii.crc32(entries),
        )  # fmt: skip

    return packed(binascii.crc32(packed(0))).ljust(_SECTOR, b"\0")

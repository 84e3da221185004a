"""Where an image's file systems lie on a disk, and what identifies them.

Every number follows from the image's name, release and architecture, so that two builds agree and
two different images do not.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from provision.core.problems import fail
from provision.image.definition import Definition, Partition

MIB = 1024 * 1024

_OURS = uuid.UUID("6c1b0f5e-54a4-5e0b-9f3a-3c1f6f0f5d10")
_LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"
ESP_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
# The Discoverable Partitions Specification (UAPI group), so that tools know what they look at.
ROOT_TYPES = {
    "x86_64": "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
    "aarch64": "b921b045-1df0-41c3-af44-4c6f280d3fae",
}
"""What the types of partitions are called, in lower case."""
_TYPES = {
    "/boot": "bc13c2ff-59e6-4262-a352-b275fd6f7172",
    "/home": "933ac7e1-2eb4-4f13-b844-0e14e2aef915",
    "/srv": "3b8f8425-20e0-4f3b-907f-1a25a76f98e8",
    "/var": "4d21b016-b534-45c2-a9fb-5c16e091fd2d",
    "/var/tmp": "7ec6f557-3bc5-4aca-b293-16ef5df639d1",
}
_ESP_DEFAULT = Partition(
    mount="/boot/efi",
    size_mib=512,
    filesystem="vfat",
    options=("umask=0077", "shortname=winnt"),
)


@dataclass(frozen=True)
class Slot:
    """One partition of a disk.

    `start` and `size` are bytes; `uuid` is the file system's as fstab writes it, `part` the
    partition's, `kind` the type of the partition.
    """

    mount: str
    filesystem: str
    start: int
    size: int
    uuid: str
    part: str
    kind: str
    label: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """A disk: its partitions in their order, and the whole size in bytes."""

    uuid: str
    slots: tuple[Slot, ...]
    size: int

    @property
    def esp(self) -> Slot:
        """The partition that firmware reads."""
        return next(slot for slot in self.slots if slot.filesystem == "vfat")

    @property
    def root(self) -> Slot:
        """The root file system."""
        return next(slot for slot in self.slots if slot.mount == "/")


def identity(definition: Definition, what: str) -> uuid.UUID:
    """The number of the part `what` of an image."""
    name = f"{definition.name}/el{definition.release}/{definition.arch}/{what}"
    return uuid.uuid5(_OURS, name)


def layout_of(definition: Definition) -> Layout:
    """The disk of an image: the partition that firmware reads, the root, the others as written.

    Raises:
        HoldfastError: the definition has no root file system, or several for firmware.
    """
    disks = [one for one in definition.partitions if one.filesystem != "tmpfs"]
    fat = [one for one in disks if one.filesystem == "vfat"] or [_ESP_DEFAULT]
    roots = [one for one in disks if one.mount == "/"]
    if len(fat) != 1 or len(roots) != 1:
        raise fail("bad-layout", f"a disk has one vfat partition and one root; here are {len(fat)}"
                   f" and {len(roots)}", where=definition.name)  # fmt: skip
    others = [one for one in disks if one not in (*fat, *roots)]
    slots: list[Slot] = []
    start = MIB
    for one in (*fat, *roots, *others):
        slots.append(_slot(definition, one, start))
        start += one.size_mib * MIB
    # The last MiB holds the second copy of the partition table.
    return Layout(str(identity(definition, "disk")), tuple(slots), start + MIB)


def _slot(definition: Definition, one: Partition, start: int) -> Slot:
    number = identity(definition, f"fs {one.mount}")
    fat = one.filesystem == "vfat"
    if fat:
        kind = ESP_TYPE
    elif one.mount == "/":
        kind = ROOT_TYPES[definition.arch]
    else:
        kind = _TYPES.get(one.mount, _LINUX)
    short = number.hex[:8].upper()
    return Slot(
        mount=one.mount,
        filesystem=one.filesystem,
        start=start,
        size=one.size_mib * MIB,
        uuid=f"{short[:4]}-{short[4:]}" if fat else str(number),
        part=str(identity(definition, f"part {one.mount}")),
        kind=kind,
        label="esp" if fat else one.mount.strip("/").replace("/", "-")[:36] or "root",
        options=one.options,
    )


def fstab(definition: Definition, existing: str, *, disks: bool = True) -> str:
    """The image's ``/etc/fstab``: what the definition says, and lines for what it does not name.

    Args:
        definition: the image.
        existing: the file so far; lines for mount points of the definition are replaced.
        disks: whether file systems on a disk are named; not so where the root comes from
            elsewhere.
    """
    slots = sorted(layout_of(definition).slots, key=lambda slot: slot.mount)
    replaced = {slot.mount for slot in slots} | {one.mount for one in definition.partitions}
    lines = [line for line in existing.splitlines() if not _about(line, replaced)]
    if disks:
        lines += [_line(f"UUID={s.uuid}", s.mount, s.filesystem, s.options) for s in slots]
    lines += [
        _line("tmpfs", one.mount, "tmpfs", (*_temporary(one), *one.options))
        for one in definition.partitions
        if one.filesystem == "tmpfs"
    ]
    return "".join(f"{line}\n" for line in lines)


def _about(line: str, mounts: set[str]) -> bool:
    words = line.split()
    return len(words) > 1 and not line.startswith("#") and words[1] in mounts


def _temporary(one: Partition) -> tuple[str, ...]:
    everybodys = one.mount.rpartition("/")[2] in ("tmp", "shm")
    mode = ("mode=1777",) if everybodys else ()
    return (*mode, f"size={one.size_mib}m")


def _line(what: str, mount: str, kind: str, options: Sequence[str]) -> str:
    checked = {"ext4": "1" if mount == "/" else "2"}.get(kind, "0")
    return f"{what} {mount} {kind} {','.join(('defaults', *options))} 0 {checked}"

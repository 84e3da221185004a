"""Unpacks a built artefact into a root folder, inside the sandbox: no mount, no loop device.

What an artefact is, is told by its first bytes and never by its name.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, fail
from provision.image.layout import ESP_TYPE
from provision.image.sandbox import Sandbox

SECTOR = 512
_LINUX = ("ext2", "ext3", "ext4")
_GZIP, _ZSTD, _XZ, _QCOW2 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"QFI\xfb"


@dataclass(frozen=True)
class Partition:
    """A file system in a disk image; `start` and `size` are in bytes."""

    start: int
    size: int
    kind: str
    uuid: str
    label: str


def opened(artefact: Path, sandbox: Sandbox, into: Path) -> Path:
    """The root folder of an artefact: itself where it is a folder, else unpacked below `into`.

    Args:
        artefact: a root folder, an OCI layout, a tar archive, or a disk image (raw or qcow2).
        sandbox: where tools run; it must let them write to `into`.
        into: an empty folder, large enough for what is in the artefact.

    Raises:
        HoldfastError: it is none of these (exit code 2), or a tool failed.
    """
    if artefact.is_dir():
        return _of_folder(artefact, sandbox, into)
    try:
        with artefact.open("rb") as stream:
            head = stream.read(SECTOR * 2)
    except OSError as error:
        raise no_image(artefact, f"cannot be read: {error.strerror}") from None
    root = into / "root"
    if head.startswith(_QCOW2):
        raw = into / "disk.raw"
        sandbox.run(["qemu-img", "convert", "-O", "raw", artefact, raw])
        return _of_disk(raw, sandbox, root)
    if head[SECTOR : SECTOR + 8] == b"EFI PART":
        return _of_disk(artefact, sandbox, root)
    if head[257:262] == b"ustar" or head.startswith((_GZIP, _ZSTD, _XZ)):
        return _of_archive(artefact, sandbox, root)
    hint = "a folder, a tar archive, an OCI layout, or a disk image (raw, qcow2)"
    raise no_image(artefact, "is no image that can be opened", hint)


def no_image(artefact: Path, message: str, hint: str | None = None) -> HoldfastError:
    """The mistake of giving something that is no image (exit code 2)."""
    return fail("not-an-image", message, hint=hint, where=str(artefact), exit_code=ExitCode.USAGE)


def _of_folder(folder: Path, sandbox: Sandbox, into: Path) -> Path:
    if (folder / "oci-layout").is_file():
        return _of_oci(folder, sandbox, into / "root")
    if (folder / "usr").is_dir():
        return folder
    if (folder / "root/usr").is_dir():
        return folder / "root"
    raise no_image(folder, "holds no root file system", "it has neither usr/ nor root/usr/")


def _of_archive(archive: Path, sandbox: Sandbox, root: Path) -> Path:
    """A tree, or an OCI layout in one file."""
    _of_tar(archive, sandbox, root)
    if not (root / "oci-layout").is_file() or (root / "usr").exists():
        return root
    layout = root.with_name("layout")
    root.rename(layout)
    return _of_oci(layout, sandbox, root)


def _of_tar(archive: Path, sandbox: Sandbox, root: Path) -> Path:
    root.mkdir(exist_ok=True)
    sandbox.run(["tar", "--extract", "--numeric-owner", "--preserve-permissions", "--xattrs",
                 "--xattrs-include=security.capability", f"--directory={root}",
                 f"--file={archive}"])  # fmt: skip
    return root


def _of_oci(layout: Path, sandbox: Sandbox, root: Path) -> Path:
    """Its layers, one over the other; ours remove nothing of an earlier one."""
    try:
        index = json.loads((layout / "index.json").read_bytes())
        manifest = json.loads(_blob(layout, index["manifests"][0]["digest"]).read_bytes())
        layers = [_blob(layout, one["digest"]) for one in manifest["layers"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise no_image(layout, f"is no OCI layout that can be read: {error}") from error
    for layer in layers:
        _of_tar(layer, sandbox, root)
    return root


def _blob(layout: Path, digest: str) -> Path:
    kind, _, value = digest.partition(":")
    if kind != "sha256" or len(value) != 64 or not value.isalnum():
        raise ValueError(f"{digest!r} is no digest")
    return layout / "blobs/sha256" / value


def _of_disk(disk: Path, sandbox: Sandbox, root: Path) -> Path:
    """Every ext4 file system of a disk, each where the root's fstab says."""
    found = [p for p in _partitions(disk, sandbox) if p.kind in _LINUX]
    if not found:
        raise no_image(disk, "holds no ext4 file system")
    first = next((p for p in found if _has(disk, p, "/usr/bin", sandbox)), None)
    if first is None:
        raise no_image(disk, "holds no root file system")
    root.mkdir(exist_ok=True)
    _dump(disk, first, sandbox, root)
    places = _mounts(sandbox.run(["cat", f"{root}/etc/fstab"]))
    for part in (p for p in found if p != first):
        place = places.get(f"UUID={part.uuid.lower()}") or places.get(f"LABEL={part.label}")
        if place is None:
            raise no_image(disk, f"has a file system {part.uuid} that its fstab does not name")
        _dump(disk, part, sandbox, root / place.lstrip("/"))
    return root


def _mounts(fstab: str) -> dict[str, str]:
    """By what names a file system: where it is mounted."""
    rows = (line.split() for line in fstab.splitlines() if line and line[0] != "#")
    found = {}
    for row in rows:
        if len(row) > 1:
            name, equals, value = row[0].partition("=")
            found[f"{name}{equals}{value.lower() if name == 'UUID' else value}"] = row[1]
    return found


def table_of(disk: Path, sandbox: Sandbox) -> list[tuple[str, int, int]]:
    """Each partition of a raw disk: its type in lower case, where it begins, and its size in bytes.

    Raises:
        HoldfastError: sfdisk is missing, or finds no partition table.
    """
    table = json.loads(sandbox.run(["sfdisk", "--json", disk]))["partitiontable"]
    sector = int(table.get("sectorsize", SECTOR))
    return [(one["type"].lower(), one["start"] * sector, one["size"] * sector)
            for one in table.get("partitions", ())]  # fmt: skip


def _partitions(disk: Path, sandbox: Sandbox) -> list[Partition]:
    found = []
    for kind, start, size in table_of(disk, sandbox):
        if kind == ESP_TYPE:
            continue
        # Ends with 2 where it knows no file system.
        said = sandbox.run(["blkid", "--probe", "--output", "export", "--offset", str(start),
                            "--size", str(size), disk], ok=(0, 2))  # fmt: skip
        told = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        found.append(Partition(start, size, told.get("TYPE", ""), told.get("UUID", ""),
                               told.get("LABEL", "")))  # fmt: skip
    return found


def _debugfs(disk: Path, part: Partition, sandbox: Sandbox, commands: str) -> str:
    return sandbox.run(["debugfs", "-f", "-", f"{disk}?offset={part.start}"], stdin=commands)


def _has(disk: Path, part: Partition, path: str, sandbox: Sandbox) -> bool:
    return "Inode:" in _debugfs(disk, part, sandbox, f"stat {path}\n")


def _dump(disk: Path, part: Partition, sandbox: Sandbox, place: Path) -> None:
    """A file system's content with owners, modes and capabilities.

    debugfs gives a file its owner after its mode, which takes away what makes it privileged, and a
    folder no sticky bit; both are asked for once more and put back.
    """
    sandbox.run(["mkdir", "-p", place])
    _debugfs(disk, part, sandbox, f'rdump / "{place}"\n')
    sandbox.run(["rm", "-rf", f"{place}/lost+found"])
    listed = sandbox.run(["find", place, "-type", "f", "-printf", "/%P\\0", "-o", "-type", "d",
                          "-printf", "/%P\\0"])  # fmt: skip
    paths = [path for path in listed.split("\0") if path]
    strange = [path for path in paths if '"' in path or "\n" in path]
    if strange:
        raise no_image(disk, f"holds a file whose name cannot be asked for: {strange[0]!r}")
    asked = "".join(f'stat "{path}"\n' for path in paths)
    told = _rights(_debugfs(disk, part, sandbox, asked))
    missing = [path for path in paths if path not in told]
    if missing:
        raise fail("tool-failed", f"debugfs says nothing of {missing[0]}", where=str(disk))
    rows = [[os.fspath(place) + path, *rights] for path, rights in told.items()]
    sandbox.run(["python3", "-I", "-c", _RESTORE], stdin=json.dumps(rows))


_RESTORE = """
import json, os, sys
for path, mode, capability in json.load(sys.stdin):
    os.chmod(path, mode)
    if capability:
        os.setxattr(path, "security.capability", bytes.fromhex(capability))
"""
_MODE = re.compile(r"^Inode: .* Mode: +(?P<mode>[0-7]+) ")
_ATTRIBUTE = re.compile(r"^ +security\.capability \(\d+\) = (?P<bytes>[0-9a-f ]+)$")


def _rights(said: str) -> dict[str, tuple[int, str]]:
    """Mode and capability of each file that debugfs was asked about; it repeats each command."""
    modes: dict[str, int] = {}
    capabilities: dict[str, str] = {}
    path = ""
    for line in said.splitlines():
        if line.startswith('debugfs: stat "'):
            path = line[len('debugfs: stat "') : -1]
        elif found := _MODE.match(line):
            modes[path] = int(found["mode"], 8)
        elif found := _ATTRIBUTE.match(line):
            capabilities[path] = found["bytes"].replace(" ", "")
    return {path: (mode, capabilities.get(path, "")) for path, mode in modes.items()}

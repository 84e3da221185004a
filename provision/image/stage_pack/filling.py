"""Writes a disk: its partition table and its file systems, filled from a tree.

It is run as a program inside the sandbox: ``python -m provision.image.stage_pack.filling`` with the
options as JSON on standard input. No loop device is needed: every tool writes at an offset of
the disk's file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.image.labels import read_labels
from provision.image.sealing import walked

MIB = 1024 * 1024
_SECTOR = 512

# What every tool writes unless it is told otherwise differs from release to release; EL 9's
# e2fsck knows all of these.
_FEATURES = "sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr"
_MORE = "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize"
MKE2FS = f"""[defaults]
base_features = {_FEATURES}
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 4096
inode_size = 256
inode_ratio = 16384
[fs_types]
ext4 = {{
    features = {_MORE}
}}
"""


@dataclass(frozen=True)
class Disk:
    """What the program is told.

    Args:
        disk: the file to write.
        layout: `provision.image.layout.Layout` as plain data.
        root: the tree.
        labels: the file with SELinux labels.
        boot: files of the partition that firmware reads, by their path in it.
        epoch: the time that everything says, in Unix seconds.
        scratch: an empty folder.
    """

    disk: str
    layout: dict[str, Any]
    root: str
    labels: str
    boot: dict[str, str]
    epoch: int
    scratch: str


def write(told: Disk) -> None:
    """Write the disk.

    Raises:
        SystemExit: a tool failed, or a file system is too small; the text says which.
    """
    disk, slots = Path(told.disk), told.layout["slots"]
    with disk.open("wb") as out:
        out.truncate(told.layout["size"])
    _run(["sfdisk", "--quiet", "--no-reread", disk], stdin=table(told.layout))
    scratch = Path(told.scratch)
    (scratch / "mke2fs.conf").write_text(MKE2FS)
    empty = scratch / "empty"
    empty.mkdir(mode=0o755)
    os.utime(empty, (told.epoch, told.epoch))
    labels = read_labels(Path(told.labels))
    # The deepest first: each is hidden before the one that it lies in is copied.
    for slot in sorted(slots, key=lambda slot: str(slot["mount"]), reverse=True):
        at = Path(told.root) / slot["mount"].lstrip("/")
        if slot["filesystem"] == "vfat":
            _fat(told, slot, scratch)
        else:
            _ext4(told, slot, at, labels, scratch)
        if slot["mount"] != "/":
            _run(["mount", "--bind", empty, at])


def table(layout: dict[str, Any]) -> str:
    """The partition table as sfdisk reads it."""
    lines = ["label: gpt", f"label-id: {layout['uuid']}", "unit: sectors", ""]
    lines += [
        f"start={slot['start'] // _SECTOR}, size={slot['size'] // _SECTOR}, type={slot['kind']},"
        f" uuid={slot['part']}, name={slot['label']}"
        for slot in layout["slots"]
    ]
    return "\n".join(lines) + "\n"


def _fat(told: Disk, slot: dict[str, Any], scratch: Path) -> None:
    """Make the file system that firmware reads, with the tree's own files and what is given."""
    _run([
        "mkfs.vfat", "--invariant", "-F", "32", "-i", slot["uuid"].replace("-", ""), "-n", "ESP",
        # Left to itself it goes by the size of the whole disk.
        "-s", str(cluster(slot["size"])),
        f"--offset={slot['start'] // _SECTOR}", told.disk, str(slot["size"] // 1024),
    ])  # fmt: skip
    files = scratch / "esp"
    tree = Path(told.root) / slot["mount"].lstrip("/")
    files.mkdir()
    if tree.is_dir():
        shutil.copytree(tree, files, dirs_exist_ok=True, copy_function=shutil.copyfile)
    for name, source in told.boot.items():
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, files / name)
    for path in [files, *(files / one for one in walked(files))]:
        os.utime(path, (told.epoch, told.epoch))
    for path in sorted(files.iterdir()):
        _run(["mcopy", "-s", "-m", "-Q", "-i", f"{told.disk}@@{slot['start']}", path, "::/"])


def cluster(size: int) -> int:
    """How many sectors a cluster of a FAT32 file system of `size` bytes has.

    FAT32 is told from FAT16 by having 65525 clusters or more (Microsoft's specification 1.03,
    section 3.5), so a small one has small clusters.

    Raises:
        SystemExit: it is too small for any.
    """
    for sectors in (8, 4, 2, 1):
        if size // (sectors * _SECTOR) >= 66_600:
            return sectors
    raise SystemExit(f"the file system that firmware reads has {size // MIB} MiB; it needs 33")


def _ext4(
    told: Disk, slot: dict[str, Any], at: Path, labels: dict[str, str], scratch: Path
) -> None:
    held = ["", *sorted(_own(at, told, slot["mount"]), key=os.fsencode)]
    # Its own variable for the time: SOURCE_DATE_EPOCH is known from version 1.47.1 on.
    env = {"MKE2FS_CONFIG": os.fspath(scratch / "mke2fs.conf"),
           "E2FSPROGS_FAKE_TIME": str(told.epoch)}  # fmt: skip
    inodes = max(slot["size"] // 16384, int(len(held) * 1.2) + 1024)
    size = f"{slot['size'] // 1024}k"
    more = (f"offset={slot['start']},hash_seed={slot['uuid']},root_owner=0:0,"
            "lazy_itable_init=0,lazy_journal_init=0,nodiscard")  # fmt: skip
    made = [
        "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1", "-N", str(inodes),
        "-U", slot["uuid"], "-L", slot["label"][:16], "-d", at,
        "-E", more, told.disk, size,
    ]  # fmt: skip
    failed = f"the file system {slot['mount']} of {slot['size'] // MIB} MiB could not be made"
    _run(made, env=env, failed=failed)
    batch = scratch / "batch"
    prefix = slot["mount"].rstrip("/")
    batch.write_text("".join(_commands(held, prefix, labels, told.epoch)),
                     errors="surrogateescape")  # fmt: skip
    said = _run(["debugfs", "-w", "-f", batch, f"{told.disk}?offset={slot['start']}"], env=env)
    # It goes on after a mistake and ends well; what it complains of has no prompt before it.
    wrong = [line for line in said.splitlines() if line and not line.startswith("debugfs")]
    if wrong:
        raise SystemExit(f"{failed}: {wrong[0]}")


def _own(at: Path, told: Disk, mount: str) -> Iterator[str]:
    """What of the tree lies in the file system mounted at `mount`, relative to it.

    Mount points are in it as empty folders; what is below them is another's.
    """
    below = [
        os.path.relpath(other["mount"], mount)
        for other in told.layout["slots"]
        if other["mount"] != mount and f"{other['mount']}/".startswith(f"{mount.rstrip('/')}/")
    ]
    for path in walked(at):
        if not any(path.startswith(f"{other}/") for other in below):
            yield path


def _commands(
    paths: Sequence[str], prefix: str, labels: dict[str, str], epoch: int
) -> Iterator[str]:
    """What debugfs is told: the times that mke2fs takes from the clock, and labels."""
    for path in ("/", "/lost+found", *(f"/{path}" for path in paths if path)):
        name = _quoted(path)
        for time in ("atime", "ctime", "crtime"):
            yield f"set_inode_field {name} {time} @{epoch}\n"
        if path in ("/", "/lost+found"):
            yield f"set_inode_field {name} mtime @{epoch}\n"
        label = labels.get(f"{prefix}{path}".rstrip("/") or "/")
        if label:
            yield f'ea_set {name} security.selinux "{label}"\n'


def _quoted(path: str) -> str:
    if "\n" in path:
        raise SystemExit(f"{path!r} holds the end of a line, which no disk's tool can be told")
    doubled = path.replace('"', '""')
    return f'"{doubled}"'


def _run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: str = "",
    env: dict[str, str] | None = None,
    failed: str = "",
) -> str:
    """Run a tool; everything that it says is returned."""
    done = subprocess.run(
        [os.fspath(word) for word in argv],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, **(env or {})},
    )
    if done.returncode != 0:
        raise SystemExit(f"{failed or f'{argv[0]} failed'}: {done.stdout.strip()}")
    return done.stdout


if __name__ == "__main__":
    write(Disk(**json.load(sys.stdin)))

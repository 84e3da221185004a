"""Writes a tree as one tar archive, with owners, labels and capabilities, the same every time.

It is run as a program inside the sandbox: ``python -m provision.image.stage_pack.archive`` with
the options as JSON on standard input; it says the digests as JSON.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, cast

from provision.image.labels import read_labels
from provision.image.sealing import walked, xattrs

_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
LEVEL = 3
"""How hard zstd compresses; level 6 makes a twentieth less in more than twice the time."""


@dataclass(frozen=True)
class Archive:
    """What the program is told.

    Args:
        root: the tree.
        target: the archive to write, compressed by zstd.
        epoch: the time of what is replaced or added, in Unix seconds.
        labels: the file with SELinux labels.
        replaced: text of files that differ from the tree's, by path without leading slash.
        added: files that are no part of the tree, by their path in it.
        only: whether nothing but what is added goes in, with its folders.
    """

    root: str
    target: str
    epoch: int
    labels: str
    replaced: dict[str, str] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)
    only: bool = False


@dataclass(frozen=True)
class Written:
    """`plain` is the sha256 before compression, `digest` after it; `size` is in bytes."""

    plain: str
    digest: str
    size: int


class _Digesting:
    """Hands on what is written, and keeps its sha256."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._written = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self._written += len(data)
        return self._stream.write(data)

    def tell(self) -> int:
        return self._written


def write(told: Archive) -> Written:
    """Write the archive.

    Raises:
        OSError: the tree cannot be read, or the archive not written.
        RuntimeError: the compression failed.
    """
    target = Path(told.target)
    # With workers the bytes do not follow from how many there are; without any they are others.
    argv = ["zstd", "--quiet", f"-{LEVEL}", "-T2", "-c"]
    with target.open("wb") as out:
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out) as process:
            assert process.stdin is not None
            stream = _Digesting(process.stdin)
            # No mode of a stream's: that copies what it holds back with every piece.
            sink = cast(IO[bytes], stream)
            form = tarfile.PAX_FORMAT
            with tarfile.TarFile(fileobj=sink, mode="w", format=form, copybufsize=1 << 20) as tar:
                fill(tar, told)
            process.stdin.close()
        if process.returncode != 0:
            raise RuntimeError(f"zstd ended with {process.returncode}")
    with target.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return Written(stream.digest.hexdigest(), digest, target.stat().st_size)


def fill(tar: tarfile.TarFile, told: Archive) -> None:
    """Add every path in the order of its bytes."""
    root = Path(told.root)
    labels = read_labels(Path(told.labels))
    first: dict[tuple[int, int], str] = {}
    for path in _paths(root, told):
        given = told.added.get(path)
        at = Path(given) if given is not None else root / path
        if not os.path.lexists(at):
            tar.addfile(_folder(path, told.epoch))  # for what is added below it
            continue
        info, about = _info(at, path), at.lstat()
        attributes = {
            f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
            for name, value in (xattrs(at) if given is None else [])
        }
        if label := labels.get(f"/{path}"):
            attributes["SCHILY.xattr.security.selinux"] = label
        info.pax_headers = attributes
        if given is not None:
            info.uid = info.gid = 0
            info.mode, info.mtime = 0o644, told.epoch
        elif path in told.replaced:
            _add_text(tar, info, told.replaced[path], told.epoch)
            continue
        elif info.isreg() and about.st_nlink > 1:
            known = first.setdefault((about.st_dev, about.st_ino), path)
            if known != path:
                info.type, info.linkname, info.size = tarfile.LNKTYPE, known, 0
        if info.isreg():
            with at.open("rb") as stream:
                tar.addfile(info, stream)
        else:
            tar.addfile(info)


def _paths(root: Path, told: Archive) -> Iterator[str]:
    found = set() if told.only else {*walked(root), *told.replaced}
    for path in told.added:
        found.add(path)
        found.update(os.fspath(one) for one in Path(path).parents if os.fspath(one) != ".")
    # A socket is a running program's; no archive holds one.
    held = (path for path in found if path in told.added or not (root / path).is_socket())
    yield from sorted(held, key=os.fsencode)


def _folder(path: str, epoch: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, epoch
    return info


def _info(at: Path, path: str) -> tarfile.TarInfo:
    about = at.lstat()
    info = tarfile.TarInfo(path)
    info.type = _TYPES[stat.S_IFMT(about.st_mode)]
    info.mode = stat.S_IMODE(about.st_mode)
    info.uid, info.gid, info.mtime = about.st_uid, about.st_gid, int(about.st_mtime)
    if info.issym():
        info.linkname = os.readlink(at)
    elif info.isreg():
        info.size = about.st_size
    elif info.isdev() and not info.isfifo():
        info.devmajor, info.devminor = os.major(about.st_rdev), os.minor(about.st_rdev)
    return info


def _add_text(tar: tarfile.TarFile, info: tarfile.TarInfo, text: str, epoch: int) -> None:

    raw = text.encode()
    info.size, info.mtime = len(raw), epoch
    tar.addfile(info, io.BytesIO(raw))


if __name__ == "__main__":
    json.dump(asdict(write(Archive(**json.load(sys.stdin)))), sys.stdout)

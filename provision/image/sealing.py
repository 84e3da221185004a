"""Takes away what makes a tree one machine's, and lists what is left.

It is run as a program inside the sandbox, where owners are true:
``python -m provision.image.sealing ROOT OUT`` with the options as JSON on standard input.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provision.image import parts
from provision.image.filelist import Entry, written
from provision.image.identity import BACKUPS, MACHINE_ID, ROWS, Treatment, matcher

_RPMDB = ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite")
_LOCKED = ("!", "!!", "*", "!*")
_DAY = 86400
_KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
}


@dataclass(frozen=True)
class Sealing:
    """What the program is told.

    `epoch` is in Unix seconds, `mounts` are where file systems are mounted, `image` is what nodes
    say of it, `planted` files of root's by path, with text and mode; without a mode, a link.
    """

    epoch: int
    mounts: list[str]
    fstab: str
    image: dict[str, str]
    planted: list[tuple[str, str, int | None]]


def main(root: Path, out: Path, told: Sealing) -> None:
    """Seal the tree at `root`; write ``files.tsv``, ``parts.json``, ``removed.tsv`` into `out`."""
    removed = clean(root)
    write_owned(root / "etc/machine-id", MACHINE_ID, 0o444)
    write_owned(root / "etc/fstab", told.fstab, 0o644)
    for mount in told.mounts:
        mount_point(root, mount)
    for name, text, mode in told.planted:
        plant(root / name.lstrip("/"), text, mode)
    accounts(root, told.epoch)
    settle_rpmdb(root)
    forget_compiled(root, told.epoch)
    home = root / "etc/holdfast"
    home.mkdir(exist_ok=True)
    (home / "image.json").unlink(missing_ok=True)
    clamp(root, told.epoch)
    found = list(entries(root))
    listing = "".join(written(found))
    (out / "files.tsv").write_text(listing, encoding="ascii")
    (out / parts.FILE).write_text(json.dumps(parts.digests(root, found)) + "\n", encoding="ascii")
    (out / "removed.tsv").write_text("".join(removed), encoding="utf-8")
    about = {**told.image, "files": hashlib.sha256(listing.encode()).hexdigest()}
    write_owned(home / "image.json", json.dumps(about, sort_keys=True) + "\n", 0o644)
    for path in (home / "image.json", home):
        os.utime(path, (told.epoch, told.epoch))


def walked(root: Path) -> Iterator[str]:
    """Every path below `root`, relative to it; no link is followed."""
    for folder, folders, files in os.walk(root):
        below = os.path.relpath(folder, root)
        for name in (*folders, *files):
            yield name if below == "." else f"{below}/{name}"


def clean(root: Path) -> list[str]:
    """Treat what `identity.ROWS` names; returns a line for each path that it found."""
    rows = [(matcher(row.pattern), row) for row in ROWS]
    done = []
    for path in sorted(walked(root)):
        for pattern, row in rows:
            if pattern.fullmatch(path) and _treat(root / path, row.treatment):
                done.append(f"{json.dumps(path)}\t{row.treatment}\t{row.why}\n")
    return done


def _treat(path: Path, treatment: Treatment) -> bool:
    """Whether there was something to do."""
    try:
        kind = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False  # it went with its folder
    folder = stat.S_ISDIR(kind)
    if treatment == "remove" or (treatment == "files" and not folder):
        remove(path)
        return True
    if treatment == "empty" and stat.S_ISREG(kind) and path.stat().st_size:
        os.truncate(path, 0)
        return True
    if treatment == "clear" and folder:
        inside = list(path.iterdir())
        for one in inside:
            remove(one)
        return bool(inside)
    return False


def remove(path: Path) -> None:
    """Remove a path, whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def write_owned(path: Path, text: str, mode: int) -> None:
    """Write a file of root's in place of whatever is there; a link is not followed."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def plant(path: Path, text: str, mode: int | None) -> None:
    """Write a file of root's and the folders that it needs; without a mode, a link to `text`."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
    if mode is not None:
        write_owned(path, text, mode)
        return
    path.unlink(missing_ok=True)
    path.symlink_to(text)


def mount_point(root: Path, mount: str) -> None:
    """See that something can be mounted there; what is there already stays as it is.

    Raises:
        NotADirectoryError: something else is in its place.
    """
    at = root
    for part in mount.strip("/").split("/"):
        at /= part
        if at.is_symlink():
            raise NotADirectoryError(f"{at.relative_to(root)} is a link, and {mount} is to be"
                                     " a file system of its own")  # fmt: skip
        if not at.exists():
            at.mkdir()
            at.chmod(0o1777 if at.name == "tmp" else 0o755)


def accounts(root: Path, epoch: int) -> None:
    """Lock root's password, date changes of passwords no later than `epoch`, renew the backups."""
    shadow = root / "etc/shadow"
    if shadow.is_file() and not shadow.is_symlink():
        lines = [_account(line, epoch // _DAY) for line in shadow.read_text().splitlines()]
        _rewrite(shadow, "".join(f"{line}\n" for line in lines))
    for name in BACKUPS:
        now, before = root / "etc" / name, root / "etc" / f"{name}-"
        if now.is_file() and before.is_file() and not before.is_symlink():
            _rewrite(before, now.read_text())


def _account(line: str, day: int) -> str:
    cells = line.split(":")
    if len(cells) < 3:
        return line
    if cells[0] == "root" and cells[1] not in _LOCKED:
        cells[1] = "!"
    if cells[2].isdigit() and int(cells[2]) > day:
        cells[2] = str(day)
    return ":".join(cells)


def _rewrite(path: Path, text: str) -> None:
    # In place: owner, mode and labels stay.
    with path.open("r+", encoding="utf-8") as stream:
        stream.truncate(0)
        stream.write(text)


def settle_rpmdb(root: Path) -> None:
    """Bring what waits beside the package database into it, and lay it out afresh."""
    for name in _RPMDB:
        path = root / name
        if path.is_symlink() or not path.is_file() or path.resolve() != root.resolve() / name:
            continue
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def forget_compiled(root: Path, epoch: int) -> None:
    """Remove compiled Python that the build itself made: two compilations differ in their bytes.

    What a package brought is as old as the package, and stays.
    """
    for path in [root / one for one in walked(root) if one.endswith(".pyc")]:
        if path.lstat().st_mtime > epoch:
            path.unlink()
            with contextlib.suppress(OSError):
                path.parent.rmdir()  # only where it is empty


def clamp(root: Path, epoch: int) -> None:
    """Let nothing be younger than `epoch`, and every time be a whole second."""
    for path in [root, *(root / one for one in walked(root))]:
        seconds = min(int(path.lstat().st_mtime), epoch)
        os.utime(path, (seconds, seconds), follow_symlinks=False)


def entries(root: Path) -> Iterator[Entry]:
    """What `files.tsv` says, in no order; see `provision.image.filelist`."""
    yield _entry(root, "/")
    for path in walked(root):
        yield _entry(root / path, f"/{path}")


def _entry(at: Path, path: str) -> Entry:
    about = at.lstat()
    kind = _KINDS[stat.S_IFMT(about.st_mode)]
    holds = "-"
    if kind == "f":
        holds = sha256(at)
    elif kind == "l":
        holds = os.readlink(at)
    elif kind in "cb":
        holds = f"{os.major(about.st_rdev)}:{os.minor(about.st_rdev)}"
    return Entry(
        path,
        kind,
        stat.S_IMODE(about.st_mode),
        about.st_uid,
        about.st_gid,
        about.st_size if kind == "f" else 0,
        holds,
        ",".join(f"{name}={value.hex()}" for name, value in xattrs(at)) or "-",
    )


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def xattrs(path: Path) -> list[tuple[str, bytes]]:
    """Extended attributes by name. SELinux's are left out: stage label decides about them."""
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return [
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in names
        if name != "security.selinux"
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Sealing(**json.load(sys.stdin)))

"""Whether the files of a folder are the artefacts that a stack lock pins, byte by byte.

The folder has the layout in which an origin serves: RPMs below their repository's path, image
archives and models at the paths the lock gives, wheels in ``wheels/``. A file that is not there
is `unknown`, never a pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provision.core.files import sha256_of
from provision.supply.model import StackLock
from provision.verdict.model import Status


@dataclass(frozen=True)
class Pinned:
    """A file that a lock pins. `path` is relative to the folder; `size` None: not pinned."""

    kind: str
    name: str
    path: str
    sha256: str
    size: int | None = None


@dataclass(frozen=True)
class Checked:
    """What was seen of a pinned file."""

    pinned: Pinned
    status: Status
    seen: str
    action: str = ""


def pinned_files(lock: StackLock) -> Iterator[Pinned]:
    """Every file that `lock` pins, in the lock's order."""
    paths = {(r.id, r.release): r.path for r in lock.repositories}
    for rpm in lock.rpms:
        path = f"{paths[rpm.repository, rpm.el]}/{rpm.filename}"
        yield Pinned("rpm", rpm.nevra, path, rpm.sha256, rpm.size)
    for image in lock.images:
        archive = image.archive
        yield Pinned("image", image.name, archive.path, archive.sha256, archive.size)
    for model in lock.models:
        for file in model.files:
            path = f"{model.path}/{file.path}"
            yield Pinned("model", f"{model.name}: {file.path}", path, file.sha256, file.size)
    for wheel in lock.wheels:
        yield Pinned(
            "wheel", f"{wheel.name} {wheel.version}", f"wheels/{wheel.filename}", wheel.sha256
        )


def check_files(lock: StackLock, folder: Path) -> Iterator[Checked]:
    """Look at every pinned file below `folder`, one at a time."""
    for pinned in pinned_files(lock):
        yield check_file(pinned, folder)


def check_file(pinned: Pinned, folder: Path) -> Checked:
    """Compare one file's size, then its bytes, with what is pinned."""
    path = folder / pinned.path
    try:
        size = path.stat().st_size
        if pinned.size is not None and size != pinned.size:
            seen = f"{size} bytes instead of {pinned.size}"
            return Checked(pinned, Status.FAIL, seen, _FETCH_AGAIN)
        found = sha256_of(path)
    except FileNotFoundError:
        return Checked(pinned, Status.UNKNOWN, "not there", "fetch it, or name its folder")
    except OSError as error:
        seen = f"cannot be read: {error.strerror}"
        return Checked(pinned, Status.UNKNOWN, seen, "make it readable, then look again")
    if found != pinned.sha256:
        return Checked(pinned, Status.FAIL, f"sha256 {found}", _FETCH_AGAIN)
    return Checked(pinned, Status.PASS, f"sha256 {found}")


_FETCH_AGAIN = "these are other bytes than the lock pins: do not use them; fetch the file again"

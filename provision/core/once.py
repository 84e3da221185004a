"""Things that are made once and kept, named by the digest of what they were made from."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from provision.core.files import write_whole
from provision.core.locks import FileLock, Held
from provision.core.problems import fail

WHOLE = ".whole"
"""The file in a kept folder that says that all of it is there."""
PATIENCE_S = 3600.0
"""How long one process waits for another that makes the same."""


def digest_of(parts: Iterable[bytes]) -> str:
    """The first 16 hex digits of the sha256 over `parts`; enough to name a cache entry."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()[:16]


def source_of(*modules: ModuleType) -> list[bytes]:
    """The text of the modules whose work is kept; another text makes another entry."""
    return [Path(module.__file__ or "").read_bytes() for module in modules]


def is_whole(final: Path) -> bool:
    """Whether a folder is there that `made_once` made."""
    return (final / WHOLE).exists()


def made_once(
    final: Path,
    make: Callable[[Path], None],
    says: Callable[[str], None],
    remove: Callable[[Path], None] | None = None,
) -> bool:
    """Let `make` fill the folder `final` when it is not there yet; returns whether it did.

    `make` fills a folder beside it that takes the final name only when it is whole, so a build
    that was killed leaves nothing that looks finished. Two processes that want the same folder
    wait for each other.

    Args:
        final: the folder; what holds it is made when missing.
        make: is given the empty folder ``<final>.part``.
        says: is told ``start`` and ``end`` around `make`.
        remove: removes what a killed build left; `remove_tree` when absent.

    Raises:
        HoldfastError: making it failed, or another process held it for an hour.
    """
    if is_whole(final):
        return False
    final.parent.mkdir(parents=True, exist_ok=True)
    part, lock = (final.with_name(final.name + suffix) for suffix in (".part", ".lock"))
    try:
        with FileLock(lock, {"makes": final.name}, wait=PATIENCE_S):
            if is_whole(final):
                return False
            says("start")
            (remove or remove_tree)(part)
            part.mkdir()
            make(part)
            write_whole(part / WHOLE, "")
            part.rename(final)
            says("end")
    except Held as held:
        raise fail(
            "locked",
            f"another process has been building {final.name} for over an hour: {held.holder}",
            hint=f"look at process {held.holder.get('pid')}; the lock ends with it",
        ) from held
    return True


def remove_tree(path: Path) -> None:
    """Remove a folder and everything in it; a folder that is not there is fine.

    Raises:
        HoldfastError: something is still mounted there or below.
    """
    if not path.exists():
        return
    below = f"{path.resolve()}/"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount = _unescaped(line.split()[4])
        if f"{mount}/".startswith(below):
            raise fail("still-mounted", f"{mount} is mounted, so {path} stays", where=str(path))
    shutil.rmtree(path)


def _unescaped(field: str) -> str:
    """A path out of mountinfo, which writes a space as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)

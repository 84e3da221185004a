"""Things that are made once and kept, named by the digest of what they were made from."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from provision.core.events import Event, EventSink
from provision.core.files import write_whole
from provision.core.locks import FileLock, Held
from provision.core.paths import cache_home
from provision.core.problems import fail


def digest_of(parts: Iterable[bytes]) -> str:
    """The first 16 hex digits of the sha256 over `parts`; enough to name a cache entry."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()[:16]


def source_of(*modules: ModuleType) -> list[bytes]:
    """The text of the modules whose work is kept; another text makes another entry."""
    return [Path(module.__file__ or "").read_bytes() for module in modules]


def made_once(
    name: str,
    key: str,
    make: Callable[[Path], None],
    events: EventSink,
    *,
    says: str,
) -> Path:
    """The folder ``<cache>/rehearsal/<name>-<key>``, made by `make` when it is not there yet.

    `make` fills a folder beside it that takes the final name only when it is whole, so a build
    that was killed leaves nothing that looks finished. Two processes that want the same folder
    wait for each other.

    Raises:
        HoldfastError: making it failed, or another process held it for an hour.
    """
    home = cache_home() / "rehearsal"
    home.mkdir(parents=True, exist_ok=True)
    final = home / f"{name}-{key}"
    if (final / ".whole").exists():
        return final
    try:
        with FileLock(home / f"{name}-{key}.lock", {"makes": name}, wait=3600):
            if (final / ".whole").exists():
                return final
            step = {"step": name, "says": says}
            events.emit(Event("rehearsal.step", data={**step, "state": "start"}))
            part = home / f"{name}-{key}.part"
            remove_tree(part)
            part.mkdir()
            make(part)
            write_whole(part / ".whole", "")
            part.rename(final)
            events.emit(Event("rehearsal.step", data={**step, "state": "end"}))
    except Held as held:
        raise fail(
            "locked",
            f"another process has been building {final.name} for over an hour: {held.holder}",
            hint=f"look at process {held.holder.get('pid')}; the lock ends with it",
        ) from held
    return final


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

"""Where the outputs of stages are kept, by what they were made from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.core.locks import FileLock, Held
from provision.core.once import WHOLE, is_whole, made_once
from provision.core.paths import cache_home
from provision.image.sandbox import Sandbox

RECORD = "stage.json"
"""In each kept output: what it was made from, and how long that took."""

KEPT = 4
"""How many outputs of a stage are kept that nobody used for long."""
IDLE_S = 24 * 3600.0
"""After how many seconds without use an output may go."""


@dataclass(frozen=True)
class Store:
    """A folder of stage outputs; below ``$XDG_CACHE_HOME/holdfast`` unless told otherwise."""

    home: Path

    def place(self, stage: str, identity: str) -> Path:
        """Where the output of a stage of this id is, or would be."""
        return self.home / f"{stage}-{identity[:16]}"

    def get(
        self,
        stage: str,
        identity: str,
        make: Callable[[Path], None],
        record: Mapping[str, Any],
    ) -> tuple[Path, bool]:
        """The output of a stage, made when it is not there yet; and whether it was made now.

        Raises:
            HoldfastError: making it failed; nothing of it is left that looks finished.
        """
        final = self.place(stage, identity)

        def fill(part: Path) -> None:
            begun = time.monotonic()
            out = part / "out"
            out.mkdir()
            try:
                make(out)
            except Exception:
                # It is nobody's any more, and may be large.
                Sandbox().remove(part)
                raise
            body = {**record, "seconds": round(time.monotonic() - begun, 3)}
            (part / RECORD).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")

        made = made_once(final, fill, lambda _: None, Sandbox().remove)
        return final / "out", made

    def entries(self) -> list[Path]:
        """Every whole output that is kept, the oldest first."""
        if not self.home.is_dir():
            return []
        found = [path for path in self.home.iterdir() if is_whole(path)]
        return sorted(found, key=lambda path: (path / WHOLE).stat().st_mtime)

    def prune(self, kept: int = KEPT, idle_s: float = IDLE_S) -> list[Path]:
        """Remove what nobody has used for long, and what killed builds left; returns what went.

        Of each stage the `kept` outputs that were used last stay, and all that were used within
        `idle_s` seconds, because another build may be reading them.
        """
        found: dict[str, list[Path]] = {}
        for path in reversed(self.entries()):
            found.setdefault(path.name.rpartition("-")[0], []).append(path)
        before = time.time() - idle_s
        old = [path for paths in found.values() for path in paths[kept:]
               if (path / WHOLE).stat().st_mtime < before]  # fmt: skip
        gone = []
        for path in [*old, *self._left()]:
            lock = path.with_name(path.name.removesuffix(".part") + ".lock")
            try:
                with FileLock(lock, {"removes": path.name}):
                    Sandbox().remove(path)
            except Held:
                continue
            gone.append(path)
        return gone

    def _left(self) -> list[Path]:
        """What builds were filling; those that still do hold its lock."""
        return sorted(self.home.glob("*.part")) if self.home.is_dir() else []

    def used(self, stage: str, identity: str) -> None:
        """Note that an output was used now: `prune` takes those first that were not for long."""
        (self.place(stage, identity) / WHOLE).touch()


def default_store() -> Store:
    """The store of this user."""
    return Store(cache_home() / "image")

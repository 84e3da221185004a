"""What one audit keeps for the next: counters, log events, children that were left behind.

All of it belongs to one boot. After a restart, and after anything that makes a counter go back,
a new window begins.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = "holdfast.health.state/1"
NAME = "state.json"
_LOCK = "lock"
_ABANDONED_S = 600.0


class Busy(Exception):
    """Another audit is running; the message says which."""


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Write `text` so that a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the folder is missing, not writable, or full; `path` is then untouched.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


@contextlib.contextmanager
def alone(folder: Path | None) -> Iterator[None]:
    """Hold the folder for one audit.

    Raises:
        Busy: another audit holds it.
        OSError: the folder cannot be made or written.
    """
    if folder is None:
        yield
        return
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Kept open, so that a killed audit frees it; not inherited by what probes start.
    with (folder / _LOCK).open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise Busy(f"another audit is running: process {holder}") from error
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        _sweep(folder)
        yield


def _sweep(folder: Path) -> None:
    """Remove what killed writers left: the beginnings of files that never got their name."""
    for path in folder.glob(".*.????????"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()


@dataclass
class Rate:
    """How much a counter grew in a window.

    `whole` is true when the window is all the time since the counter began, because there is no
    earlier sample of this boot: the growth is then the counter itself, the time not known.
    """

    growth: float
    seconds: float
    whole: bool

    def per_minute(self) -> float:
        """Growth a minute; only of a window between two samples."""
        return self.growth * 60 / self.seconds if self.seconds else 0.0


@dataclass
class State:
    """What is kept. `note` says why an earlier state was not used."""

    boot: str
    now: float
    samples: dict[str, list[float]] = field(default_factory=dict)
    log: dict[str, Any] = field(default_factory=dict)
    left_behind: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    _new: dict[str, list[float]] = field(default_factory=dict)

    def rate(self, name: str, value: float) -> Rate:
        """How a counter grew since the sample that an earlier audit kept; keeps this one."""
        before = self.samples.get(name)
        self._new[name] = [value, self.now]
        if before is None or value < before[0] or self.now - before[1] <= 0:
            return Rate(value, 0.0, whole=True)
        if self.now - before[1] < 1.0:
            self._new[name] = before  # too short to say anything: the old sample stays
        return Rate(value - before[0], self.now - before[1], whole=False)

    def to_json(self) -> dict[str, Any]:
        """What is written."""
        return {
            "schema": SCHEMA,
            "boot": self.boot,
            "samples": {**self.samples, **self._new},
            "log": self.log,
            "left_behind": self.left_behind,
        }


def boottime() -> float:
    """Seconds since the node started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def load(folder: Path | None, boot: str) -> State:
    """The state of an earlier audit of this boot, or a new one."""
    now = boottime()
    if folder is None:
        return State(boot, now, note="nothing is kept between audits")
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            return State(boot, now, note=f"the kept state is of another kind: {found['schema']}")
        behind = [x for x in found["left_behind"] if _lives(x)]
        if found["boot"] != boot:
            return State(boot, now, left_behind=[], note="the node was restarted")
        samples = {str(k): [float(v[0]), float(v[1])] for k, v in found["samples"].items()}
        return State(boot, now, samples, dict(found["log"]), behind)
    except FileNotFoundError:
        return State(boot, now, note="there is no earlier audit")
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return State(boot, now, note=f"the kept state cannot be read: {error}")


def save(folder: Path | None, state: State) -> None:
    """Keep the state for the next audit.

    Raises:
        OSError: it cannot be written.
    """
    if folder is not None:
        write_whole(folder / NAME, json.dumps(state.to_json()) + "\n", 0o600)


def born(pid: int) -> str:
    """When a process began, in the kernel's clock ticks; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rsplit(")", 1)[-1].split()[19]


def _lives(behind: dict[str, Any]) -> bool:
    return bool(behind["born"]) and born(int(behind["pid"])) == behind["born"]

"""Advisory locks that die with their process and say who holds them."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Held(Exception):
    """The lock is held by another process; `holder` is what that process wrote about itself."""

    def __init__(self, path: Path, holder: dict[str, Any]) -> None:
        super().__init__(f"{path} is held by {holder or 'another process'}")
        self.path = path
        self.holder = holder


class FileLock:
    """An exclusive flock on `path`; the file's text names the holder.

    Args:
        path: the lock file, created when missing.
        holder: what to say about this process; pid and start (Unix seconds) are added.
        wait: seconds to wait for a holder to let go; 0 does not wait.

    Raises (on entry):
        Held: somebody else has it.
    """

    def __init__(self, path: Path, holder: dict[str, Any] | None = None, wait: float = 0.0) -> None:
        self.path = path
        self.wait = wait
        self.holder = {**(holder or {}), "pid": os.getpid(), "since": time.time()}
        self._handle: int | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + self.wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = _read_holder(handle)
                    os.close(handle)
                    raise Held(self.path, holder) from None
                time.sleep(0.1)
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(self.holder).encode(), 0)
        self._handle = handle
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None


def _read_holder(handle: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(handle, 65536, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

"""What every probe uses. Runs on the node: Python 3.9, standard library only."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

MAX_OUTPUT = 4 << 20
PATIENCE = 1
"""How many times longer than usual a command may take here; set before a probe is loaded."""
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "SYSTEMD_COLORS": "0",
}
_PROPERTIES = (
    "LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts,Restart,"
    "ExecStart,ExecStartPre,WantedBy,NeedDaemonReload"
)


class Unseen(Exception):
    """A part of the node that could not be looked at."""


class Absent(Unseen):
    """What was looked for is not there; that is evidence, unlike not having looked."""


def run(argv: list[str], ok: tuple[int, ...] = (0,), timeout: float = 60.0) -> str:
    """What a command prints.

    Raises:
        Unseen: it is not there, ended with a status not in `ok`, or took longer than `timeout` s,
            on a node that may be slow so many times longer.
    """
    shown = " ".join(argv[:3])
    timeout *= PATIENCE
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env=ENVIRONMENT,
            check=False,
        )
    except FileNotFoundError as error:
        raise Unseen(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Unseen(f"{shown} did not end within {timeout:g} s") from error
    except OSError as error:
        raise Unseen(f"{argv[0]} cannot be run: {error}") from error
    if done.returncode not in ok:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise Unseen(f"{shown} ended with {done.returncode}: {said[-300:]}")
    return done.stdout[:MAX_OUTPUT].decode("utf-8", "replace")


def run_json(argv: list[str], ok: tuple[int, ...] = (0,)) -> Any:
    """The JSON that a command prints.

    Raises:
        Unseen: as `run`, or the output is not JSON.
    """
    text = run(argv, ok)
    try:
        return json.loads(text)
    except ValueError as error:
        raise Unseen(f"{' '.join(argv[:3])} did not print JSON: {text[:80]!r}") from error


def read(path: str | Path) -> str:
    """The text of a file.

    Raises:
        Unseen: it cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_OUTPUT).decode("utf-8", "replace")
    except OSError as error:
        raise Unseen(f"{path}: {error.strerror}") from error


def read_own(path: str | Path) -> str:
    """The text of a file that a role must have written.

    Raises:
        Absent: it is not there.
        Unseen: it cannot be read.
    """
    if not Path(path).exists():
        raise Absent(f"{path} is not there")
    return read(path)


def unit(name: str) -> dict[str, str]:
    """What systemd holds of a unit; a unit that is not there has LoadState not-found."""
    shown: dict[str, str] = {}
    for line in run(["systemctl", "show", f"--property={_PROPERTIES}", "--", name]).splitlines():
        key, _, value = line.partition("=")
        shown[key] = f"{shown[key]}\n{value}" if key in shown else value
    return shown


def listeners() -> list[dict[str, Any]]:
    """Listening TCP sockets: address, port, and the processes that hold them."""
    found: list[dict[str, Any]] = []
    for line in run(["ss", "-Hltnp"]).splitlines():
        words = line.split(None, 5)
        if len(words) < 5:
            continue
        address, _, port = words[3].rpartition(":")
        users = words[5] if len(words) > 5 else ""
        pids = [int(p.split(",")[0].split(")")[0]) for p in users.split("pid=")[1:]]
        host = address.strip("[]").split("%")[0]
        names = users.split('"')[1::2]
        found.append({"address": host, "port": int(port), "pids": pids, "names": names})
    return found


def children(pid: int) -> list[int]:
    """A process and everything below it."""
    found = [pid]
    try:
        tasks = [entry.name for entry in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return found
    for task in tasks:
        try:
            below = read(f"/proc/{pid}/task/{task}/children").split()
        except Unseen:
            continue
        for child in below:
            found.extend(children(int(child)))
    return found


class _Part:
    """One part of what is seen: its value, or what went wrong inside, as words."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}

    def __enter__(self) -> dict[str, Any]:
        return self.said

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, Absent):
            self.said["absent"] = str(error)
        elif isinstance(error, Unseen):
            self.said["error"] = str(error)
        elif isinstance(error, Exception):
            self.said["error"] = f"{type(error).__name__}: {error}"
        return isinstance(error, Exception)


def gather(parts: dict[str, Callable[[], Any]]) -> dict[str, dict[str, Any]]:
    """Each part's value, or why there is none; one part that fails spoils no other."""
    seen: dict[str, dict[str, Any]] = {}
    for name, look in parts.items():
        with _Part() as said:
            said["value"] = look()
        seen[name] = said
    return seen

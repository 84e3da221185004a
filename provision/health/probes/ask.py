"""What a probe gets to look with, and how it says what it saw.

A probe is a function that takes an `Ask`. It runs in a forked child; what it says goes to the
audit line by line, so that a child that is stopped has told all that it saw before.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = {
    "missing": "it is not there",
    "not_supported": "it is not supported",
    "no_permission": "permission was denied",
    "gone": "the GPU does not answer any more",
    "mismatch": "versions do not fit",
    "timeout": "it did not answer in time",
    "hang": "the look was stopped, because it did not end",
    "crash": "the look crashed",
    "truncated": "the answer ended early",
    "not_looked": "it was not looked at",
    "error": "it answered with an error",
}
"""Why something was not seen."""

RECORDED = "@commands"
"""In a tree that is looked at instead of the running system: the commands as they answered."""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
_HEADER = struct.Struct("=Qdd")
_PAGE = 512


class Failed(Exception):
    """A file or command could not be read; `kind` is one of `KINDS`."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


class Ended(Failed):
    """A command ended with an error after what it had said; `said` is its complaint."""

    def __init__(self, name: str, status: int, said: str) -> None:
        last = f": {said.splitlines()[-1][:200]}" if said else ""
        super().__init__("truncated", f"{name} ended with {status}{last}")
        self.said = said


class Progress:
    """What a child is doing just now, in memory that its parent can read while it hangs."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _PAGE)
        self._count = 0

    def doing(self, what: str, slow: float = 1.0) -> None:
        """Say what is begun, and how many times longer than a usual step it may take."""
        self._count += 1
        text = what.encode("utf-8", "replace")[: _PAGE - _HEADER.size - 1] + b"\0"
        self._page[_HEADER.size : _HEADER.size + len(text)] = text
        self._page[: _HEADER.size] = _HEADER.pack(self._count, time.monotonic(), slow)

    def read(self) -> tuple[float, float, str]:
        """When the last thing was begun (monotonic), how slow it may be, and what it is."""
        _, since, slow = _HEADER.unpack(self._page[: _HEADER.size])
        text = self._page[_HEADER.size :].split(b"\0", 1)[0]
        return since, slow, text.decode("utf-8", "replace")


@dataclass
class Ask:
    """What a probe is told: where to look, what is declared, what an earlier audit kept.

    `numbers` are for programs that put GPUs under load: `count` of GPUs, least `memory` bandwidth.
    """

    tell: Callable[[bytes], None]
    progress: Progress
    root: Path = Path("/")
    declared: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()
    library: str = ""
    journal: str = ""
    boot: str = ""
    patience: float = 1.0
    numbers: dict[str, float] = field(default_factory=dict)

    def say(self, part: str, value: Any) -> None:
        """Tell a part of what was seen."""
        self.tell(json.dumps({"p": part, "v": value}).encode() + b"\n")

    def fail(self, part: str, kind: str, reason: str) -> None:
        """Tell why a part was not seen."""
        self.tell(json.dumps({"p": part, "k": kind, "r": reason}).encode() + b"\n")

    def see(self, part: str, look: Callable[[], Any]) -> Any:
        """Tell what `look` returns, or why it could not; returns it, or None."""
        self.progress.doing(part)
        try:
            value = look()
        except Failed as error:
            self.fail(part, error.kind, error.reason)
        except PermissionError as error:
            self.fail(part, "no_permission", str(error))
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            self.fail(part, "error", f"{type(error).__name__}: {error}")
        else:
            self.say(part, value)
            return value
        return None

    def path(self, name: str) -> Path:
        """A file of the node."""
        return self.root / name.lstrip("/")

    def text(self, name: str, limit: int = 1 << 20) -> str:
        """What a file holds, without space at its ends.

        Raises:
            Failed: it cannot be read.
        """
        try:
            with self.path(name).open("rb") as stream:
                data = stream.read(limit + 1)
        except FileNotFoundError as error:
            raise Failed("missing", f"{name} is not there") from error
        except PermissionError as error:
            raise Failed("no_permission", f"{name}: permission denied") from error
        except OSError as error:
            raise Failed("error", f"{name}: {error.strerror or error}") from error
        if len(data) > limit:
            raise Failed("truncated", f"{name} is longer than the {limit} bytes that are read")
        return data.decode("utf-8", "replace").strip()

    def maybe(self, name: str, default: str = "") -> str:
        """What a file holds, or `default` where there is no such file.

        Raises:
            Failed: it is there and cannot be read.
        """
        try:
            return self.text(name)
        except Failed as error:
            if error.kind == "missing":
                return default
            raise

    def names(self, folder: str) -> list[str]:
        """The entries of a folder, sorted; none where there is no such folder.

        Raises:
            Failed: it cannot be read.
        """
        try:
            return sorted(entry.name for entry in self.path(folder).iterdir())
        except FileNotFoundError:
            return []
        except PermissionError as error:
            raise Failed("no_permission", f"{folder}: permission denied") from error
        except OSError as error:
            raise Failed("error", f"{folder}: {error.strerror or error}") from error

    def run(self, argv: Sequence[str], limit: float = 4.0, *, any_status: bool = False) -> str:
        """What a command prints.

        In a tree that is looked at instead of the running system only its recorded commands
        are there.

        Raises:
            Failed: it is not there, does not end in time, or ends with an error.
        """
        program, environment = self.program(argv[0])
        # Less than a probe's own deadline, so that a command that hangs costs no other answer.
        limit *= self.patience
        try:
            ended = subprocess.run(
                [program, *argv[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed("timeout", f"{argv[0]} did not end within {limit:g} s") from error
        except OSError as error:
            raise Failed("error", f"{argv[0]}: {error.strerror or error}") from error
        if ended.returncode and not any_status:
            said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
            last = f": {said[-1][:200]}" if said else ""
            raise Failed("error", f"{argv[0]} ended with {ended.returncode}{last}")
        return ended.stdout.decode("utf-8", "replace")

    @contextlib.contextmanager
    def stream(self, argv: Sequence[str]) -> Iterator[Iterator[str]]:
        """The lines of a command that may say much, as they come; it ends with the block.

        Whoever reads to the last line is told when the command failed before its own end.

        Raises:
            Failed: the command is not there, or ended with an error.
        """
        program, environment = self.program(argv[0])
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [program, *argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
            assert process.stdout is not None

            def lines() -> Iterator[str]:
                assert process.stdout is not None
                for line in process.stdout:
                    yield line.decode("utf-8", "replace")
                if process.wait():
                    errors.seek(0)
                    said = errors.read(2000).decode("utf-8", "replace").strip()
                    raise Ended(argv[0], process.returncode, said)

            try:
                yield lines()
            finally:
                process.stdout.close()
                process.kill()
                process.wait()

    def program(self, name: str) -> tuple[str, dict[str, str]]:
        """Where a command lies, and the environment that it gets.

        Raises:
            Failed: it is not there.
        """
        search = _PATH if self.root == Path("/") else str(self.root / RECORDED)
        program = shutil.which(name, path=search)
        if program is None:
            raise Failed("missing", f"the command {name} is not there")
        environment = {"PATH": f"{search}:{_PATH}", "LC_ALL": "C", "SYSTEMD_COLORS": "0"}
        return program, environment

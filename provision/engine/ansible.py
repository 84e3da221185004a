"""Runs ansible-playbook as a child process and hands on what its callback writes.

The child works in its own process group, so that a Ctrl-C on the terminal reaches only us and
we decide what it becomes: SIGINT and some grace, then SIGTERM. It is never killed: SIGKILL
leaves ansible's workers running (measured).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.core.files import write_whole
from provision.core.shown import printable
from provision.engine.environment import Place, configuration, environment
from provision.engine.processes import ProcessId, leashed

Line = dict[str, Any]
"""One line of the callback's file."""

GRACE_SECONDS = 30.0
"""How long ansible may take to end after SIGINT before it gets SIGTERM."""

TERM_SECONDS = 15.0
"""How long ansible may take to end after SIGTERM before we stop waiting for it."""

POLL_SECONDS = 0.1

_SOCKETS = "holdfast-"


@dataclass(frozen=True)
class Outcome:
    """How one ansible-playbook process ended.

    `status` is its exit status, negative for a signal; it is a cross-check only, since 4 means
    both "unreachable" and "the playbook does not parse". `finished` says that the run reached
    its own end, `interrupted` that we were asked to stop it, `log` is what it printed.
    """

    name: str
    status: int
    finished: bool
    interrupted: bool
    log: Path

    def last_words(self, lines: int = 12) -> str:
        """The end of what ansible printed, for when it did not even start."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        # Nodes' words are among them, and a terminal would obey what is not printable.
        return "\n".join(printable(line) for line in text.strip().splitlines()[-lines:])


class Ansible:
    """Runs playbooks for one run.

    Args:
        place: where the processes work.
        started: called with a name and the identity of each process as soon as it runs.
        grace: seconds between SIGINT and SIGTERM.
    """

    def __init__(
        self,
        place: Place,
        started: Callable[[str, ProcessId], None] | None = None,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self.place = place
        self.grace = grace
        self._started = started
        self._count = _last_number(place.folder)
        for folder in (place.folder, place.folder / "home", place.folder / "tmp"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(place.config, configuration(place), mode=0o600)

    def run(
        self,
        name: str,
        playbook: Path,
        take: Callable[[Line], None],
        *,
        limit: Sequence[str],
        variables: Mapping[str, Any] | None = None,
        check: bool = False,
    ) -> Outcome:
        """Run a playbook on the nodes of `limit` and hand every line of its callback to `take`.

        An interrupt (Ctrl-C) ends the child in good order and is then reported in the outcome
        instead of being raised.

        Raises:
            OSError: the run folder cannot be written, or the interpreter cannot be started.
        """
        self._count += 1
        stem = self.place.folder / f"{self._count:02d}-{name}"
        events = stem.with_suffix(".jsonl")
        events.touch(mode=0o600)
        told = {**self.place.variables, **(variables or {})}
        argv = self._argv(stem, playbook, limit, told, check)
        log = stem.with_suffix(".log")
        with open(log, "ab", opener=_private) as output:
            child = subprocess.Popen(
                leashed(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(self.place, events),
                cwd=self.place.folder,
                process_group=0,
            )
        identity = ProcessId.of(child.pid)
        if self._started is not None and identity is not None:
            self._started(name, identity)
        seen = _Seen(take)
        interrupted = self._attend(child, events, seen)
        return Outcome(name, child.returncode, seen.finished, interrupted, log)

    def _argv(
        self,
        stem: Path,
        playbook: Path,
        limit: Sequence[str],
        variables: Mapping[str, Any],
        check: bool,
    ) -> list[str]:
        # Names go through a file: hundreds of them do not fit on a command line.
        nodes = stem.with_suffix(".limit")
        write_whole(nodes, "".join(f"{node}\n" for node in limit), mode=0o600)
        # The diff is where the callback reads what was changed, so that a plan and what came of
        # it are told in the same words.
        argv = [sys.executable, "-P", "-m", "ansible", "playbook", "--diff"]
        argv += ["--inventory", os.fspath(self.place.inventory), "--limit", f"@{nodes}"]
        if variables:
            values = stem.with_suffix(".vars.json")
            write_whole(values, json.dumps(variables, indent=1), mode=0o600)
            argv += ["--extra-vars", f"@{values}"]
        if check:
            argv += ["--check"]
        return [*argv, os.fspath(playbook)]

    def _attend(self, child: subprocess.Popen[bytes], events: Path, seen: _Seen) -> bool:
        """Follow the child until it ends; whether we were interrupted meanwhile."""
        interrupts = 0
        deadline = float("inf")
        termed = False
        tail = Tail(events)
        while True:
            try:
                ended = child.poll() is not None
                # Read after the poll, so that the last lines of an ended child are not missed.
                # The end of the child is what counts, never the end of the file: orphaned
                # workers can hold it open for a long time.
                for line in tail.lines():
                    seen(line)
                if ended:
                    return interrupts > 0
                if time.monotonic() > deadline:
                    if termed:
                        raise TimeoutError(f"ansible (process {child.pid}) does not end on SIGTERM")
                    child.send_signal(signal.SIGTERM)
                    termed, deadline = True, time.monotonic() + TERM_SECONDS
                time.sleep(POLL_SECONDS)
            except KeyboardInterrupt:
                interrupts += 1
                child.send_signal(signal.SIGINT if interrupts == 1 else signal.SIGTERM)
                termed = interrupts > 1
                deadline = time.monotonic() + (TERM_SECONDS if termed else self.grace)
            except BaseException:
                # Whatever went wrong on our side, ansible must not work on without us.
                child.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                    child.wait(timeout=self.grace)
                raise

    def disconnect(self) -> None:
        """Close the ssh connections that were kept open between playbooks."""
        close_connections(self.place.sockets)

    def close(self) -> None:
        """Close all connections and remove the folder of their sockets."""
        self.disconnect()
        shutil.rmtree(self.place.sockets, ignore_errors=True)


def close_connections(sockets: Path) -> None:
    """End the ssh processes that keep connections open in this folder of control sockets."""
    for socket in sockets.glob("*"):
        if not socket.is_socket():
            continue
        argv = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "holdfast"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(argv, capture_output=True, timeout=5, check=False)
        socket.unlink(missing_ok=True)


class Tail:
    """Reads whole lines of a growing JSON file; a half-written last line waits for its rest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._rest = b""

    def lines(self) -> Iterator[Line]:
        """The lines that came since the last call; a line that is not JSON is left out."""
        with open(self.path, "rb") as stream:
            stream.seek(self._offset)
            chunk = stream.read()
        self._offset += len(chunk)
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for raw in whole:
            with contextlib.suppress(ValueError):
                line = json.loads(raw)
                if isinstance(line, dict):
                    yield line


class _Seen:
    """Hands lines on and remembers whether ansible said that it reached its end."""

    def __init__(self, take: Callable[[Line], None]) -> None:
        self.take = take
        self.finished = False

    def __call__(self, line: Line) -> None:
        if line.get("kind") == "stats":
            self.finished = True
        self.take(line)


def socket_folder(remembered: Path) -> Path:
    """A new private folder with a short path, for ssh's control sockets.

    Args:
        remembered: a link to the folder is left here; what an earlier, killed process left
            behind that link is closed and removed.

    Raises:
        OSError: neither folder nor link can be made.
    """
    if remembered.is_symlink():
        old = remembered.readlink()
        if _is_ours(old):
            close_connections(old)
            shutil.rmtree(old, ignore_errors=True)
        remembered.unlink()
    folder = Path(tempfile.mkdtemp(prefix=_SOCKETS))
    remembered.symlink_to(folder)
    return folder


def _is_ours(folder: Path) -> bool:
    """Whether this is a folder that `socket_folder` made, and no link in its place.

    Everybody may write where it lay: once it is gone, somebody else can put a link of its name
    there, to a folder of ours.
    """
    try:
        state = folder.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(state.st_mode) and stat.S_IMODE(state.st_mode) == 0o700
    return folder.name.startswith(_SOCKETS) and private and state.st_uid == os.getuid()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _last_number(folder: Path) -> int:
    # A resumed run goes on counting, so that no earlier log is written over.
    numbers = [path.name.split("-", 1)[0] for path in folder.glob("[0-9]*-*.log")]
    return max((int(number) for number in numbers if number.isdigit()), default=0)

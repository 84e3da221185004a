"""Runs tools as root of a user namespace of their own, without a network.

Whoever builds an image may be an ordinary user. What is root's inside the sandbox belongs to that
user outside, and every other owner to a range of numbers that the system set aside for the user
(/etc/subuid, /etc/subgid). Real root has all numbers, and takes them as they are.

Inside, everything of this machine is read-only but what the sandbox was given to write; the
kernel holds that, so a stage cannot write into the output of another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.core.problems import fail
from provision.image.enter import FAILED

ENTER = Path(__file__).with_name("enter.py")
OWNERS = 65536
"""How many user and group numbers a sandbox knows, beginning with root's."""

Word = str | os.PathLike[str]


@dataclass(frozen=True)
class Bind:
    """A folder or file of this machine that is seen at `target` in a root."""

    source: Path
    target: str
    write: bool = False


class Running:
    """The sandboxes of one build that run now, so that all of them can be ended at once."""

    def __init__(self) -> None:
        self._ended = False
        self._lock = threading.Lock()
        self._now: set[subprocess.Popen[str]] = set()

    def start(self, spec: Mapping[str, Any], *keep: int) -> subprocess.Popen[str]:
        """Start one.

        Raises:
            HoldfastError: all were ended, and no other one begins.
        """
        with self._lock:
            self.check()
            process = _start(spec, *keep)
            self._now = {one for one in self._now if one.returncode is None} | {process}
        return process

    def stopped(self) -> bool:
        """Whether all were ended."""
        return self._ended

    def check(self) -> None:
        """See that all goes on.

        Raises:
            HoldfastError: it was ended.
        """
        if self._ended:
            raise fail("stopped", "the build was stopped")

    def end(self) -> None:
        """End all that run; what is started from now on fails."""
        with self._lock:
            self._ended = True
            for process in self._now:
                process.kill()


@dataclass(frozen=True)
class Sandbox:
    """Where tools are run.

    Args:
        writable: the folders that tools may write to, as seen on this machine.
        epoch: what tools are told that the time is (SOURCE_DATE_EPOCH), in Unix seconds.
        scratch: a folder for what is thrown away: $TMPDIR, and /tmp and /var/tmp in a root.
        network: whether this machine's network is seen, which is only for what fetches.
        running: what ends it when the build that it belongs to is stopped.
    """

    writable: tuple[Path, ...] = ()
    epoch: int | None = None
    scratch: Path | None = None
    network: bool = False
    running: Running = field(default_factory=Running, compare=False)

    def run(
        self,
        argv: Sequence[Word],
        *,
        root: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        bind: Sequence[Bind] = (),
        cwd: str | None = None,
        log: Path | None = None,
        ok: Sequence[int] = (0,),
    ) -> str:
        """Run a tool as mapped root and return its standard output.

        It has no network, its own processes, and everything that it started ends with it.

        Args:
            argv: the command; never a shell line.
            root: the root folder that it sees, with a minimal /proc, /sys, /dev and /run; it can
                be written to where it lies in a writable folder. Without it the tool sees this
                machine's files.
            env: variables added to the few that it gets; nothing else of this process's is seen.
            stdin: text for standard input.
            bind: what else of this machine is seen in the root.
            cwd: the folder that it starts in, as seen inside.
            log: a file that standard error is appended to; it holds all of it.
            ok: the exit statuses that are no failure.

        Raises:
            HoldfastError: the tool is missing or failed; its last lines are in the message.
        """
        spec = self._spec(argv, root, env, bind, cwd)
        process = self.running.start(spec)
        with process:
            try:
                out, errors = process.communicate(stdin)
            except BaseException:
                process.kill()
                raise
        return _judged(argv, process.returncode, (out, errors), log, ok)

    def python(self, module: str, *words: Word, stdin: str = "", log: Path | None = None) -> str:
        """Run a module of this project as mapped root, on this machine's files.

        Raises:
            HoldfastError: it failed.
        """
        path = os.pathsep.join(entry for entry in sys.path if entry)
        env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        argv = [sys.executable, "-P", "-m", module, *words]
        return self.run(argv, env=env, stdin=stdin, log=log)

    @contextmanager
    def hold(
        self,
        root: Path,
        *,
        env: Mapping[str, str] | None = None,
        bind: Sequence[Bind] = (),
    ) -> Iterator[Held]:
        """A sandbox that stays: several commands see the same processes, /run and /tmp.

        Raises:
            HoldfastError: it could not be made.
        """
        spec = self._spec(["sleep", "infinity"], root, env, bind, None)
        told, tell = os.pipe()
        spec["ready"] = tell
        process = self.running.start(spec, tell)
        os.close(tell)
        with process:
            try:
                ready = os.read(told, 1)
                os.close(told)
                if not ready:
                    out, errors = process.communicate("")
                    _judged(["sandbox"], process.returncode, (out, errors), ok=())
                first = _first_inside(process.pid)
                try:
                    yield Held(first, spec["env"])
                finally:
                    # All of it ends with its first process, and that is waited for.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(first, signal.SIGKILL)
                    process.wait()
            finally:
                process.kill()

    def copy(self, source: Path, target: Path) -> None:
        """Copy a tree with owners, modes, times, links and attributes; `target` is new.

        Raises:
            HoldfastError: it could not be copied.
        """
        argv: list[Word] = [
            "cp",
            "--archive",
            "--reflink=auto",
            "--no-target-directory",
            source,
            target,
        ]
        self.run(argv)

    def remove(self, path: Path) -> None:
        """Remove a tree whose files may belong to any owner; one that is not there is fine.

        Raises:
            HoldfastError: it could not be removed.
        """
        if path.exists():
            Sandbox((path.parent,)).run(["rm", "-rf", "--one-file-system", path])

    def _spec(
        self,
        argv: Sequence[Word],
        root: Path | None,
        env: Mapping[str, str] | None,
        bind: Sequence[Bind],
        cwd: str | None,
    ) -> dict[str, Any]:
        uids, gids = numbers()
        writable = [*(path.resolve() for path in self.writable)]
        if self.scratch is not None:
            writable.append(self.scratch.resolve())
        inside = root.resolve() if root is not None else None
        return {
            "argv": [os.fspath(word) for word in argv],
            "env": {**self._environment(inside is not None), **(env or {})},
            "uids": uids,
            "gids": gids,
            "root": None if inside is None else os.fspath(inside),
            "root_writable": inside is not None
            and any(inside.is_relative_to(one) for one in writable),
            "writable": [os.fspath(path) for path in dict.fromkeys(writable)],
            "scratch": None if self.scratch is None else os.fspath(self.scratch.resolve()),
            "bind": [
                {
                    "source": os.fspath(one.source.resolve()),
                    "target": one.target,
                    "write": one.write,
                }
                for one in bind
            ],
            "cwd": cwd,
            "network": self.network,
            "ready": None,
        }

    def _environment(self, in_root: bool) -> dict[str, str]:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        scratch = "/tmp" if in_root or self.scratch is None else os.fspath(self.scratch.resolve())
        found = {
            "PATH": path if in_root else f"{os.environ.get('PATH', '')}:{path}",
            "HOME": "/root" if in_root else scratch,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "TMPDIR": scratch,
            "PYTHONHASHSEED": "0",
        }
        if self.epoch is not None:
            found["SOURCE_DATE_EPOCH"] = str(self.epoch)
        return found


@dataclass(frozen=True)
class Held:
    """A sandbox that stays until its context ends; `pid` is one of its processes."""

    pid: int
    env: Mapping[str, str]

    def argv(self, command: Sequence[Word]) -> list[str]:
        """The words that run `command` inside, with the environment of whoever starts them."""
        namespaces = ("--user", "--mount", "--pid", "--net", "--ipc", "--uts")
        return ["nsenter", f"--target={self.pid}", *namespaces, "--setuid=0", "--setgid=0",
                *(os.fspath(word) for word in command)]  # fmt: skip

    def run(self, command: Sequence[Word], *, stdin: str = "", ok: Sequence[int] = (0,)) -> str:
        """Run a tool inside and return its standard output.

        Raises:
            HoldfastError: it is missing or failed.
        """
        done = subprocess.run(self.argv(command), input=stdin, capture_output=True, text=True,
                              env=dict(self.env), check=False)  # fmt: skip
        return _judged(command, done.returncode, (done.stdout, done.stderr), ok=ok)


def numbers() -> tuple[list[list[int]], list[list[int]]]:
    """Which user and group numbers are which inside, as rows of (inside, outside, count).

    Raises:
        HoldfastError: the system set none aside for this user, or a tool is missing.
    """
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        whole = [[0, 0, OWNERS]]
        return whole, whole
    if shutil.which("newuidmap") is None:
        raise fail("missing-tool", "newuidmap is not installed",
                   hint="`holdfast doctor` names the package that brings it")  # fmt: skip
    return (
        [[0, user, 1], _set_aside(Path("/etc/subuid"), user)],
        [[0, group, 1], _set_aside(Path("/etc/subgid"), user)],
    )


def _set_aside(file: Path, user: int) -> list[int]:
    """The row for everybody but root, out of the first range of this user that is large enough."""
    name = pwd.getpwuid(user).pw_name
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for line in lines:
        owner, start, count = [*line.split(":"), "", ""][:3]
        if owner in (name, str(user)) and count.isdigit() and int(count) >= OWNERS - 1:
            return [1, int(start), OWNERS - 1]
    option = "--add-sub" + ("uids" if file.name == "subuid" else "gids")
    raise fail(
        "no-subids",
        f"{file} sets aside no range of {OWNERS} numbers for the user {name}",
        hint=f"as root: usermod {option} 100000-{100000 + OWNERS - 1} {name}",
    )


def _start(spec: Mapping[str, Any], *keep: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", os.fspath(ENTER), json.dumps(spec)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        pass_fds=keep,
        start_new_session=True,
    )


def _judged(
    argv: Sequence[Word],
    code: int,
    said: tuple[str, str],
    log: Path | None = None,
    ok: Sequence[int] = (0,),
) -> str:
    out, errors = said
    if log is not None:
        with log.open("a", encoding="utf-8") as stream:
            stream.write(errors)
    if code in ok:
        return out
    last = "\n".join((errors or out).strip().splitlines()[-12:])
    name = os.fspath(argv[0])
    if code == FAILED and last.startswith("the sandbox"):
        raise fail("no-sandbox", last,
                   hint="a user namespace is needed: see `holdfast doctor`")  # fmt: skip
    where = " ".join(os.fspath(word) for word in argv[:6])
    if code == 127:
        raise fail("missing-tool", f"{name} is not installed: {last}", where=where,
                   hint="`holdfast doctor` names the package that brings it")  # fmt: skip
    ended = (
        f"was ended by {signal.Signals(code - 128).name}"
        if code > 128
        else (f"failed with exit status {code}")
    )
    raise fail("tool-failed", f"{name} {ended}:\n{last}", where=where)


def _first_inside(outer: int) -> int:
    """The first process of a sandbox, as seen from here: the only child of what was started."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
        if children:
            return int(children[0])
    raise fail("no-sandbox", "the sandbox ended at once")

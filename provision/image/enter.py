"""Enters namespaces and runs one command there; `provision.image.sandbox` starts it.

It is run by itself (``python -I -S enter.py SPEC``), so that it starts in a few hundredths of a
second and imports nothing of the project. SPEC is JSON: see `provision.image.sandbox`.

The process that is started becomes root of a user namespace; its child is the first process of a
process namespace, so that whatever the command leaves behind ends with it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

FAILED = 250
"""The exit status when the namespaces could not be made; standard error says why."""

_NEWNS, _NEWUTS, _NEWIPC = 0x20000, 0x4000000, 0x8000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8
_BIND, _REC, _PRIVATE = 4096, 16384, 1 << 18
_DETACH = 2
_PDEATHSIG = 1
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_SYSCALLS = {"x86_64": (155, 442), "aarch64": (41, 442)}
"""Numbers of pivot_root and mount_setattr, which the C library does not offer."""

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2",
          "ptmx": "pts/ptmx"}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    """Enter, run, and end as the command ended."""
    spec = json.loads(sys.argv[1])
    try:
        _end_with_parent()
        _become_root(spec["uids"], spec["gids"])
        # The kernel forgets who the process wants to end with when its user changes.
        _end_with_parent()
        network = 0 if spec["network"] else _NEWNET
        _check(_libc.unshare(_NEWNS | _NEWPID | _NEWIPC | _NEWUTS | network), "unshare")
        child = os.fork()
        if child == 0:
            _end_with_parent()
            _first(spec)
    except OSError as error:
        _give_up(error)
    _, status = os.waitpid(child, 0)
    os._exit(_code(status))


def _give_up(error: OSError) -> NoReturn:
    print(f"the sandbox could not be made: {error}", file=sys.stderr, flush=True)
    os._exit(FAILED)


def _code(status: int) -> int:
    """The exit status as a shell would give it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _end_with_parent() -> None:
    _check(_libc.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl")
    if os.getppid() == 1 and os.getpid() != 1:
        os._exit(FAILED)


def _become_root(uids: list[list[int]], gids: list[list[int]]) -> None:
    """Enter a user namespace in which the given numbers are known, as its root.

    Somebody outside has to say which numbers those are, so a child stays there to do it.
    """
    target = os.getpid()
    asked, ask = os.pipe()
    answered, answer = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            os.close(ask)
            os.read(asked, 1)
            _map("uid", target, uids)
            _map("gid", target, gids)
            os.write(answer, b"+")
        except (OSError, subprocess.CalledProcessError) as error:
            os.write(answer, str(error).encode()[:4000])
        os._exit(0)
    _check(_libc.unshare(_NEWUSER), "unshare")
    os.write(ask, b"+")
    said = os.read(answered, 4096)
    os.waitpid(helper, 0)
    for handle in (asked, ask, answered, answer):
        os.close(handle)
    if said != b"+":
        raise OSError(errno.EPERM, said.decode(errors="replace"))
    os.setresgid(0, 0, 0)
    os.setgroups([])
    os.setresuid(0, 0, 0)


def _map(kind: str, target: int, rows: list[list[int]]) -> None:
    if os.geteuid() == 0:
        text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in rows)
        Path(f"/proc/{target}/{kind}_map").write_text(text)
        return
    words = [str(number) for row in rows for number in row]
    subprocess.run([f"new{kind}map", str(target), *words], check=True)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind)]
    _check(_libc.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount on {target}")


def _protect(target: str, *, read_only: bool, recursive: bool) -> None:
    """Set or clear read-only of what is mounted at `target`, and below it."""
    given = (_RDONLY, 0) if read_only else (0, _RDONLY)
    attributes = struct.pack("QQQQ", *given, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    number = _SYSCALLS[os.uname().machine][1]
    _check(
        _libc.syscall(number, _AT_FDCWD, target.encode(), flags, attributes, len(attributes)),
        f"protect {target}",
    )


def _first(spec: dict[str, Any]) -> NoReturn:
    """The first process inside: lays out what the command sees, and waits for it."""
    try:
        _lay_out(spec)
    except OSError as error:
        _give_up(error)
    command = os.fork()
    if command == 0:
        _execute(spec)
    if spec["ready"] is not None:
        os.write(spec["ready"], b"+")
        os.close(spec["ready"])
    while True:
        # It inherits whatever loses its parent.
        ended, status = os.wait()
        if ended == command:
            os._exit(_code(status))


def _lay_out(spec: dict[str, Any]) -> None:
    _mount(None, "/", None, _REC | _PRIVATE)
    for path in spec["writable"]:
        _mount(path, path, None, _BIND | _REC)
    root = spec["root"]
    if root is not None:
        _mount(root, root, None, _BIND | _REC)
    for row in spec["bind"]:
        if row["target"] is None:
            _mount(row["source"], row["source"], None, _BIND | _REC)
    _protect("/", read_only=True, recursive=True)
    for path in spec["writable"]:
        _protect(path, read_only=False, recursive=True)
    if root is None:
        _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
        return
    _protect(root, read_only=not spec["root_writable"], recursive=True)
    _pseudo(root, spec["scratch"])
    for row in spec["bind"]:
        _bind(row["source"], root + row["target"], read_only=not row["write"])
    os.chdir(root)
    _check(_libc.syscall(_SYSCALLS[os.uname().machine][0], b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", _DETACH), "umount")
    os.chdir("/")


def _pseudo(root: str, scratch: str | None) -> None:
    """What a system has in memory: as much of it as programs need to run."""
    _mount("proc", f"{root}/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    # Where it would show this machine's devices there is nothing.
    _mount("tmpfs", f"{root}/sys", "tmpfs", _RDONLY | _NOSUID | _NODEV | _NOEXEC, "mode=0555")
    _mount("tmpfs", f"{root}/run", "tmpfs", _NOSUID | _NODEV, "mode=0755")
    _mount("tmpfs", f"{root}/dev", "tmpfs", _NOSUID, "mode=0755")
    for name in _DEVICES:
        Path(f"{root}/dev/{name}").touch()
        _mount(f"/dev/{name}", f"{root}/dev/{name}", None, _BIND)
    for name, target in _LINKS.items():
        Path(f"{root}/dev/{name}").symlink_to(target)
    for name in ("pts", "shm"):
        Path(f"{root}/dev/{name}").mkdir()
    _mount("devpts", f"{root}/dev/pts", "devpts", _NOSUID | _NOEXEC, "newinstance,ptmxmode=0666")
    _mount("tmpfs", f"{root}/dev/shm", "tmpfs", _NOSUID | _NODEV, "mode=1777")
    for place in ("tmp", "var/tmp"):
        if not Path(root, place).is_dir():
            continue
        if scratch is None:
            _mount("tmpfs", f"{root}/{place}", "tmpfs", _NOSUID | _NODEV, "mode=1777")
        else:
            _mount(scratch, f"{root}/{place}", None, _BIND)


def _bind(source: str, target: str, *, read_only: bool) -> None:
    if not os.path.lexists(target):
        place = Path(target)
        if Path(source).is_dir():
            place.mkdir(parents=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    _mount(source, target, None, _BIND | _REC)
    _protect(target, read_only=read_only, recursive=True)


def _execute(spec: dict[str, Any]) -> NoReturn:
    try:
        if spec["ready"] is not None:
            os.close(spec["ready"])
        os.umask(0o022)
        if spec["cwd"] is not None:
            os.chdir(spec["cwd"])
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except FileNotFoundError as error:
        print(f"{error.filename or spec['argv'][0]}: not found", file=sys.stderr, flush=True)
        os._exit(127)
    except OSError as error:
        print(f"{spec['argv'][0]}: {error}", file=sys.stderr, flush=True)
        os._exit(126)


if __name__ == "__main__":
    main()

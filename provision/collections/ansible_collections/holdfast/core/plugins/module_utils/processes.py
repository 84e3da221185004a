# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Looking at processes: what of an earlier run still works on a node.

A command line is what its process says of itself, and everybody may say anything. So a process
counts only when it is root's, or belongs to a user that Ansible logs in with: nobody else can make
one, and without that every local user could keep a node locked by a process with a fitting name.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Collection
from typing import Any

MARKS = ("BECOME-SUCCESS-", "AnsiballZ_", "/.ansible/tmp/ansible-tmp-", "async_wrapper")
SHELL_MARK = "&& sleep 0"
ROOT = 0


def ancestors(proc: str, pid: int) -> set[int]:
    """This process and all its parents."""
    found: set[int] = set()
    while pid > 0 and pid not in found:
        found.add(pid)
        seen = read_stat(proc, pid)
        if seen is None:
            break
        pid = seen["parent"]
    return found


def read_stat(proc: str, pid: int) -> dict[str, Any] | None:
    """Parent, state and start of a process; None when it is gone."""
    text = _read(proc, pid, "stat")
    # The command's name is in brackets and may itself hold brackets and spaces.
    rest = text.rpartition(")")[2].split()
    if len(rest) < 20:
        return None
    return {"state": rest[0], "parent": int(rest[1]), "start": int(rest[19])}


def read_words(proc: str, pid: int, name: str) -> list[str]:
    """The zero-separated words of a file in /proc."""
    return [word for word in _read(proc, pid, name).split("\0") if word]


def read_users(proc: str, pid: int) -> frozenset[int]:
    """The users that a process runs as: real, effective, saved and for files; none: it is gone."""
    for line in _read(proc, pid, "status").splitlines():
        if line.startswith("Uid:"):
            return frozenset(int(word) for word in line.split()[1:])
    return frozenset()


def users_of(proc: str, pids: Collection[int]) -> set[int]:
    """Everybody that one of these processes runs as."""
    return {user for pid in pids for user in read_users(proc, pid)}


def _read(proc: str, pid: int, name: str) -> str:
    try:
        with open(os.path.join(proc, str(pid), name), "rb") as stream:
            return stream.read(262144).decode("utf-8", "replace")
    except OSError:
        return ""


def counts(proc: str, pid: int, users: Collection[int]) -> bool:
    """Whether nobody but these users can have made a process, and chosen its command line.

    A set-uid program, as sudo, runs as root with words that any user gave it: it counts for those
    who are named only by its children, and everybody who was let in has some. A container has
    processes of root with words of whoever made its image.
    """
    seen = read_users(proc, pid)
    return bool(seen) and seen <= set(users) and not _gateway(proc, pid) and not _apart(proc, pid)


def _gateway(proc: str, pid: int) -> bool:
    try:
        mode = os.stat(os.path.join(proc, str(pid), "exe")).st_mode
    except OSError:
        return False
    return bool(mode & stat.S_ISUID)


def _apart(proc: str, pid: int) -> bool:
    """Whether a process is in a container of the node: modules run beside us."""
    try:
        here, there = (
            os.readlink(os.path.join(proc, name, "ns", "pid")) for name in ("self", str(pid))
        )
    except OSError:
        return False
    return here != there


def is_module_process(proc: str, pid: int) -> bool:
    """Whether a process looks as if it was started by ansible to run a module.

    With pipelining the module's code arrives on standard input, so that the command line says
    only `python3`; what is left to recognise is the shell around it (`... && sleep 0`), the word
    that ansible's sudo echoes, and a Python that was given nothing but a pipe.
    """
    words = read_words(proc, pid, "cmdline")
    line = " ".join(words).strip()
    if any(mark in line for mark in MARKS):
        return True
    if line.endswith(SHELL_MARK) and "python" in line:
        return True
    if len(words) != 1 or not os.path.basename(line).startswith("python"):
        return False
    try:
        piped = os.readlink(os.path.join(proc, str(pid), "fd", "0")).startswith(
            ("pipe:", "socket:")
        )
    except OSError:
        return False
    return piped and any(
        word.startswith("SSH_CONNECTION=")
        or (word.startswith("SUDO_COMMAND=") and MARKS[0] in word)
        for word in read_words(proc, pid, "environ")
    )


def left_behind(
    proc: str, own: Collection[int], users: Collection[int] = ()
) -> list[dict[str, Any]]:
    """Processes of earlier modules that still run with all they started.

    Args:
        proc: where the kernel shows processes.
        own: these, and what descends from them alone, are ours and left out.
        users: who counts beside root and those that `own` run as.

    Returns:
        A list of {pid, start, command}.
    """
    stats = {}
    for name in os.listdir(proc):
        if name.isdigit():
            seen = read_stat(proc, int(name))
            if seen is not None and seen["state"] != "Z":
                stats[int(name)] = seen
    trusted = {ROOT, *users} | users_of(proc, own)
    chosen = {
        pid
        for pid in stats
        if pid not in own and is_module_process(proc, pid) and counts(proc, pid, trusted)
    }
    grown = True
    while grown:
        children = {
            pid
            for pid, seen in stats.items()
            if seen["parent"] in chosen and pid not in own and pid not in chosen
        }
        chosen |= children
        grown = bool(children)
    return [
        {
            "pid": pid,
            "start": stats[pid]["start"],
            "command": " ".join(read_words(proc, pid, "cmdline")).strip()[:80],
        }
        for pid in sorted(chosen)
    ]


def same_process(proc: str, entry: dict[str, Any]) -> bool:
    """Whether the process that was seen still runs, and its number was not given to another."""
    seen = read_stat(proc, entry["pid"])
    return seen is not None and seen["start"] == entry["start"] and seen["state"] != "Z"


def signal_process(proc: str, entry: dict[str, Any], number: signal.Signals) -> None:
    """Send a signal to the very process that was seen."""
    if not same_process(proc, entry):
        return
    try:
        os.kill(entry["pid"], number)
    except ProcessLookupError:
        return


def wait_for_end(
    look: Callable[[], list[Any]],
    seconds: float,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> list[Any]:
    """Look until nothing is left or the time is over; returns what is left."""
    deadline = clock() + seconds
    left = look()
    while left and clock() < deadline:
        sleep(0.5)
        left = look()
    return left

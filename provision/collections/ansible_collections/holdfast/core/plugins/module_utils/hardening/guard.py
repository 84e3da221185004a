# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""An undo that fires by itself, unless a login over a new connection cancels it in time."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import journal, rescue
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome

TIMER = "holdfast-access-undo"
BOOT = "/etc/systemd/system/holdfast-access-undo-at-boot.service"
WANTS = "/etc/systemd/system/multi-user.target.wants/holdfast-access-undo-at-boot.service"
SCRIPT = "undo.py"
UNIT = """\
[Unit]
Description=Undo an access change that no login has proven
ConditionPathExists=|{home}/{marker}
ConditionPathExists=|{home}/{firing}
Before=sshd.service sshd.socket

[Service]
Type=oneshot
ExecStart={python} {home}/{script} {home} boot
"""

Command = Callable[[list[str]], Any]


class Guard:
    """The undo that is armed on a node, if any.

    Args:
        home: where undo journals are kept.
        tree: the node's files.
        command: runs a command, and raises `rescue.Command` when it fails.
    """

    def __init__(self, home: str, tree: rescue.Tree, command: Command = rescue.run) -> None:
        self.home = home
        self.tree = tree
        self.command = command

    def armed(self) -> dict[str, Any] | None:
        """What is armed: its run, its folder and its deadline."""
        for name in (rescue.MARKER, rescue.FIRING):
            with contextlib.suppress(FileNotFoundError, ValueError):
                with open(os.path.join(self.home, name), encoding="utf-8") as stream:
                    body = json.load(stream)
                return {**body, "firing": name == rescue.FIRING}
        return None

    def arm(self, entry: journal.Entry, seconds: int) -> None:
        """Arm the undo of a pass: by a timer, and for a start of the node in between.

        Raises:
            OSError, rescue.Command: it cannot be armed; nothing was changed yet.
        """
        script = os.path.join(self.home, SCRIPT)
        with open(script + ".new", "w", encoding="utf-8") as stream:
            stream.write(inspect.getsource(rescue))
        os.chmod(script + ".new", 0o700)
        os.rename(script + ".new", script)
        now = time.time()
        body: dict[str, Any] = {
            "folder": entry.folder,
            "run": entry.run,
            "at": now,
            "since_boot": since_boot(),
            "boot": boot(),
            "deadline": now + seconds,
        }
        body["clear"] = [WANTS, BOOT]
        rescue.write_mark(self.home, rescue.MARKER, body)
        try:
            self._start(seconds)
        except (OSError, rescue.Command):
            self.cancel()
            raise

    def _start(self, seconds: int) -> None:
        python = sys.executable or "/usr/bin/python3"
        said = {"home": self.home, "marker": rescue.MARKER, "script": SCRIPT, "python": python}
        said["firing"] = rescue.FIRING
        unit = UNIT.format(**said).encode()
        self.tree.replace(BOOT, unit, (0o644, os.geteuid(), os.getegid()), {})
        if self.tree.look(os.path.dirname(WANTS)).kind == "absent":
            self.tree.folder(os.path.dirname(WANTS), 0o755, os.geteuid(), os.getegid())
        self.tree.link(WANTS, BOOT)
        argv = ["systemd-run", "--quiet", "--collect", "--unit=" + TIMER]
        argv += ["--on-active={0}s".format(seconds), "--timer-property=AccuracySec=1s"]
        self.command([*argv, "--", python, os.path.join(self.home, SCRIPT), self.home])

    def cancel(self) -> bool:
        """Cancel the undo; False when it has begun, or is done already."""
        cancelled = os.path.join(self.home, "cancelled.json")
        try:
            os.rename(os.path.join(self.home, rescue.MARKER), cancelled)
        except FileNotFoundError:
            return False
        self._clear()
        os.unlink(cancelled)
        return True

    def _clear(self) -> None:
        for path in (WANTS, BOOT):
            with contextlib.suppress(OSError):
                self.tree.remove(path)
        with contextlib.suppress(rescue.Command):
            # Where the change had systemd read its units, it knows the one that is gone now.
            unit = os.path.basename(BOOT)
            if self.command(["systemctl", "list-units", "--all", "--no-legend", "--", unit]):
                self.command(["systemctl", "daemon-reload"])
        with contextlib.suppress(rescue.Command):
            self.command(["systemctl", "stop", "--", TIMER + ".timer"])

    def fire(self) -> rescue.Undone | None:
        """Carry out the undo now; None when nothing is armed."""
        done = rescue.fire(self.home, self.tree, self.command)
        self._clear()
        return done

    def take_back(
        self, entry: journal.Entry, wrong: list[str], offline: bool = False
    ) -> rescue.Undone:
        """Put a pass back that went wrong, by that pass itself; then nothing is armed any more."""
        report = rescue.Undone(force=True)
        rescue.undo(entry.folder, self.tree, report, offline=offline, command=self.command)
        entry.mark("undone", by="the pass itself", wrong=wrong, left=report.left + report.wrong)
        if not report.wrong:
            self.cancel()
        return report


def finish(outcome: Outcome, guard: Guard) -> None:
    """Wait for an undo that runs, and bring one to its end that was killed."""
    armed = guard.armed()
    if armed is None or not armed["firing"] or outcome.check_mode:
        return
    guard.fire()
    outcome.fail(
        "the changes of run {0} were put back: no login proved them".format(armed["run"]),
        "run this again",
    )


def adopt(outcome: Outcome, guard: Guard) -> dict[str, Any] | None:
    """What an earlier run armed and did not come to cancel: our own login may prove it."""
    armed = guard.armed()
    if armed is None:
        return None
    left = max(0, int(armed.get("deadline", 0) - time.time()))
    if armed["firing"] or not proves(armed):
        outcome.fail(
            "run {0} changed how one logs in here and no login has proven it yet; the node puts "
            "that back within {1} s".format(armed["run"], left),
            "run this again after that",
        )
    outcome.add("keep the access changes of run {0}, which this login proves".format(armed["run"]))
    return armed


def keep(outcome: Outcome, guard: Guard) -> None:
    """Cancel the undo that an earlier run armed."""
    if not guard.cancel():
        outcome.fail(
            "the node has just put back the access changes of an earlier run", "run this again"
        )


def proves(armed: dict[str, Any], proc: str = "/proc") -> bool:
    """Whether the login that we work for began after what is armed.

    The kernel's own count decides and not the clock, which may have been set in between.
    """
    if "since_boot" not in armed:
        return False
    return armed.get("boot") != boot(proc) or logged_in(proc) > float(armed["since_boot"])


def since_boot() -> float:
    """Seconds since the kernel started, which nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot(proc: str = "/proc") -> str:
    """The name of this start of the kernel; empty where it has none."""
    try:
        path = "{0}/sys/kernel/random/boot_id".format(proc)
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def logged_in(proc: str = "/proc") -> float:
    """When the login that we work for began, in seconds since the kernel started.

    Now where there is none (a console). The time is that of the SSH server's process for this
    connection.
    """
    pid = str(os.getpid()) if proc == "/proc" else "self"
    for _ in range(64):
        name, parent, ticks = _stat(proc, pid)
        if name.startswith("sshd"):
            return ticks / float(os.sysconf("SC_CLK_TCK"))
        if parent in ("0", pid):
            break
        pid = parent
    return since_boot()


def _stat(proc: str, pid: str) -> tuple[str, str, int]:
    """Name, parent and start of a process."""
    try:
        with open("{0}/{1}/stat".format(proc, pid), encoding="ascii", errors="replace") as stream:
            before, _, after = stream.read().rpartition(")")
    except OSError:
        return "", "0", 0
    row = after.split()
    return before.partition("(")[2], row[1], int(row[19])

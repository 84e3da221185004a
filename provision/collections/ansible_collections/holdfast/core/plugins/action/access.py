# Copyright: Holdfast contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# This file imports ansible.plugins and is therefore under the GNU General Public License,
# version 3 or later; see LICENSES/GPL-3.0-or-later.txt.
"""Change how one logs in, between two logins that are proven."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

DEADLINE = 120
LEAST, MOST = 10, 86400
"""Seconds: nobody logs in sooner, and a day later nobody would call it an undo."""

TRIES = 3
PAUSE = 2.0
LATE = "the undo had begun already; give access_deadline_s more time where the node was just slow"
SHARED = ("controlmaster", "controlpath", "controlpersist")
ALONE = "-o ControlMaster=no -o ControlPath=none"


class ActionModule(ActionBase):
    """Wraps a module that changes how one logs in, and hardening_guard.

    `MODULE` is that module, `OPTIONS` what it takes of ours, `ALWAYS` what it is always told,
    `CHANGE` and `NEXT` what a message calls the change, and what helps when it kept a login out.
    """

    MODULE = "holdfast.core.hardening"
    OPTIONS: tuple[str, ...] = ("controls", "run", "pending", "offline")
    ALWAYS: Mapping[str, Any] = MappingProxyType({"phase": "access"})
    CHANGE = "access change"
    NEXT = "find the control that keeps you out, and waive it or mend the login"

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Look; prove a login; change; prove a login; keep."""
        super().run(tmp, task_vars)
        args = self._task.args
        unknown = sorted(set(args) - {*self.OPTIONS, "deadline"})
        if unknown:
            return failed("unknown option {0}".format(", ".join(unknown)))
        given = {key: args[key] for key in self.OPTIONS if key in args}
        given.update(self.ALWAYS, guard=self._reached())
        deadline = seconds_of(args.get("deadline"))
        if deadline is None:
            # Without a deadline nothing would be put back, and what ends too soon proves nothing.
            return failed(
                "deadline is {0!r}, and nothing was changed".format(args["deadline"]),
                "give access_deadline_s from {0} to {1} seconds".format(LEAST, MOST),
            )
        seen = self._look(given, task_vars)
        if seen.get("failed") or self._task.check_mode:
            return seen
        if not seen.get("changed"):
            return self._settled(seen, given, task_vars)
        if args.get("offline"):
            return self._module(self.MODULE, given, task_vars)
        problem = self._prove(task_vars)
        if problem is not None:
            return failed(
                "nothing was changed, because a second login failed already: {0}".format(problem),
                "mend the login over a new connection: key, account, sudo",
            )
        began = time.monotonic()
        done = self._module(self.MODULE, {**given, "deadline": deadline}, task_vars)
        if done.get("failed") or not done.get("journal"):
            # Nothing was written, so nothing is armed; keeping an earlier run's changes, which
            # this very login proves, is a change too.
            return done
        problem = self._keep(task_vars)
        if problem is None:
            return self._kept(done)
        return self._back(problem, deadline - (time.monotonic() - began), task_vars)

    def _settled(
        self, seen: dict[str, Any], given: dict[str, Any], task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        """What is said where nothing is to change."""
        del given, task_vars
        return seen

    def _kept(self, done: dict[str, Any]) -> dict[str, Any]:
        """What is said of a change that a login has proven."""
        return done

    def _reached(self) -> dict[str, Any]:
        """How we log in and become root, as the module wants to know it."""
        connection = self._connection
        become = getattr(connection, "become", None)
        return {
            "user": str(_option(connection, "remote_user") or self._play_context.remote_user or ""),
            "become": become is not None,
            "become_password": bool(become is not None and _option(become, "become_pass")),
            "password": bool(_option(connection, "password")),
            "port": int(_option(connection, "port") or (22 if self._ssh() else 0)),
        }

    def _ssh(self) -> bool:
        """Whether the node is reached over SSH."""
        return _option(self._connection, "ssh_args") is not None

    def _look(self, given: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """What would change; nothing is."""
        before = self._task.check_mode
        self._task.check_mode = True
        try:
            return self._module(self.MODULE, given, task_vars)
        finally:
            self._task.check_mode = before

    @contextlib.contextmanager
    def _fresh(self) -> Iterator[None]:
        """Use connections of their own, which no earlier one is shared with."""
        connection = self._connection
        if not self._ssh():
            # Each command starts anew there.
            yield
            return
        shared = _option(connection, "ssh_args")
        connection.set_option("ssh_args", alone(str(shared)))
        try:
            yield
        finally:
            connection.set_option("ssh_args", shared)

    def _prove(self, task_vars: dict[str, Any] | None) -> str | None:
        """Log in over a fresh connection and become root; what is wrong with that."""
        del task_vars
        with self._fresh():
            try:
                found = self._low_level_execute_command("id -u")
            except AnsibleError as error:
                return " ".join(str(error).split())[:300]
        if found["rc"] == 0 and found["stdout"].split()[-1:] == ["0"]:
            return None
        said = found["stderr"] or found["stdout"]
        return " ".join(str(said).split())[-300:] or "id -u ended with {0}".format(found["rc"])

    def _keep(self, task_vars: dict[str, Any] | None) -> str | None:
        """Cancel the undo over a fresh connection, which proves the login; what is wrong."""
        problem = None
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE)
            with self._fresh():
                try:
                    kept = self._module(
                        "holdfast.core.hardening_guard", {"state": "kept"}, task_vars
                    )
                except AnsibleError as error:
                    problem = " ".join(str(error).split())[:300]
                    continue
            if kept.get("kept"):
                return None
            problem = str(kept.get("msg") or LATE)[:300]
            if not kept.get("unreachable") and not kept.get("failed"):
                break
        return problem

    def _back(self, problem: str, left: float, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Put the change back: at once over the open connection, else the node does it itself."""
        try:
            done = self._module("holdfast.core.hardening_guard", {"state": "undone"}, task_vars)
            how = "it was put back at once"
        except AnsibleError:
            done = {"failed": True}
        if done.get("failed"):
            time.sleep(max(0.0, left) + PAUSE)
            how = "the node put it back by itself"
        again = self._prove(task_vars)
        end = "and a login works again" if again is None else "and a login fails: " + again
        return failed(
            "the login failed after the {0} ({1}); {2}, {3}".format(self.CHANGE, problem, how, end),
            self.NEXT,
        )

    def _module(
        self, module: str, arguments: dict[str, Any], task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name=module, module_args=arguments, task_vars=task_vars
        )
        return found


def seconds_of(given: Any) -> int | None:
    """How long the node waits for its login; None where that is no such number."""
    if given is None or given == "":
        return DEADLINE
    try:
        found = int(given)
    except (TypeError, ValueError):
        return None
    return found if LEAST <= found <= MOST and not isinstance(given, bool) else None


def alone(words: str) -> str:
    """Options of ssh without a shared connection."""
    kept: list[str] = []
    parts = shlex.split(words)
    while parts:
        word = parts.pop(0)
        value = parts[0] if word == "-o" and parts else word[2:] if word.startswith("-o") else ""
        if value.lower().replace(" ", "").startswith(SHARED):
            if word == "-o":
                parts.pop(0)
            continue
        if word == "-S" and parts:
            parts.pop(0)
            continue
        kept.append(word)
        if word == "-o" and parts:
            kept.append(parts.pop(0))
    return "{0} {1}".format(ALONE, shlex.join(kept)).strip()


def _option(plugin: Any, name: str) -> Any:
    try:
        return plugin.get_option(name)
    except (AttributeError, KeyError):
        return None


def failed(message: str, hint: str = "") -> dict[str, Any]:
    """A result that says that the task failed."""
    text = message.rstrip(".") + "."
    return {"failed": True, "msg": "{0} Next: {1}.".format(text, hint) if hint else text}

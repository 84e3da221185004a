# Copyright: Holdfast contributors
# GNU General Public License v3.0 or later (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what happens in a playbook run to a file, one JSON object a line.

Only the fields named here are written, never a task's raw result: results hold file contents,
arguments and sometimes secrets. Whoever drives the run tails the file.
"""

from __future__ import annotations

DOCUMENTATION = r"""
name: events
type: aggregate
short_description: append what happens to a file, one JSON object a line
description:
  - Appends one JSON object a line to a file, for the program that drives the run.
  - Writes a fixed set of fields and never a task's raw result.
  - Does nothing when no file is named.
requirements:
  - enable it in C(callbacks_enabled)
options:
  path:
    description: the file to append to; created with mode 0600
    type: path
    env:
      - name: HOLDFAST_ANSIBLE_EVENTS
    ini:
      - section: callback_holdfast_events
        key: path
"""

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

MESSAGE_LIMIT = 500
CHANGE_LIMIT = 200
CHANGES_LIMIT = 1000
HOLDER_FIELDS = ("run", "controller", "pid", "since", "command")


class CallbackModule(CallbackBase):
    """The callback that ansible loads."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "holdfast.core.events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, display: Any = None, options: dict[str, Any] | None = None) -> None:
        super().__init__(display=display, options=options)
        self._handle: int | None = None
        self._phase: str | None = None
        self._started: dict[tuple[str, str], float] = {}

    def set_options(
        self, task_keys: Any = None, var_options: Any = None, direct: Any = None
    ) -> None:
        """Open the file that the option names."""
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        path = self.get_option("path")
        if not path:
            self.disabled = True
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._handle = os.open(path, flags, 0o600)

    def _write(self, kind: str, **fields: Any) -> None:
        if self._handle is None:
            return
        body: dict[str, Any] = {"kind": kind, "at": round(time.time(), 3)}
        body.update(fields)
        line = json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=str)
        os.write(self._handle, line.encode("utf-8", "replace") + b"\n")

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """A play is a phase; the nodes in it are those that begin a task."""
        self._phase = _phase(play.get_name())
        self._write("play.start", phase=self._phase)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A node begins a task."""
        self._started[(host.name, task._uuid)] = time.time()
        self._write("task.start", node=host.name, phase=self._phase, task=_name(task))

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task ended well."""
        self._end(result, "changed" if result.is_changed() else "ok")

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A task did not apply."""
        self._end(result, "skipped")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """The node could not be reached."""
        self._end(result, "unreachable")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed; `ignore_errors` means that the play goes on regardless."""
        self._end(result, "failed", ignored=bool(ignore_errors))

    def v2_runner_retry(self, result: Any) -> None:
        """A task failed and is tried again."""
        body = result.result
        self._write(
            "task.retry",
            node=result.host.name,
            phase=self._phase,
            task=_name(result.task),
            attempt=body.get("attempts"),
        )

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The run is over; what ansible itself counted is the cross-check of the events."""
        nodes = {}
        for node in sorted(stats.processed):
            counts = stats.summarize(node)
            nodes[node] = {k: counts[k] for k in sorted(counts)}
        self._write("stats", nodes=nodes)

    def _end(self, result: Any, status: str, ignored: bool = False) -> None:
        body = result.result
        task = result.task
        node = result.host.name
        event: dict[str, Any] = {
            "node": node,
            "phase": self._phase,
            "task": _name(task),
            "path": _path(task),
            "status": status,
            "changes": changes_of(body, _name(task)) if status == "changed" else [],
            "depends": _said(body.get("holdfast_depends")),
            "message": message_of(body) if status in ("failed", "unreachable") else None,
            "check": bool(task.check_mode),
            "seconds": self._seconds(node, task),
        }
        if ignored:
            event["ignored"] = True
        holder = body.get("holdfast_lock_holder")
        if isinstance(holder, dict):
            event["holder"] = {k: _plain(holder.get(k)) for k in HOLDER_FIELDS}
        for key in ("notes", "left"):
            said = body.get("holdfast_" + key)
            if isinstance(said, list) and said:
                event[key] = [_text(line)[:CHANGE_LIMIT] for line in said[:CHANGES_LIMIT]]
        reboot = body.get("holdfast_reboot")
        if isinstance(reboot, list) and reboot:
            event["reboot"] = [_text(reason) for reason in reboot]
        self._write("task.end", **event)
        facts = body.get("holdfast_preflight")
        if isinstance(facts, dict):
            self._write("facts", node=node, phase=self._phase, data=facts)

    def _seconds(self, node: str, task: Any) -> float | None:
        started = self._started.pop((node, task._uuid), None)
        return None if started is None else round(time.time() - started, 3)


def changes_of(result: dict[str, Any], task_name: str) -> list[str]:
    """What a changed result changed, in short words that hold no contents.

    The module's own words come first, then the paths of a diff, then the task's name. Results
    under `no_log` arrive here already emptied, so that they end at the task's name.
    """
    found: list[str] = []
    for part in _parts(result):
        if part.get("holdfast_changes"):
            found.extend(_text(change) for change in part["holdfast_changes"])
            continue
        diffs = part.get("diff") or []
        diffs = diffs if isinstance(diffs, list) else [diffs]
        found.extend(label for label in (_diff_label(diff) for diff in diffs) if label)
    seen = list(dict.fromkeys(label[:CHANGE_LIMIT] for label in found if label))
    return seen[:CHANGES_LIMIT] or [task_name]


def message_of(result: dict[str, Any]) -> str:
    """Why a task failed, at most 500 characters, without the module's output where it has words."""
    words = []
    for part in _parts(result, failed_only=True):
        msg = _text(part.get("msg"))
        detail = _text(part.get("stderr")) or _text(part.get("module_stderr"))
        if msg and detail and msg.lower().startswith(("non-zero return code", "module failure")):
            msg = "{0}: {1}".format(msg, detail.strip().splitlines()[-1])
        words.append(msg or detail.strip() or _text(part.get("censored")))
    text = "; ".join(dict.fromkeys(word.strip() for word in words if word.strip()))
    if not text:
        text = _text(result.get("msg")) or _text(result.get("censored")) or "no message"
    return text[:MESSAGE_LIMIT]


def _parts(result: dict[str, Any], failed_only: bool = False) -> list[dict[str, Any]]:
    """The result itself, or the results of a loop's items that matter."""
    items = result.get("results")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return [result]
    key = "failed" if failed_only else "changed"
    chosen = [item for item in items if item.get(key)]
    return chosen or [result]


def _diff_label(diff: Any) -> str | None:
    if not isinstance(diff, dict):
        return None
    for key in ("after_header", "before_header"):
        header = _text(diff.get(key))
        if header:
            return header.split(" (")[0].strip()
    for key in ("after", "before"):
        side = diff.get(key)
        if isinstance(side, dict) and isinstance(side.get("path"), str):
            return _text(side["path"])
    return None


def _phase(play_name: str) -> str:
    """The phase of a play: its name in lower case, with underscores ("Model store")."""
    return play_name.strip().lower().replace(" ", "_")


def _name(task: Any) -> str:
    # The role is the phase already; "base : Set the host name" would say it twice.
    return str(task.name or task.get_name()).strip()


def _path(task: Any) -> str:
    path = task.get_path() or ""
    parts = path.split("/")
    for anchor in ("roles", "playbooks"):
        if anchor in parts:
            return "/".join(parts[len(parts) - 1 - parts[::-1].index(anchor) :])
    return parts[-1]


def _plain(value: object) -> int | float | str | None:
    """A number as it is, and anything else as text."""
    return value if isinstance(value, int | float) else _said(value)


def _said(value: object) -> str | None:
    """Text, where there is something."""
    return None if value is None else _text(value)


def _text(value: object) -> str:
    """What a node said, without anything that a terminal would obey; nothing of None.

    Messages and changes are shown while a run goes on, kept, and shown again by other verbs.
    """
    if value is None:
        return ""
    return "".join(
        c if c.isprintable() or c == "\n" else " " if c in "\t\r" else "\N{MIDDLE DOT}"
        for c in str(value)
    )

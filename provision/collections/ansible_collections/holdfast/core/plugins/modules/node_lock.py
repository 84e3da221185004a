#!/usr/bin/python
# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""A lock on a node that names the run that may change it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_lock
short_description: Hold a node for one run, so that two writers never meet
description:
  - Creates a lock file on the node that names the run, the controller and the process that may
    change the node, or removes it again.
  - The file lies in C(/run) and so goes away with a restart of the node.
  - Before the lock counts as acquired, the module waits for remote module processes that an
    earlier run left behind, so that what a killed run started cannot overlap with the new one.
    Only processes of root and of the users that runs log in as count; nobody else can keep a node
    from being taken or given back.
  - Every acquire and release is appended to the node's history.
options:
  state:
    description:
      - V(acquired) takes the lock; taking it again for the same run is no change.
      - V(released) gives it back; a lock that is not there is no change.
      - V(inspected) changes nothing and returns the holder and the requested restarts.
    type: str
    choices: [acquired, released, inspected]
    default: acquired
  run:
    description: The run that asks.
    type: str
    required: true
  controller:
    description: The machine and user that the run works from.
    type: str
    default: ""
  pid:
    description: The process on the controller that drives the run.
    type: int
    default: 0
  command:
    description: What the run was asked to do, in words.
    type: str
    default: ""
  lock_digest:
    description: The sha256 of the stack lock that the run applies; written to the history.
    type: str
    default: ""
  takeover:
    description:
      - The one run whose lock may be replaced. A lock of any other run is still an error.
    type: str
  resume:
    description:
      - The run continues after it was killed. Processes left behind are ended when they have
        not ended by themselves after O(wait). The same holds after a takeover.
    type: bool
    default: false
  wait:
    description:
      - Seconds to wait for processes that an earlier run left behind. A lock is not given back
        while they still work.
    type: int
    default: 30
  root:
    description: A folder to use instead of C(/), for tests and image builds.
    type: path
    default: /
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Says whether the lock would be taken or given back, and changes nothing.
  diff_mode:
    support: none
    description: The lock file is not part of a node's state.
  platform:
    support: full
    platforms: linux
    description: Reads C(/proc).
"""

EXAMPLES = r"""
- name: Hold the node
  holdfast.core.node_lock:
    state: acquired
    run: 20261123T091500Z-3f9a
    controller: admin@head
    pid: 4711
    command: holdfast up rack.yml

- name: Replace the lock of a run that is known to be dead
  holdfast.core.node_lock:
    run: 20261123T101500Z-77c1
    takeover: 20261123T091500Z-3f9a

- name: Give it back
  holdfast.core.node_lock:
    state: released
    run: 20261123T091500Z-3f9a
"""

RETURN = r"""
holder:
  description: What the lock file says, or null when there is none.
  returned: always
  type: dict
  sample: {run: 20261123T091500Z-3f9a, controller: admin@head, pid: 4711, since: 1795404067}
holdfast_lock_holder:
  description: The run that holds the node instead of the one that asked.
  returned: failure
  type: dict
left_behind:
  description: Processes of an earlier run that were seen, and whether they were ended.
  returned: when state is acquired
  type: list
  elements: dict
holdfast_reboot:
  description: Why a restart of the node is asked for; empty when none is.
  returned: always
  type: list
  elements: str
"""

import contextlib
import errno
import json
import os
import signal
import time
from collections.abc import Collection
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.processes import (
    ancestors,
    left_behind,
    signal_process,
    users_of,
    wait_for_end,
)

LOCK = "run/holdfast/lock.json"
HISTORY = "var/lib/holdfast/history.jsonl"
REBOOT = "run/holdfast/reboot-required"
GRACE = 20
Holder = dict[str, Any]
"""What a lock file says of the run that holds the node."""


class Refused(Exception):
    """The lock is held by another run, or processes of an earlier one would not end."""

    def __init__(self, message: str, holder: Holder | None = None) -> None:
        super().__init__(message)
        self.holder = holder


def read_lock(root: str) -> Holder | None:
    """What the lock file says; None when there is none, {} when it cannot be read."""
    try:
        with open(os.path.join(root, LOCK), encoding="utf-8") as stream:
            found = json.load(stream)
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def create_lock(root: str, content: Holder) -> bool:
    """Create the lock file whole, or not at all; False when one is there already.

    A link of a finished file is used because O_EXCL alone would show an empty file to whoever
    looks between its creation and the write.
    """
    path = os.path.join(root, LOCK)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    draft = "{0}.{1}".format(path, os.getpid())
    with open(draft, "w", encoding="utf-8") as stream:
        json.dump(content, stream, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(draft, 0o644)
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
        return False
    finally:
        os.unlink(draft)
    return True


def remove_lock(root: str, run: str | None) -> Holder | None:
    """Remove the lock of `run` and no other; returns the holder that is there instead, or None.

    The file is moved aside first and looked at afterwards: between a look and a removal another
    run could have put its own lock in the place.
    """
    path = os.path.join(root, LOCK)
    aside = "{0}.{1}.gone".format(path, os.getpid())
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return None
    try:
        with open(aside, encoding="utf-8") as stream:
            loaded = json.load(stream)
    except ValueError:
        loaded = None
    found: Holder = loaded if isinstance(loaded, dict) else {}
    if found.get("run") not in (run, None):
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
        os.unlink(aside)
        return found
    os.unlink(aside)
    return None


def write_history(root: str, entry: dict[str, Any]) -> None:
    """Append what happened to the node's history."""
    path = os.path.join(root, HISTORY)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    handle = os.open(path, flags, 0o644)
    try:
        line = json.dumps(entry, sort_keys=True) + "\n"
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def reboot_reasons(root: str) -> list[str]:
    """Why a restart is asked for: one file a caller, one line a reason."""
    folder = os.path.join(root, REBOOT)
    reasons: list[str] = []
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    for name in names:
        try:
            with open(os.path.join(folder, name), encoding="utf-8") as stream:
                lines = [line.strip() for line in stream.read(4000).splitlines()]
        except (OSError, ValueError):
            lines = []
        reasons.extend([line for line in lines if line] or [name])
    return reasons


def clear_left_behind(
    proc: str, seconds: float, end: bool, users: Collection[int] = ()
) -> list[dict[str, Any]]:
    """Wait for what an earlier run left behind; end it after the wait when `end` is true.

    Only processes of root count, of whom we are, and of `users`: whom the earlier run was.
    """
    own = ancestors(proc, os.getpid())

    def look() -> list[dict[str, Any]]:
        return left_behind(proc, own, users)

    seen = look()
    if not seen:
        return []
    left = wait_for_end(look, seconds)
    if left and end:
        # Never SIGKILL: it could cut an RPM transaction in two.
        for entry in left:
            signal_process(proc, entry, signal.SIGTERM)
        left = wait_for_end(look, GRACE)
    if left:
        raise Refused(
            "processes of an earlier run still work on this node after {0} s: {1}. "
            "Look at them on the node, and run this again when they have ended.".format(
                seconds, ", ".join("{0} ({1})".format(e["pid"], e["command"]) for e in left)
            )
        )
    return [dict(entry, ended=bool(end)) for entry in seen]


def users_in(holder: Holder | None) -> list[int]:
    """Whom the run that took a lock logged in as, by number."""
    found = (holder or {}).get("users")
    return [user for user in found if isinstance(user, int)] if isinstance(found, list) else []


def describe(holder: Holder | None) -> str:
    """A holder in words."""
    if not holder:
        return "a lock file that cannot be read"
    since = holder.get("since")
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(since)) if since else "unknown"
    return "run {0} of {1} (process {2}, since {3}: {4})".format(
        holder.get("run", "?"),
        holder.get("controller") or "an unnamed controller",
        holder.get("pid", "?"),
        when,
        holder.get("command") or "no command",
    )


def acquire(
    params: dict[str, Any], check_mode: bool, proc: str = "/proc"
) -> tuple[bool, Holder | None, list[dict[str, Any]]]:
    """Take the lock; returns whether something changed, the holder and what was left behind.

    Raises:
        Refused: another run holds it, or its processes would not end.
    """
    root = params["root"]
    holder = read_lock(root)
    replaced = None
    if holder is not None and holder.get("run") != params["run"]:
        if not params["takeover"] or holder.get("run") not in (params["takeover"], None):
            run = holder.get("run") or "unreadable"
            raise Refused(
                "this node is held by {0}. Wait until that run ends; if it was killed, continue "
                "it with --resume {1} or replace its lock with --break-lock {1}.".format(
                    describe(holder), run
                ),
                holder,
            )
        replaced = holder
    fresh = {
        "run": params["run"],
        "controller": params["controller"],
        "pid": params["pid"],
        "command": params["command"],
        "since": int(time.time()),
        "users": sorted(users_of(proc, ancestors(proc, os.getpid()))),
    }
    if check_mode:
        return holder is None or replaced is not None, holder, []
    end = bool(params["resume"] or replaced is not None)
    changed = False
    if holder is None or replaced is not None:
        other = remove_lock(root, replaced.get("run")) if replaced is not None else None
        if other is not None or not create_lock(root, fresh):
            other = other or read_lock(root)
            raise Refused(
                "another run took this node just now: {0}.".format(describe(other)), other
            )
        changed = True
        entry = {"at": fresh["since"], "event": "lock.acquired", "run": params["run"]}
        entry.update(controller=params["controller"], command=params["command"])
        entry["stack_lock"] = params["lock_digest"]
        if replaced is not None:
            entry["replaced"] = replaced.get("run")
        write_history(root, entry)
    else:
        fresh = holder
    try:
        left = clear_left_behind(proc, params["wait"], end, users_in(replaced or holder))
    except Refused:
        if changed:
            remove_lock(root, params["run"])
        raise
    return changed, fresh, left


def release(
    params: dict[str, Any], check_mode: bool, proc: str = "/proc"
) -> tuple[bool, Holder | None]:
    """Give the lock back; returns whether something changed and who holds the node afterwards.

    Raises:
        Refused: modules of the run still work here; the lock stays until they have ended.
    """
    root = params["root"]
    holder = read_lock(root)
    if holder is None:
        return False, None
    if holder.get("run") != params["run"]:
        # Somebody replaced our lock on purpose; theirs stays.
        return False, holder
    if check_mode:
        return True, None
    clear_left_behind(proc, params["wait"], False, users_in(holder))
    other = remove_lock(root, params["run"])
    if other is not None:
        return False, other
    write_history(root, {"at": int(time.time()), "event": "lock.released", "run": params["run"]})
    return True, None


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "default": "acquired",
                "choices": ["acquired", "released", "inspected"],
            },
            "run": {"type": "str", "required": True},
            "controller": {"type": "str", "default": ""},
            "pid": {"type": "int", "default": 0},
            "command": {"type": "str", "default": ""},
            "lock_digest": {"type": "str", "default": ""},
            "takeover": {"type": "str"},
            "resume": {"type": "bool", "default": False},
            "wait": {"type": "int", "default": 30},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    params = module.params
    result: dict[str, Any] = {"changed": False, "left_behind": []}
    try:
        if params["state"] == "acquired":
            result["changed"], result["holder"], result["left_behind"] = acquire(
                params, module.check_mode
            )
        elif params["state"] == "released":
            result["changed"], result["holder"] = release(params, module.check_mode)
        else:
            result["holder"] = read_lock(params["root"])
    except Refused as error:
        module.fail_json(
            msg=str(error),
            holder=error.holder,
            holdfast_lock_holder=error.holder,
            holdfast_reboot=[],
        )
    except OSError as error:
        module.fail_json(
            msg="the node's lock under {0} could not be handled: {1}".format(params["root"], error),
            holder=None,
            holdfast_reboot=[],
        )
    result["holdfast_reboot"] = reboot_reasons(params["root"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()

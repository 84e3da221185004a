# Copyright: Holdfast contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# This file imports ansible.plugins and is therefore under the GNU General Public License,
# version 3 or later; see LICENSES/GPL-3.0-or-later.txt.
"""Install exactly the packages of a stack lock: look, check, install, look again."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.holdfast.core.plugins.module_utils.rpm import nevra

_OPTIONS = frozenset({"packages", "absent", "locked", "older"})


class ActionModule(ActionBase):
    """Wraps rpm_state, rpm_transaction and ansible.builtin.dnf."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Do the work; the result carries `holdfast_changes`."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        unknown = sorted(set(self._task.args) - _OPTIONS)
        if unknown:
            return failed("unknown option {0}".format(", ".join(unknown)))
        seen = self._state(task_vars)
        if seen.get("failed"):
            return seen
        names = sorted({p["name"] for p in seen["missing"]})
        if seen["pending"]:
            result.update(changed=True, holdfast_changes=seen["pending"])
        result.update(names=names)
        if not seen["pending"] or self._task.check_mode:
            return result
        problem = self._install(seen, task_vars) or self._prove(task_vars)
        return problem if problem is not None else result

    def _state(self, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        arguments = {k: self._task.args.get(k) or [] for k in ("packages", "absent")}
        return self._call("holdfast.core.rpm_state", arguments, task_vars)

    def _install(
        self, seen: dict[str, Any], task_vars: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Remove what is unwanted, install what is missing; a failure, or None."""
        if seen["unwanted"]:
            found = self._dnf(seen["unwanted"], "absent", task_vars)
            if found.get("failed"):
                return explained(found, "dnf cannot remove " + ", ".join(seen["unwanted"]))
        if not seen["missing"]:
            return None
        arguments = {k: self._task.args.get(k) or [] for k in ("locked", "older")}
        arguments["packages"] = seen["missing"]
        found = self._call("holdfast.core.rpm_transaction", arguments, task_vars)
        if found.get("failed"):
            return found
        labels = [nevra(p) for p in seen["missing"]]
        found = self._dnf(labels, "present", task_vars)
        if found.get("failed"):
            return explained(found, "dnf cannot install " + ", ".join(labels))
        return None

    def _prove(self, task_vars: dict[str, Any] | None) -> dict[str, Any] | None:
        """Read the rpm database again; a failure when it does not hold what was asked for."""
        seen = self._state(task_vars)
        if seen.get("failed"):
            return seen
        if seen["pending"]:
            return failed(
                "dnf said that it was done, but the rpm database says otherwise: still to do: {0}."
                " Next: read /var/log/dnf.log on the node.".format("; ".join(seen["pending"]))
            )
        return None

    def _dnf(
        self, names: list[str], state: str, task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        arguments = {
            "name": names,
            "state": state,
            "install_weak_deps": False,
            "allow_downgrade": True,
            "autoremove": False,
            # It keeps everybody else from moving what is locked, and would keep us from moving it
            # to where the stack lock is now. What we install is held against that lock, package by
            # package, before it comes here.
            "disable_plugin": ["versionlock"],
            "lock_timeout": 120,
        }
        return self._call("ansible.legacy.dnf", arguments, task_vars)

    def _call(
        self, module: str, arguments: dict[str, Any], task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name=module, module_args=arguments, task_vars=task_vars
        )
        return found


def failed(message: str) -> dict[str, Any]:
    """A result that says that the task failed."""
    return {"failed": True, "msg": message}


def explained(found: dict[str, Any], what: str) -> dict[str, Any]:
    """Dnf's failure with the reasons that it keeps in other fields."""
    reasons = [str(found.get("msg", "")), *(str(f) for f in found.get("failures", []))]
    text = "; ".join(r for r in reasons if r)
    hint = "check the repositories, their keys and the node's disk"
    if "Cannot download" in text:
        hint = "put the package where the repository's metadata says it is, or index it again"
    if "hecksum" in text:
        hint = "the file is not the one that the repository's metadata names; put it right there"
    if "GPG" in text or "signature" in text:
        hint = "the package or the repository is not signed by a key of the stack lock; refuse it"
    return {**found, "failed": True, "msg": "{0}: {1}. Next: {2}.".format(what, text, hint)}

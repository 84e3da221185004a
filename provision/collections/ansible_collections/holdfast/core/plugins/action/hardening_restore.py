# Copyright: Holdfast contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# This file imports ansible.plugins and is therefore under the GNU General Public License,
# version 3 or later; see LICENSES/GPL-3.0-or-later.txt.
"""Put back what a run changed, between two logins that are proven."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from ansible_collections.holdfast.core.plugins.action import access
from ansible_collections.holdfast.core.plugins.module_utils.hardening.back import unfinished


class ActionModule(access.ActionModule):
    """Wraps the module of the same name, as `access` wraps hardening."""

    MODULE = "holdfast.core.hardening_restore"
    OPTIONS = ("to", "by", "force")
    ALWAYS = MappingProxyType({})
    CHANGE = "restore"
    NEXT = "mend the file that keeps you out: what somebody changed since stays as it is"

    def _settled(
        self, seen: dict[str, Any], given: dict[str, Any], task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Nothing is to come back; the journals are marked all the same."""
        del seen
        return self._module(self.MODULE, given, task_vars)

    def _kept(self, done: dict[str, Any]) -> dict[str, Any]:
        """Fail where something could not be put back; what is back has been proven."""
        wrong = done.get("wrong")
        return {**done, **access.failed(*unfinished(wrong))} if wrong else done

# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""SELinux's mode and policy."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    TEXT,
    Field,
    Type,
    Want,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import NotHere

CONFIG = "/etc/selinux/config"
ENFORCE = "/sys/fs/selinux/enforce"
RELABEL = "/.autorelabel"
SCHEMA = {"state": Field(str, choices=("enforcing", "permissive")), "policy": TEXT}
_RANK = {"disabled": 0, "permissive": 1, "enforcing": 2}


class Selinux(Type):
    """`state` and `policy`; the state is the least that is wanted, and is never lowered.

    A system that ran without SELinux has files without labels: it gets all labels at its next
    start and is not made to enforce before that.
    """

    name = "selinux"
    schema = SCHEMA

    def read(self, want: Want) -> dict[str, str]:
        """What is configured, and what is in force (empty: switched off).

        Raises:
            NotHere: the node has no SELinux, or not this policy; one that names a policy which
                it does not have would not start again.
        """
        text = self.node.text(CONFIG)
        if text is None:
            raise NotHere("there is no {0}".format(CONFIG))
        policy = want.get("policy")
        if policy is not None and not self.node.exists("/etc/selinux/{0}/policy".format(policy)):
            raise NotHere("the policy {0} is not installed".format(policy))
        runs = {"1": "enforcing", "0": "permissive"}
        return {
            "state": _said(text, "SELINUX"),
            "policy": _said(text, "SELINUXTYPE"),
            "runs": runs.get((self.node.text(ENFORCE) or "").strip(), ""),
        }

    def diff(self, want: Want, seen: dict[str, str]) -> list[str]:
        """Mode and policy in words."""
        words = []
        if lower(seen["state"], want.get("state")):
            words.append("set SELinux to {0} in {1}".format(want["state"], CONFIG))
        if want.get("policy") not in (None, seen["policy"]):
            words.append("set SELinux policy {0} in {1}".format(want["policy"], CONFIG))
        if seen["runs"] == "permissive" and want.get("state") == "enforcing":
            words.append("enforce SELinux")
        if not seen["runs"] and (words or self.node.exists(RELABEL)):
            self.node.wait("{0}: SELinux is switched off".format(want.control))
        return words

    def write(self, want: Want, seen: dict[str, str]) -> None:
        """Stage file and mode."""
        text = self.node.text(CONFIG) or ""
        if lower(seen["state"], want.get("state")):
            text = texts.with_setting(text, "SELINUX", want["state"], "bare_equals")
            if not seen["runs"] and not self.node.offline:
                self.node.write(RELABEL, "")
        if want.get("policy") not in (None, seen["policy"]):
            text = texts.with_setting(text, "SELINUXTYPE", want["policy"], "bare_equals")
        if text != self.node.text(CONFIG):
            self.node.write(CONFIG, text)
        if seen["runs"] == "permissive" and want.get("state") == "enforcing":
            self.node.act("SELinux", [{"run": ["setenforce", "1"]}], self.undo(want, seen))

    def undo(self, want: Want, seen: dict[str, str]) -> list[dict[str, Any]]:
        """The mode that was in force."""
        del want, seen
        return [{"run": ["setenforce", "0"]}]


def _said(text: str, key: str) -> str:
    lines = texts.settings(text, key, "bare_equals")
    return lines[-1].partition("=")[2].strip().lower() if lines else ""


def lower(state: str, wanted: str | None) -> bool:
    """Whether a state is less than what is wanted."""
    return wanted is not None and _RANK.get(state, 0) < _RANK[wanted]

# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""The system's crypto policy."""

from __future__ import annotations

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    NAME,
    Field,
    Type,
    Want,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import NotHere, Refused

CONFIG = "/etc/crypto-policies/config"
CURRENT = "/etc/crypto-policies/state/current"
FOLDERS = ("/etc/crypto-policies/policies", "/usr/share/crypto-policies/policies")
SCHEMA = {"policy": Field(str, pattern=NAME), "modules": Field(list, pattern=NAME)}


class CryptoPolicy(Type):
    """`policy` and `modules`; modules of several controls add up, FIPS stays FIPS."""

    name = "crypto_policy"
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """Read what is configured and what is in force."""
        del wants
        self.was = first(self.node.text(CONFIG))
        current = first(self.node.text(CURRENT))
        self.base, *self.modules = self.was.split(":")
        self.chosen: str | None = None
        self.stale = current not in ("", self.was)

    def read(self, want: Want) -> str:
        """The policy with its modules.

        Raises:
            NotHere: the node has no crypto policies.
        """
        del want
        if not self.node.has_command("update-crypto-policies") or not self.was:
            raise NotHere("there are no crypto policies")
        return self.was

    def diff(self, want: Want, seen: str) -> list[str]:
        """Policy and modules in words.

        Raises:
            Refused: two controls want different policies.
        """
        del seen
        words = []
        base, *modules = self.was.split(":")
        policy = want.get("policy")
        if policy is not None and self.chosen not in (None, policy):
            raise Refused("{0} and {1} are both wanted".format(self.chosen, policy), "waive one")
        if policy is not None and policy != base and not base.startswith("FIPS"):
            words.append("set crypto policy {0} (was {1})".format(policy, base))
        missing = [m for m in want.get("modules", []) if m not in modules]
        return words + ["add module {0} to the crypto policy".format(m) for m in missing]

    def write(self, want: Want, seen: str) -> None:
        """Note it; one command at the end sets all."""
        del seen
        policy = want.get("policy")
        if policy is not None and not self.base.startswith("FIPS"):
            self._known(policy + ".pol")
            self.base = self.chosen = policy
        for module in want.get("modules", []):
            if module not in self.modules:
                self._known("modules/" + module + ".pmod")
                self.modules.append(module)

    def _known(self, name: str) -> None:
        if not any(self.node.exists(folder + "/" + name) for folder in FOLDERS):
            raise Refused("there is no crypto policy file {0}".format(name), "check the name")

    def finish(self, wants: list[Want]) -> list[tuple[str, str]]:
        """Stage the one command; services read it when they are reloaded."""
        del wants
        wanted = ":".join([self.base, *self.modules])
        if not self.was or (wanted == self.was and not self.stale):
            return []
        do = [{"run": ["update-crypto-policies", "--no-reload", "--set", wanted]}]
        back = [{"run": ["update-crypto-policies", "--no-reload", "--set", self.was]}]
        self.node.act("crypto policy", do, back, files=True).touches = (CONFIG,)
        if self.node.has_unit("sshd.service"):
            self.node.reload("sshd")
        self.node.wait("crypto policy {0}: programs that run keep the old one".format(wanted))
        return [("", "apply crypto policy {0}".format(wanted))] if wanted == self.was else []


def first(text: str | None) -> str:
    """The first line that says something."""
    return next((line.strip() for line in texts.lines_of(text or "") if texts.active(line)), "")

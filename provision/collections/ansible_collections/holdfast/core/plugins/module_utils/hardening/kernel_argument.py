# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of every installed kernel."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    STATE,
    Field,
    Type,
    Want,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import NotHere

_ARGS = re.compile(r'^args="(.*)"$', re.MULTILINE)
SCHEMA = {
    "name": Field(str, required=True, pattern=r"^[^\s=\"']+\Z"),
    "value": Field(str, pattern=r"^[^\s\"']*\Z"),
    "state": STATE,
}


class KernelArgument(Type):
    """`name`, `value` and `state`; takes effect at the next start."""

    name = "kernel_argument"
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """Ask once for the arguments of all kernels."""
        del wants
        self.kernels: list[list[str]] | None = None
        if self.node.has_command("grubby"):
            code, out = self.node.command(["grubby", "--info=ALL"])
            if code == 0:
                self.kernels = [line.split() for line in _ARGS.findall(out)]
        self.entries = self.node.files("/boot/loader/entries", ".conf")
        self.running = (self.node.text("/proc/cmdline") or "").split()
        self.add: list[str] = []
        self.take: list[str] = []

    def read(self, want: Want) -> list[list[str]]:
        """The argument as each kernel has it.

        Raises:
            NotHere: grubby, which sets them, does not know a kernel.
        """
        if not self.kernels:
            raise NotHere("grubby knows no kernel here")
        return [[word for word in words if named(word, want["name"])] for words in self.kernels]

    def wanted(self, want: Want) -> list[str]:
        """The argument as it is to be."""
        if want.get("state") == "absent":
            return []
        value = want.get("value")
        return [want["name"] if value is None else "{0}={1}".format(want["name"], value)]

    def diff(self, want: Want, seen: list[list[str]]) -> list[str]:
        """The argument in words; one that only the next start brings is waited for."""
        wanted = self.wanted(want)
        runs = [word for word in self.running if named(word, want["name"])]
        right = all(words == wanted for words in seen)
        if runs != wanted and (not right or any(map(self.node.since_boot, self.entries))):
            self.node.wait("{0}: kernel argument {1}".format(want.control, want["name"]))
        if right:
            return []
        told = "set kernel argument {0}" if wanted else "remove kernel argument {0}"
        return [told.format(wanted[0] if wanted else want["name"])]

    def write(self, want: Want, seen: list[list[str]]) -> None:
        """Stage it."""
        wanted = self.wanted(want)
        option = "--args=" + wanted[0] if wanted else "--remove-args=" + want["name"]
        do = [{"run": ["grubby", "--update-kernel=ALL", option]}]
        self.node.act("kernel argument {0}".format(want["name"]), do, self.undo(want, seen))

    def undo(self, want: Want, seen: list[list[str]]) -> list[dict[str, Any]]:
        """As most kernels had it."""
        had = seen[0]
        options = ["--args=" + " ".join(had)] if had else ["--remove-args=" + want["name"]]
        return [{"run": ["grubby", "--update-kernel=ALL", *options]}]


def named(word: str, name: str) -> bool:
    """Whether a word of the command line is this argument."""
    return word.partition("=")[0] == name

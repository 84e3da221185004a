# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Packages. The role hands them to holdfast.core.packages before; here is only the proof."""

from __future__ import annotations

from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    NEEDED,
    STATE,
    Type,
    Want,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Refused

SCHEMA = {"name": NEEDED, "state": STATE}


class Package(Type):
    """`name` and `state`. What is not there after the role's own step cannot be had at all."""

    name = "package"
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """Ask the rpm database once."""
        self.node.ask_packages([want["name"] for want in wants])

    def read(self, want: Want) -> bool:
        """Whether it is installed."""
        return self.node.installed(want["name"])

    def diff(self, want: Want, seen: bool) -> list[str]:
        """Nothing is changed here.

        Raises:
            Refused: it is missing.
        """
        if want.get("state") != "absent" and not seen:
            raise Refused(
                "{0} is not installed".format(want["name"]),
                "put it into the stack lock for the role hardening",
            )
        return []

    def write(self, want: Want, seen: bool) -> None:
        """Nothing is changed here."""

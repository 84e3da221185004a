# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""A first database of AIDE, where there is none."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import Field, Type, Want
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import NotHere

CONFIGS = ("/etc/aide.conf", "/etc/aide/aide.conf")
FOLDER = "/var/lib/aide"
LIMIT_S = 4 * 3600
"""Seconds: it reads every file that the system consists of, on a disk that may be slow."""
_SET = re.compile(
    r"^\s*(@@define\s+DBDIR\s+|database_in=|database_out=|database=)(\S+)", re.MULTILINE
)
SCHEMA: dict[str, Field] = {}


class AideDatabase(Type):
    """No options. Comes last, when all that it records is as it is to be."""

    name = "aide_database"
    schema = SCHEMA

    def read(self, want: Want) -> tuple[str, str]:
        """Where the database is, and where a new one is written.

        Raises:
            NotHere: AIDE is not installed.
        """
        del want
        text = next((t for t in map(self.node.text, CONFIGS) if t is not None), None)
        if text is None or not self.node.has_command("aide"):
            raise NotHere("there is no aide")
        said = {key.split()[-1]: value for key, value in _SET.findall(text)}
        folder = said.get("DBDIR", FOLDER)
        names = [said.get("database_in=") or said.get("database=") or FOLDER + "/aide.db.gz"]
        names.append(said.get("database_out=") or FOLDER + "/aide.db.new.gz")
        paths = [n.replace("file:", "").replace("@@{DBDIR}", folder) for n in names]
        return paths[0], paths[1]

    def diff(self, want: Want, seen: tuple[str, str]) -> list[str]:
        """That there is none; an image has none: each node makes its own, of what it then is."""
        del want
        if self.node.offline:
            return []
        return [] if self.node.exists(seen[0]) else ["make the first database of AIDE"]

    def write(self, want: Want, seen: tuple[str, str]) -> None:
        """Stage it."""
        make: dict[str, Any] = {"run": ["aide", "--init"], "seconds": LIMIT_S}
        do = [make, {"run": ["mv", "-f", seen[1], seen[0]]}]
        self.node.act("AIDE's database", do, self.undo(want, seen)).last = True

    def undo(self, want: Want, seen: tuple[str, str]) -> list[dict[str, Any]]:
        """Remove it."""
        del want
        return [{"run": ["rm", "-f", "--", seen[0], seen[1]]}]

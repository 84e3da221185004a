"""The tables of XID and SXid codes."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

from provision.health import data_files


@dataclass(frozen=True)
class Code:
    """What a code of the driver means.

    Args:
        code: the number in the kernel's log.
        says: what happened, in words of our own.
        kind: ``application`` (never gates: the program is at fault), ``notice`` (says something
            worth keeping, never gates), ``decides`` (the word Fatal in the line decides), or
            ``hardware`` (gates).
        severity: how much it matters when it gates.
        action: what to do next.
    """

    code: int
    says: str
    kind: str
    severity: str
    action: str


@functools.cache
def table(name: str) -> dict[int, Code]:
    """The codes of ``xid`` or ``sxid`` by number."""
    rows = json.loads(data_files.text(f"{name}.json"))["codes"]
    return {int(row[0]): Code(int(row[0]), *row[1:]) for row in rows}

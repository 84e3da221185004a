"""One thing in a stack lock that does not fit."""

from __future__ import annotations

from dataclasses import dataclass

from provision.core.jsonpos import JsonPath


@dataclass(frozen=True)
class Misfit:
    """One thing that does not fit, and the way to the value that says so."""

    path: JsonPath
    code: str
    message: str
    hint: str

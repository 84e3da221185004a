"""The verdict on disk: its published JSON Schema, and the reader of what was written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, Problem
from provision.verdict.model import SCHEMA, Verdict

SCHEMA_FILE = Path(__file__).with_name("verdict.schema.json")
"""JSON Schema (2020-12) of what `Verdict.to_json` returns."""

_READABLE = (SCHEMA,)
"""Every version ever published; a test reads a stored file of each."""


def json_schema() -> dict[str, Any]:
    """The published schema as plain data."""
    found: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return found


def to_text(verdict: Verdict) -> str:
    """The verdict as the text of a file, ending in a newline."""
    text = json.dumps(verdict.to_json(), ensure_ascii=False, indent=2, allow_nan=False)
    # Bytes of a node that were not UTF-8 arrive as lone surrogates, which no file can hold.
    return re.sub("[\ud800-\udfff]", "\ufffd", text) + "\n"


def from_json(text: str | bytes, name: str = "verdict") -> Verdict:
    """The verdict that `to_json` described.

    Keys that this version does not know are passed over. The statuses of nodes and rack are
    worked out again from the findings: a file cannot claim a verdict that its findings deny.

    Args:
        text: one JSON document.
        name: what to call it in problems, such as its path.

    Raises:
        HoldfastError: exit code 2, with every mistake and its place in the document.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _refuse([Problem("not-json", f"not a JSON document: {error}", where=name)]) from error
    version = document.get("schema") if isinstance(document, dict) else None
    if version not in _READABLE:
        raise _refuse([_unreadable(name, version)])
    try:
        return TypeAdapter(Verdict).validate_json(text, strict=True)
    except ValidationError as error:
        problems = [
            Problem(
                "bad-verdict",
                f"{_path(found['loc'])}: {found['msg']}",
                where=name,
                value=repr(found["input"])[:200],
                hint=f"the format is described in {SCHEMA_FILE.name}",
            )
            for found in error.errors(include_url=False)
        ]
        raise _refuse(problems) from error


def read_verdict(path: Path) -> Verdict:
    """The verdict in a file.

    Raises:
        HoldfastError: exit code 2; the file cannot be read or is not a verdict.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        problem = Problem("unreadable", f"cannot be read: {error.strerror}", where=str(path))
        raise _refuse([problem]) from error
    return from_json(text, str(path))


def _refuse(problems: list[Problem]) -> HoldfastError:
    return HoldfastError(problems, ExitCode.USAGE)


def _unreadable(name: str, version: object) -> Problem:
    return Problem(
        "unknown-schema",
        f"schema is {version!r}, this holdfast reads {', '.join(_READABLE)}",
        where=name,
        value=repr(version)[:200],
        hint="read it with the holdfast that wrote it, or a newer one",
    )


def _path(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location)
    return text.lstrip(".") or "document"

"""Reads a stack lock: all mistakes at once, each with line, column and what to do.

lock, problems = load_lock(path)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from provision.core.jsonpos import JsonDocument, JsonPath, load_json
from provision.core.names import suggest
from provision.core.problems import Problem, by_position
from provision.supply.consistency import misfits
from provision.supply.model import READABLE, SCHEMA, StackLock

__all__ = ["SCHEMA", "StackLock", "json_schema", "load_lock", "lock_sha256"]

_PATTERNS = {
    r"^[0-9a-f]{64}$": "64 lower-case hex digits (a SHA-256)",
    r"^sha256:[0-9a-f]{64}$": "'sha256:' and 64 lower-case hex digits",
    r"^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$": "40 hex digits (a key's fingerprint)",
    r"\S": "some words",
    r"^[A-Za-z0-9][A-Za-z0-9._+-]*$": "a name of letters, digits and . _ + -",
    r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$": "some words on one line",
    r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$": "an image's name of letters, digits and . _ : / -",
    r"^[a-z][a-z0-9_]*$": "a role's name: lower-case letters, digits and _",
    r"^[^-\s:/]+$": "text without '-', ':', '/' and spaces, as rpm has it",
    r"^-----BEGIN PGP PUBLIC KEY BLOCK-----": "a public key in ASCII armour",
    r"^[^\s:/]+-\d+:[^-\s:/]+-[^-\s:/]+\.[a-z0-9_]+$": "a name-epoch:version-release.arch",
    r"^\d+(\.\d+){1,2}$": "a driver's version, such as 580.105.08",
    r"^\d+\.\d+(\.\d+)?$": "a version of CUDA, such as 12.8",
    r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$": "a UTC time such as 2026-11-23T00:00:00Z",
    r"^[^/\s]+\.whl$": "a wheel's file name",
}
"""What the patterns of the model ask for, in words."""

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "tuple_type": "a list",
}


def load_lock(path: Path, name: str | None = None) -> tuple[StackLock | None, list[Problem]]:
    """Read and judge the stack lock at `path`, called `name` in problems.

    Returns:
        The lock, or None when it cannot be used, and all problems in reading order. A lock
        comes with an empty list only when nothing is wrong with it.
    """
    document, problems = load_json(path, name)
    if document is None:
        return None, problems
    version = _version_problem(document)
    if version is not None:
        return None, [version]
    try:
        lock = StackLock.model_validate_json(document.text)
    except ValidationError as error:
        problems += [_as_problem(document, dict(detail)) for detail in error.errors()]
        return None, by_position(problems)
    problems += [
        document.problem(m.code, m.message, m.path, value=_shown(document, m.path), hint=m.hint)
        for m in misfits(lock)
    ]
    return (None if problems else lock), by_position(problems)


def lock_sha256(path: Path) -> str:
    """The SHA-256 of the lock's bytes, by which runs and nodes name it.

    Raises:
        OSError: the file cannot be read.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a stack lock, for editors and other programs."""
    schema = StackLock.model_json_schema(by_alias=True)
    for part in schema["properties"].values():
        if "patternProperties" in part:
            # Without this a name of another form would be let through.
            part["additionalProperties"] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "holdfast.stack.schema.json",
        **schema,
        "title": "Holdfast stack lock",
    }


def _version_problem(document: JsonDocument) -> Problem | None:
    """A lock of another version must say so, and nothing else: the rest would be noise."""
    if not isinstance(document.data, dict):
        return document.problem("wrong-type", "a stack lock is a JSON object")
    found = document.data.get("schema")
    if found in READABLE:
        return None
    hint = f"this Holdfast reads {', '.join(READABLE)}"
    if found is None:
        return document.problem("missing-key", "the key 'schema' is missing", hint=hint)
    message = f"the schema {found!r} is not known"
    return document.problem("unknown-schema", message, ("schema",), value=str(found), hint=hint)


def _as_problem(document: JsonDocument, detail: Mapping[str, Any]) -> Problem:
    # A dictionary's bad key is reported below its value, marked by a last step '[key]'.
    bad_key = detail["loc"][-1:] == ("[key]",)
    path: JsonPath = tuple(detail["loc"][:-1] if bad_key else detail["loc"])
    kind = detail["type"]
    if kind == "missing":
        return document.problem("missing-key", f"the key {path[-1]!r} is missing", path[:-1])
    if kind == "extra_forbidden":
        message = f"the key {path[-1]!r} is not known here"
        hint = suggest(str(path[-1]), _known_keys(path[:-1]))
        return document.problem(
            "unknown-key", message, path, key=True, value=str(path[-1]), hint=hint
        )
    shown = path[-1] if bad_key else _shown(document, path)
    wanted = _wanted(detail)
    return document.problem(
        "wrong-type" if kind in _KINDS else "wrong-value",
        f"{'the key ' if bad_key else ''}{shown!r} is not {wanted}"
        if kind != "value_error"
        else f"{shown!r} {wanted}",
        path,
        key=bad_key,
        value=str(shown),
        hint=_literal_hint(detail, shown),
    )


def _wanted(detail: Mapping[str, Any]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _KINDS:
        return _KINDS[kind]
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text like {context['pattern']}")
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "too_short":
        return "a list with something in it"
    if kind == "greater_than_equal":
        return f"at least {context['ge']}"
    return str(context.get("error", detail["msg"]))


def _literal_hint(detail: Mapping[str, Any], shown: object) -> str | None:
    if detail["type"] != "literal_error":
        return None
    choices = str(detail["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
    return suggest(str(shown), choices)


def _known_keys(path: JsonPath) -> list[str]:
    """The keys that the model knows at `path`."""
    model: Any = StackLock
    for step in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            found = {f.alias or n: f for n, f in model.model_fields.items()}.get(str(step))
            model = found.annotation if found else None
        else:  # the items of a list, or the values of a dictionary
            model = next((a for a in reversed(get_args(model)) if a is not Ellipsis), None)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [f.alias or n for n, f in model.model_fields.items()]
    return []


def _shown(document: JsonDocument, path: JsonPath) -> str:
    value = document.data
    for step in path:
        value = value[step]
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."

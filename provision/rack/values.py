"""Judges single values: every `holdfast_*` definition, wherever it stands and whoever wins.

A value that another one overrides is judged too: it would bite as soon as the other is removed.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from provision.core.names import nearest, suggest
from provision.core.problems import Problem
from provision.core.yamlpos import KeyPath, Tagged, shown, walk
from provision.rack.tree import Definition
from provision.rack.variables import BY_NAME, PREFIX, VARIABLES

JINJA = re.compile(r"\{\{|\{%|\{#")
INVALID = object()
"""What `judge` returns for a value that cannot be used."""

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def judge(definition: Definition, problems: list[Problem]) -> object:
    """The typed value of one `holdfast_*` definition, or `INVALID` with problems noted."""
    variable = BY_NAME.get(definition.name)
    if variable is None:
        problems.append(_unknown(definition))
        return INVALID
    if variable.level == "rack" and definition.scope != "all":
        hint = "put it in `vars` of group `all`, or in group_vars/all.yml"
        message = f"{definition.name} is said once for the whole rack, not for {definition.owner!r}"
        problems.append(
            definition.problem("wrong-level", message, key=True, value=definition.name, hint=hint)
        )
        return INVALID
    templates = _templates(definition)
    if templates:
        problems.extend(templates)
        return INVALID
    return validate(definition, variable.adapter, variable.type, problems)


def validate(
    definition: Definition, adapter: TypeAdapter[Any], kind: Any, problems: list[Problem]
) -> object:
    """The value as `adapter` reads it, or `INVALID` with every mistake noted."""
    try:
        return adapter.validate_python(definition.value)
    except ValidationError as error:
        details = error.errors(include_url=False)
    problems.extend(_problem(definition, kind, detail) for detail in details)
    return INVALID


def misspelt(name: str) -> str | None:
    """The `holdfast_*` variable that `name` was probably meant to be."""
    if name.startswith(PREFIX) or "_" not in name or name[0] not in "hHoO":
        return None
    close = nearest(name, BY_NAME)
    # Only the prefix may be off: `hostname` and `hostvars_rack` are other people's variables.
    if close is None:
        return None
    head, tail = name.rpartition(close.removeprefix(PREFIX))[0], close.removeprefix(PREFIX)
    is_near = nearest(head.rstrip("_"), ["holdfast"]) is not None
    return close if name.endswith(tail) and is_near else None


def _unknown(definition: Definition) -> Problem:
    names = [v.name for v in VARIABLES]
    close = nearest(definition.name, names)
    hint = f"did you mean {close!r}?" if close else "docs/reference/inventory.md lists them all"
    message = f"there is no variable {definition.name!r}"
    return definition.problem(
        "unknown-variable", message, key=True, value=definition.name, hint=hint
    )


def _templates(definition: Definition) -> list[Problem]:
    found = []
    for path, value in walk(definition.value):
        if isinstance(value, Tagged):
            secret = BY_NAME[definition.name].secret
            hint = "write vault:FILE#NAME" if secret else "write the value itself"
            message = f"{definition.name} takes no {value.tag} value"
            found.append(definition.problem("tagged-value", message, path, hint=hint))
        elif isinstance(value, str) and JINJA.search(value):
            message = f"{definition.name} is literal; templates are not read here"
            hint = "write the value itself; Holdfast reads it before Ansible starts"
            text = None if BY_NAME[definition.name].secret else shown(value)
            found.append(definition.problem("template", message, path, value=text, hint=hint))
    return found


def _problem(definition: Definition, kind: Any, detail: ErrorDetails) -> Problem:
    """One of pydantic's errors in our words, at its place in the file."""
    inner: KeyPath = tuple(detail["loc"])
    code, message, hint, on_key = _say(definition, kind, inner, detail)
    given = detail["input"]
    if code == "missing-key":
        inner = inner[:-1]
    elif code == "unknown-key":
        given = inner[-1]
    secret = code == "literal-secret"
    return definition.problem(
        code,
        message,
        inner,
        key=on_key,
        value=None if secret else shown(given),
        hint=hint or None,
    )


def _say(
    definition: Definition, kind: Any, inner: KeyPath, detail: ErrorDetails
) -> tuple[str, str, str, bool]:
    """Code, message, hint, and whether the key is meant rather than the value."""
    error, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    what = _label(definition, inner)
    if "-" in error:
        return error, f"{what}: {context.get('words') or detail['msg']}", context["hint"], False
    if error == "extra_forbidden":
        fields = _fields(kind, inner[:-1])
        owner = _label(definition, inner[:-1])
        return (
            "unknown-key",
            f"{owner} has no key {shown(inner[-1])}",
            suggest(str(inner[-1]), fields),
            True,
        )
    if error == "missing":
        owner = _label(definition, inner[:-1])
        return "missing-key", f"{owner} lacks {inner[-1]!r}", f"add `{inner[-1]}:`", not inner[:-1]
    if error in _EXPECTED:
        return (
            "wrong-type",
            f"{what} is {_EXPECTED[error]}, not {shown(given)}",
            _quote(given),
            False,
        )
    if error in _LIMITS:
        words, name = _LIMITS[error]
        return "out-of-range", f"{what} is {words} {context[name]}, not {shown(given)}", "", False
    if error == "finite_number":
        return "out-of-range", f"{what} is a finite number, not {shown(given)}", "", False
    if error == "literal_error":
        choices = [c.strip("' ") for c in re.split(r",| or ", str(context["expected"]))]
        return (
            "unknown-value",
            f"{what} cannot be {shown(given)}",
            suggest(str(given), choices),
            False,
        )
    if error in ("too_short", "string_too_short"):
        return "empty", f"{what} must not be empty", "", False
    return "bad-value", f"{what}: {detail['msg']}", "", False


def _quote(given: object) -> str:
    # YAML 1.1 reads `no`, `12` and `1:30` as something else than text.
    plain = isinstance(given, bool | int | float)
    return "put it in quotes if it is meant as text" if plain else ""


def _label(definition: Definition, inner: KeyPath) -> str:
    text = definition.name
    for part in inner:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def _fields(kind: Any, path: tuple[Hashable, ...]) -> list[str]:
    """The keys that the model at `path` inside `kind` knows."""
    for part in path:
        kind = _bare(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        else:
            kind = get_args(kind)[0]
    kind = _bare(kind)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _bare(kind: Any) -> Any:
    """`kind` without Annotated, aliases and `| None`."""
    while True:
        origin = get_origin(kind)
        if origin is Annotated:
            kind = get_args(kind)[0]
        elif origin in (Union, UnionType):
            kind = next(a for a in get_args(kind) if a is not type(None))
        else:
            return kind

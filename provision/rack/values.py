"""Judges single values: every `holdfast_*` definition, wherever it stands and whoever wins.

A value that another one overrides is judged too: it would bite as soon as the other is removed.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import TypeAdapter

from provision.core.judging import INVALID, Subject, validated
from provision.core.names import nearest
from provision.core.problems import Problem
from provision.core.yamlpos import Tagged, shown, walk
from provision.rack.tree import Definition
from provision.rack.variables import BY_NAME, PREFIX, VARIABLES

__all__ = ["INVALID", "JINJA", "judge", "misspelt", "validate"]

JINJA = re.compile(r"\{\{|\{%|\{#")


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
    subject = Subject(definition, definition.name, definition.value, kind)
    return validated(subject, problems, adapter)


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

"""What other rooms say about what an inventory asks for, put where it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from provision.core.problems import Problem
from provision.rack.declaration import Declaration
from provision.rack.draft import Draft
from provision.rack.known import KnownNames, Objection, Security
from provision.rack.tree import Definition
from provision.rack.values import INVALID
from provision.rack.variables import PREFIX

_NOTHING: Mapping[str, Any] = {"profile": "none", "overlays": (), "waivers": ()}


def objected(declaration: Declaration, drafts: list[Draft], known: KnownNames) -> Iterator[Problem]:
    """What the judges of security and of the stack lock object to, each at its place."""
    values: dict[str, Any] = {}
    for short, default in _NOTHING.items():
        definition = declaration.rack_variable(short)
        values[short] = default if definition is None else declaration.value(definition)
    nodes = [draft.node for draft in drafts]
    readable = values["profile"] is not INVALID
    usable = {k: _NOTHING[k] if v is INVALID else v for k, v in values.items()}
    if known.security is not None and readable:
        for objection in known.security(Security(**usable, nodes=nodes)):
            yield from _placed(declaration, drafts, objection)
    if known.stack is not None:
        # What was asked for around a profile that nobody can read says nothing of packages.
        asked = Security(**(usable if readable else _NOTHING), nodes=nodes)
        for objection in known.stack(asked):
            yield from _placed(declaration, drafts, objection)


def _placed(
    declaration: Declaration, drafts: list[Draft], objection: Objection
) -> Iterator[Problem]:
    variable, *inner = objection.at
    definition = _definition(declaration, drafts, objection.node, str(variable))
    if definition is not None:
        yield definition.problem(
            objection.code,
            objection.message,
            tuple(inner),
            value=objection.value,
            hint=objection.hint,
        )


def _definition(
    declaration: Declaration, drafts: list[Draft], node: str | None, variable: str
) -> Definition | None:
    if node is None:
        return declaration.rack_variable(variable)
    return next((d.won.get(PREFIX + variable) for d in drafts if d.node.name == node), None)

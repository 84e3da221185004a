"""The JSON Schema of an inventory, for editors: completes names and marks mistakes while typing.

It says less than `holdfast inventory check`: what needs several places at once (clashes, names in
the stack lock, missing secrets) no schema can say.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from provision.rack.variables import PREFIX, VARIABLES, Variable

_REF = "#/$defs/"


def json_schema() -> dict[str, Any]:
    """The schema of an inventory in Ansible's YAML form."""
    inputs: list[tuple[str, Any, TypeAdapter[Any]]] = [
        (v.name, "validation", v.adapter) for v in VARIABLES
    ]
    adapters: Any = inputs
    found, shared = TypeAdapter.json_schemas(adapters, ref_template=_REF + "{model}")
    values = {name: schema for (name, _), schema in found.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "holdfast.inventory.schema.json",
        "title": "Holdfast inventory",
        "description": "An Ansible inventory in YAML with Holdfast's variables.",
        "type": "object",
        "minProperties": 1,
        "required": ["all"],
        "properties": {"all": {"$ref": _REF + "all"}},
        "propertyNames": {"not": {"pattern": f"^({PREFIX}|plugin$)"}},
        "additionalProperties": {"$ref": _REF + "group"},
        "$defs": {
            **shared.get("$defs", {}),
            "all": _group("rack_variables"),
            "group": _group("node_variables"),
            "rack_variables": _variables(values, VARIABLES),
            "node_variables": _variables(values, [v for v in VARIABLES if v.level == "node"]),
        },
    }


def published() -> str:
    """The text of provision/rack/inventory.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _group(variables: str) -> dict[str, Any]:
    names = {"type": "string", "description": "One name, or a mapping of names."}
    hosts = {"type": ["object", "null"], "additionalProperties": {"$ref": _REF + "node_variables"}}
    children = {"type": ["object", "null"], "additionalProperties": {"$ref": _REF + "group"}}
    return {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {
            "vars": {"$ref": _REF + variables},
            "hosts": {"anyOf": [hosts, names]},
            "children": {"anyOf": [children, names]},
        },
    }


def _variables(values: dict[str, Any], variables: Any) -> dict[str, Any]:
    """A mapping of variables: Holdfast's typed, everybody else's free."""
    names = [v.name for v in variables]
    return {
        "type": ["object", "null"],
        "properties": {v.name: _described(v, values[v.name]) for v in variables},
        "propertyNames": {"anyOf": [{"not": {"pattern": f"^{PREFIX}"}}, {"enum": names}]},
    }


def _described(variable: Variable, schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "description": variable.text}

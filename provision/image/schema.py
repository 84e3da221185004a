"""The JSON Schema of an image's definition, for editors, and its reference page.

The schema says less than `holdfast image list FILE` does: names of roles' options, of controls and
what does not fit together no schema can say.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from provision.image.definition import SCHEMA, Definition
from provision.image.roles import WORDS, offline_roles
from provision.image.stages import STAGES, known

_REF = "#/$defs/"


def json_schema() -> dict[str, Any]:
    """The schema of a definition's file."""
    body = TypeAdapter(Definition).json_schema(ref_template=_REF + "{model}")
    properties = body["properties"]
    properties["roles"] = _roles()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "holdfast.image.schema.json",
        **body,
        "title": "Holdfast image",
        "properties": {"schema": {"const": SCHEMA}, **properties},
        "required": ["schema", *body["required"]],
    }


def published() -> str:
    """The text of provision/image/image.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _roles() -> dict[str, Any]:
    kinds = {"bool": "boolean", "dict": "object", "float": "number", "int": "integer",
             "list": "array", "path": "string", "str": "string"}  # fmt: skip
    return {
        "description": "The roles that configure it, with their options.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    option: {"type": kinds[spec.kind]} if spec.kind in kinds else {}
                    for option, spec in role.options.items()
                },
            }
            for name, role in offline_roles().items()
        },
    }


_INTRODUCTION = """\
# Definitions of images

A definition says what a golden image is to be. Those that ship with Holdfast lie in `images/`; a
site's own may lie anywhere. `holdfast image list FILE` says everything that is wrong with one, with
file, line and column; `holdfast image build NAME|FILE` does the same before it builds.

Editors with a YAML language server use
[image.schema.json](../../provision/image/image.schema.json) when the file begins with
`# yaml-language-server: $schema=PATH`.
"""


def page() -> str:
    """The text of docs/reference/images.md."""
    schema = json_schema()
    parts = [_INTRODUCTION, _table("The file", schema)]
    parts += [_table(name, body) for name, body in sorted(schema["$defs"].items())]
    parts += [_stages(), _role_table()]
    return "\n".join(parts)


def _table(title: str, body: dict[str, Any]) -> str:
    required = set(body.get("required", ()))
    about = " ".join(body.get("description", "").split())
    rows = [
        f"| `{name}` | {_type(part)} | {_default(name, part, required)} |"
        f" {' '.join(part.get('description', '').split())} |"
        for name, part in body["properties"].items()
    ]
    head = f"## {title}\n" + (f"\n{about}\n" if about else "")
    return "\n".join([head, "| key | value | default | meaning |", "|---|---|---|---|", *rows, ""])


def _default(name: str, part: dict[str, Any], required: set[str]) -> str:
    if name in required:
        return "required"
    default = part.get("default")
    if isinstance(default, dict):
        return ""
    return "" if default in (None, []) else f"`{json.dumps(default)}`"


def _type(part: dict[str, Any]) -> str:
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return " or ".join(f"`{choice}`" for choice in part["enum"])
    if part.get("type") == "array":
        return f"list of {_type(part['items'])}"
    if part.get("type") == "object":
        return "by name, a mapping"
    kinds = {"boolean": "true or false", "integer": "whole number"}
    return kinds.get(str(part.get("type")), "text")


def _stages() -> str:
    rows = [f"| {name} | {STAGES[name]} | {', '.join(one.stage.NEEDS) or 'nothing'} |"
            for name, one in known().items()]  # fmt: skip
    head = """\
## Stages

What a stage makes is kept below `$XDG_CACHE_HOME/holdfast/image` by the digest of everything that
it was made from: its own source, its options, the fields of the definition that it reads, the
versions of the tools that it uses, and the same of the stages that it builds on.
"""
    return "\n".join(
        [head, "| stage | makes | builds on |", "|---|---|---|", *rows, ""]
    )  # fmt: skip


def _role_table() -> str:
    rows = []
    for name, role in offline_roles().items():
        listed = ", ".join(
            f"`{option}` ({WORDS.get(spec.kind, 'a value')})"
            for option, spec in role.options.items()
        )
        rows.append(f"| {name} | {listed or 'none'} |")
    head = """\
## Roles

They run in this order, whatever the order in the file; [roles](roles.md) says what each option
means. Packages, controls and the offline mode are given by the build.
"""
    return "\n".join([head, "| role | options |", "|---|---|", *rows, ""])

"""The reference page of the inventory, written from the table of variables and the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from provision.rack.schema import json_schema
from provision.rack.variables import CONNECTION, READABLE, VARIABLES, Variable

_INTRODUCTION = """\
<!-- Written by `make docs`; do not edit. -->

# The inventory

An ordinary Ansible inventory in YAML, with `group_vars/` and `host_vars/` beside it. Plain
`ansible-playbook` uses the same files. `inventory.example.yml` shows a whole one.

- `holdfast inventory check INVENTORY` says everything that is wrong, with file, line and column,
  and contacts nothing. Every other verb does the same before it starts.
- `holdfast inventory show INVENTORY` prints what each node ends up with.

Groups, ranges (`gpu-[01:08]`) and precedence are Ansible's: group variables of the inventory, then
`group_vars/all`, then `group_vars/` of the other groups from the outermost to the innermost, then
the node's own, then `host_vars/`. A later value replaces an earlier one whole; nothing is merged.

Variables that begin with `holdfast_` are Holdfast's. They are plain values: templates in them are
mistakes, and so are names that this page does not list. All other variables are left alone,
except that a secret as plain text is a mistake wherever it stands.
"""

_SECRETS = """\
## Secrets

A secret is written as a reference; paths start at the inventory's folder.

| reference | where the secret is |
|---|---|
| `file:PATH` | a file that only you can read (mode 0600; certificates may be public) |
| `env:NAME` | an environment variable of the controller |
| `vault:FILE#NAME` | the value NAME in a file that `ansible-vault` encrypted |
"""

_EDITORS = """\
## Editors

[inventory.schema.json](../../provision/rack/inventory.schema.json) is a JSON Schema. Editors with
a YAML language server use it when the file begins with
`# yaml-language-server: $schema=PATH`.
"""


def page() -> str:
    """The text of docs/reference/inventory.md."""
    schema = json_schema()
    versions = ", ".join(map(str, READABLE))
    parts = [
        _INTRODUCTION,
        "## For the whole rack\n",
        "In `vars` of group `all` or in `group_vars/all`.",
        f"This Holdfast reads version {versions} of these variables.\n",
        _table(v for v in VARIABLES if v.level == "rack"),
        "## For a node\n\nAt any level: a node, a group, or `all`.\n",
        _table(v for v in VARIABLES if v.level == "node"),
        *_objects(schema),
        _SECRETS,
        _connection(),
        _EDITORS,
    ]
    return "\n".join(parts).rstrip() + "\n"


def _table(variables: Iterator[Variable]) -> str:
    rows = ["| variable | meaning | default | example |", "|---|---|---|---|"]
    for v in variables:
        default = "required" if v.required else v.default or "none"
        rows.append(f"| `{v.name}` | {v.text} | {_code(default)} | `{v.example}` |")
    return "\n".join(rows) + "\n"


def _code(text: str) -> str:
    return f"`{text}`" if text[:1] in "{[" else text


def _objects(schema: dict[str, Any]) -> Iterator[str]:
    """One table for each model, in the order in which the variables lead to them."""
    waiting = [name for v in VARIABLES for name in _names(schema, v.name)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        body = schema["$defs"][name]
        required = set(body.get("required", ()))
        yield f"### {name}\n\n{body.get('description', '').strip()}\n"
        yield "| key | value | default | meaning |"
        yield "|---|---|---|---|"
        for key, part in body["properties"].items():
            default = "required" if key in required else _default(part)
            yield f"| `{key}` | {_type(part)} | {default} | {part.get('description', '')} |"
            waiting[:0] = _refs(part)
        yield ""


def _names(schema: dict[str, Any], variable: str) -> list[str]:
    return _refs(schema["$defs"]["rack_variables"]["properties"][variable])


def _refs(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"].rpartition("/")[2]] if "$ref" in part else []
        return own + [name for value in part.values() for name in _refs(value)]
    return [name for value in part for name in _refs(value)] if isinstance(part, list) else []


def _default(part: dict[str, Any]) -> str:
    default = part.get("default")
    if default is None or default == []:
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _type(part: dict[str, Any]) -> str:
    """A type in words, with its limits."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in part:
        return " or ".join(_type(p) for p in part["anyOf"] if p.get("type") != "null")
    kind = part.get("type")
    if kind == "array":
        return f"list of {_type(part['items'])}"
    words = {"integer": "whole number", "number": "number", "boolean": "true or false"}
    text = words.get(str(kind), "text")
    limits = [
        f"{word} {part[key]}"
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "more than"),
            ("maximum", "at most"),
        )
        if key in part
    ]
    return ", ".join([text, *limits])


def _connection() -> str:
    rows = [f"| `{v.name}` | {v.text} |" for v in CONNECTION.values()]
    return "\n".join(
        [
            "## Ansible's own variables that Holdfast reads\n",
            "They are literal too, because `verify` connects without Ansible; a file may be",
            "written as `{{ inventory_dir }}/...`.\n",
            "| variable | meaning |",
            "|---|---|",
            *rows,
            "",
        ]
    )

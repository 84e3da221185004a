"""The roles that can configure an image: those whose own argument_specs name an offline mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from provision.core.paths import data_dir, playbook
from provision.engine.apply import phases_of

_MAPPED = ("packages", "locked", "offline", "pending", "controls", "run")
"""Options that the build fills by itself in every role that has them."""

_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "dict": (dict,),
    "float": (int, float),
    "int": (int,),
    "list": (list,),
    "path": (str,),
    "str": (str,),
}
WORDS = {
    "bool": "true or false",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "text",
}


@dataclass(frozen=True)
class RoleOption:
    """An option of a role, as its argument_specs say: its type, and its choices if it has any."""

    name: str
    kind: str
    required: bool = False
    choices: tuple[Any, ...] = ()

    def takes(self, value: object) -> bool:
        """Whether the value is of its type."""
        kinds = _TYPES.get(self.kind, (object,))
        return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


@dataclass(frozen=True)
class Role:
    """A role with an offline mode: its options by their names without the role's."""

    name: str
    options: Mapping[str, RoleOption]


@cache
def offline_roles() -> Mapping[str, Role]:
    """The roles that can configure an image, by name, in the order in which a node gets them."""
    found = {}
    for name in phases_of(playbook("site")):
        path = data_dir("roles") / name / "meta/argument_specs.yml"
        main = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]
        options = main.get("options", {})
        if f"{name}_offline" in options:
            found[name] = Role(name, dict(_options(name, options)))
    return found


def _options(role: str, options: Mapping[str, Any]) -> list[tuple[str, RoleOption]]:
    return [
        (
            name.removeprefix(f"{role}_"),
            RoleOption(
                name,
                spec.get("type", "str"),
                bool(spec.get("required", False)),
                tuple(spec.get("choices", ())),
            ),
        )
        for name, spec in options.items()
        if name.removeprefix(f"{role}_") not in _MAPPED
    ]

"""What the configure stage tells the roles: their options, and the controls of the profile."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from provision.core.paths import collections_dir, data_dir
from provision.image.definition import Definition, canonical
from provision.image.fitting import resolution_of
from provision.image.roles import ORDER, offline_roles
from provision.image.sources import Source
from provision.policy.resolve import NONE

RUN = "image"
"""What the roles take for the name of the run."""


def roles_of(definition: Definition) -> tuple[str, ...]:
    """The roles of an image in the order in which they run."""
    return tuple(name for name in ORDER if name in definition.roles)


def variables(definition: Definition, source: Source) -> dict[str, Any]:
    """Every variable of every role of the image, but for its controls."""
    found: dict[str, Any] = {}
    locked = [_package(rpm) for rpm in source.rpms]
    known = offline_roles()
    for name in roles_of(definition):
        specs = _specs(name)
        given: dict[str, Any] = {
            "offline": True,
            "packages": [_package(rpm) for rpm in source.rpms if name in rpm["roles"]],
            "locked": locked,
            "run": RUN,
        }
        given = {key: value for key, value in given.items() if f"{name}_{key}" in specs}
        given |= {o: v for o, v in definition.roles[name].items() if o in known[name].options}
        found |= {f"{name}_{option}": value for option, value in given.items()}
    return found


def controls(definition: Definition) -> list[dict[str, Any]]:
    """The rendered controls of the image's profile, of all phases.

    Raises:
        HoldfastError: a name is unknown, or a waiver has expired.
    """
    return [] if definition.profile == NONE else resolution_of(definition).rendered()


def digest(value: Any) -> str:
    """The sha256 of plain data."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def sources() -> Sequence[Path]:
    """The files that decide what roles do: the roles, and the collection that they use."""
    collection = collections_dir() / "ansible_collections/holdfast/core"
    folders = [data_dir("roles"), collection / "plugins"]
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found.append(collection / "playbooks/image.yml")
    return sorted(path for path in found if "__pycache__" not in path.parts)


def _specs(role: str) -> Mapping[str, Any]:
    import yaml

    path = data_dir("roles") / role / "meta/argument_specs.yml"
    main = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]
    return dict(main.get("options", {}))


def _package(rpm: Mapping[str, Any]) -> dict[str, Any]:
    """A package as the roles' modules take it."""
    return {key: rpm[key] for key in ("name", "epoch", "version", "release", "arch")}


def write_inventory(path: Path, name: str, process: int, environment: Mapping[str, str]) -> None:
    """An inventory with the one node that the image is."""
    node = {
        "ansible_connection": "holdfast.core.sandbox",
        "ansible_sandbox_process": process,
        "ansible_sandbox_environment": dict(environment),
        "ansible_remote_tmp": "/tmp/.ansible",
    }
    body = {"all": {"hosts": {name: node}}}
    # JSON is YAML, and needs no quoting of its own.
    path.write_text(json.dumps(body, indent=1), encoding="utf-8")

"""What the configure stage tells the roles: their options, and the controls of the profile."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.paths import collections_dir, data_dir
from provision.core.problems import fail
from provision.image import sources
from provision.image.definition import Definition, canonical
from provision.image.fitting import resolution_of
from provision.image.roles import offline_roles
from provision.image.sources import Source
from provision.policy.resolve import NONE

FILES = "/run/holdfast/files"
FILES_URL = f"file://{FILES}"
"""Where the roles find what the stack lock pins, as if an origin served it."""
RUN = "image"
"""What the roles take for the name of the run."""


def roles_of(definition: Definition) -> tuple[str, ...]:
    """The roles of an image in the order in which they run."""
    return tuple(name for name in offline_roles() if name in definition.roles)


def variables(definition: Definition, source: Source) -> dict[str, Any]:
    """Every variable of every role of the image, but for its controls."""
    found: dict[str, Any] = {"base_stack": _stack(definition, source)}
    every = [_package(rpm) for rpm in source.rpms]
    known = offline_roles()
    for name in roles_of(definition):
        specs = _specs(name)
        given: dict[str, Any] = {
            "offline": True,
            "packages": [_package(rpm) for rpm in source.rpms if name in rpm["roles"]],
            "locked": every,
            "run": RUN,
        }
        given = {key: value for key, value in given.items() if f"{name}_{key}" in specs}
        given |= _supplied(name, definition, source)
        given |= {o: v for o, v in definition.roles[name].items() if o in known[name].options}
        found |= {f"{name}_{option}": value for option, value in given.items()}
    return found


def _supplied(role: str, definition: Definition, source: Source) -> dict[str, Any]:
    """What a role is told that only the stack lock and the definition know.

    Raises:
        HoldfastError: the lock does not have it (exit code 2).
    """
    serving = definition.inference
    if role == "model_store" and serving is not None:
        return {
            "models": [_model(sources.locked(source, definition).models, serving.model, source)]
        }
    if role == "inference" and serving is not None:
        lock = sources.locked(source, definition)
        image = _named(lock.images, serving.image, "image", source)
        model = _named(lock.models, serving.model, "model", source)
        return {
            "image": {"reference": image.reference, "digest": image.digest,
                      "archive_url": f"{FILES_URL}/{image.archive.path}",
                      "archive_sha256": image.archive.sha256, "archive_size": image.archive.size},
            "model_name": model.name,
            "model_entry": model.entry,
            # Secrets come to a node with its first `up`, never into an image.
            "api_key": "", "tls_key": "", "tls_certificate": "",
        }  # fmt: skip
    return {}


def _model(models: Sequence[Any], name: str, source: Source) -> dict[str, Any]:
    model = _named(models, name, "model", source)
    return {
        "name": model.name,
        "entry": model.entry,
        "url": f"{FILES_URL}/{model.path}",
        "files": [file.model_dump(mode="json") for file in model.files],
    }


def _named(entries: Sequence[Any], name: str, kind: str, source: Source) -> Any:
    for entry in entries:
        if entry.name == name:
            return entry
    raise fail(f"unknown-{kind}", f"{source.says} has no {kind} {name!r}",
               hint=suggest(name, [entry.name for entry in entries]),
               exit_code=ExitCode.USAGE)  # fmt: skip


def _stack(definition: Definition, source: Source) -> dict[str, str]:
    """What a node records about where it comes from, as its first `up` will say it anew."""
    return {"schema": "holdfast.node/1", "rack": "", "image": definition.name,
            "stack": source.says, "stack_sha256": source.digest}  # fmt: skip


def controls(definition: Definition) -> list[dict[str, Any]]:
    """The rendered controls of the image's profile, of all phases.

    Raises:
        HoldfastError: a name is unknown, or a waiver has expired.
    """
    return [] if definition.profile == NONE else resolution_of(definition).rendered()


def digest(value: Any) -> str:
    """The sha256 of plain data."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def files() -> Sequence[Path]:
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

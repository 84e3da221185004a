"""The resolved controls of a node: where they lie, and what of them is of one type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from provision.checks.declaration import Expected
from provision.checks.declare import CouldNotLook, Looker

Control = dict[str, Any]
NAMES = {"9": "el9", "10": "el10"}


@cache
def _read(path: str) -> tuple[Control, ...]:
    return tuple(json.loads(Path(path).read_text(encoding="utf-8")))


def releases(node: Expected) -> dict[str, tuple[Control, ...]]:
    """The controls that a node gets, for each release that it may turn out to be."""
    return {release: _read(path) for release, path in node.controls.items()}


def controls_here(node: Expected, look: Looker) -> tuple[Control, ...]:
    """The controls that the node gets, by the release that it says it is.

    Raises:
        CouldNotLook: it says none, or one for which there are no controls.
    """
    said = str(look("packages", "release").get("VERSION_ID", "")).partition(".")[0]
    found = releases(node).get(NAMES.get(said, ""))
    if found is None:
        raise CouldNotLook(f"there are no controls for release {said or 'unknown'}")
    return found


def of_type(controls: tuple[Control, ...], kind: str) -> Iterator[tuple[Control, list[Any]]]:
    """Each control that has resources of a type, with these."""
    for control in controls:
        resources = [r for r in control["resources"] if r["type"] == kind]
        if resources:
            yield control, resources


def installed(look: Looker) -> set[str]:
    """The names of all installed packages.

    Raises:
        CouldNotLook: the rpm database does not even know rpm, so that it proves nothing.
    """
    names = {package["name"] for package in look("packages", "installed")}
    if "rpm" not in names:
        raise CouldNotLook("the rpm database does not even know rpm")
    return names

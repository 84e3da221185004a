"""The recipe of a rehearsal node, read from recipe.yml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

SOURCE = Path(__file__).with_name("recipe.yml")
RELEASES = {"9": "9.7", "10": "10.1"}
"""Major release to the full version that a compat node presents."""


@dataclass(frozen=True)
class Wanted:
    """A package for the repository: which roles install it, and why it is there.

    `releases` are those of EL that have it; empty for all.
    """

    roles: tuple[str, ...]
    reason: str
    releases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """recipe.yml as data; `digest_source` is its text, for cache keys."""

    suite: str
    engine_suite: str
    base: tuple[str, ...]
    el_base: tuple[str, ...]
    unpacked: dict[str, str]
    repository: dict[str, Wanted]
    el_names: dict[str, str]
    removed: tuple[str, ...]
    left_out: tuple[str, ...]
    only: dict[str, tuple[str, ...]]
    scripts: dict[str, str]
    provides: dict[str, tuple[str, ...]]
    waived: dict[str, dict[str, str]]
    digest_source: bytes

    def el_name(self, package: str) -> str:
        """The RPM name of a Debian package."""
        return self.el_names.get(package, package)


def load_recipe() -> Recipe:
    """Read recipe.yml, which ships with Holdfast."""
    text = SOURCE.read_bytes()
    data = yaml.safe_load(text)
    return Recipe(
        suite=data["suite"],
        engine_suite=data["engine_suite"],
        base=tuple(data["base"]),
        el_base=tuple(data["el_base"]),
        unpacked=dict(data["unpacked"]),
        repository={
            name: Wanted(tuple(entry["roles"]), entry["reason"], tuple(entry.get("releases", ())))
            for name, entry in data["repository"].items()
        },
        el_names=dict(data["el_names"]),
        removed=tuple(data["removed"]),
        left_out=tuple(data["left_out"]),
        only={name: tuple(paths) for name, paths in data["only"].items()},
        scripts=dict(data["scripts"]),
        provides={name: tuple(given) for name, given in data["provides"].items()},
        waived={name: dict(controls) for name, controls in data["waived"].items()},
        digest_source=text,
    )

"""Every package that Holdfast names exists: in EL 9 itself, or in a repository that is listed.

`tests/data/gpu/el9-packages.tsv` is a snapshot of EL 9's own repositories; `other-packages.tsv`
beside it lists every other name with the repository that brings it. test_roles.py asks the same of
what roles name in their own words; this is everything else.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data/gpu"
VENDOR = re.compile(
    r"(?<![\w./-])(?:kmod-nvidia[a-z0-9-]*|libnvidia-[a-z]+|nvidia-[a-z][a-z-]*[a-z]"
    r"|datacenter-gpu-manager[a-z0-9-]*|cuda-[a-z]+|libnccl|dkms)(?![\w./])"
)
NO_PACKAGE = {
    "nvidia-cdi-refresh", "nvidia-ctk", "nvidia-dcgm", "nvidia-drm", "nvidia-hook", "nvidia-ml-py",
    "nvidia-modeset", "nvidia-smi", "nvidia-uvm", "nvidia-peermem", "nvidia-modprobe",
    "nvidia-imex", "nvidia-cdi", "nvidia-nvswitch", "nvidia-nvswitchctl", "nvidia-uvm-tools",
}  # fmt: skip
"""Units, programs, modules and a Python package, which look like names of RPMs."""


def table(name: str) -> dict[str, list[str]]:
    """A file of tab-separated lines by its first column."""
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return {x.split("\t")[0]: x.split("\t")[1:] for x in lines if x and not x.startswith("#")}


EL9, OTHERS = table("el9-packages.tsv"), table("other-packages.tsv")


def resources(value: Any) -> Iterator[str]:
    """Names of packages in a file of controls: what is installed, removed, or asked about."""
    if isinstance(value, dict):
        if value.get("type") == "package":
            yield str(value["name"])
        if isinstance(value.get("package"), str):
            yield value["package"]
        for inner in value.values():
            yield from resources(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from resources(inner)


def read(path: Path) -> Any:
    """A YAML file; the loader in C, since there are many."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


@functools.cache
def named() -> list[tuple[str, str]]:
    """Every name of a package, and where it stands."""
    return list(_named())


def _named() -> Iterator[tuple[str, str]]:
    recipe = read(ROOT / "provision/rehearsal/recipe.yml")
    for name, entry in recipe["repository"].items():
        if "9" in entry.get("releases", ["9"]):
            yield recipe["el_names"].get(name, name), "recipe.yml"
    yield from ((name, "recipe.yml") for name in recipe["el_base"])
    for path in sorted((ROOT / "profiles/controls").glob("*.yml")):
        yield from ((name, path.name) for name in resources(read(path)))
    yield from _defaults()
    yield from _vendors()


def _defaults() -> Iterator[tuple[str, str]]:
    """Names in the defaults of roles."""
    for path in sorted((ROOT / "roles").glob("*/defaults/main.yml")):
        for key, value in (read(path) or {}).items():
            if "packages" in key and isinstance(value, list):
                yield from ((str(name), str(path)) for name in value)


def _vendors() -> Iterator[tuple[str, str]]:
    """Whatever looks like a name of NVIDIA's packages where roles, lock and rehearsal name them."""
    for folder in ("roles", "provision/supply", "provision/rehearsal/gpu"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".yml", ".py") and "molecule" not in path.parts:
                for found in VENDOR.findall(path.read_text(encoding="utf-8")):
                    name = str(found).rstrip("-")
                    if name not in NO_PACKAGE:
                        yield name, str(path.relative_to(ROOT))


def strangers(names: list[tuple[str, str]]) -> list[str]:
    """Names that neither table has."""
    return sorted({f"{n}: {where}" for n, where in names if n not in EL9 and n not in OTHERS})


def test_every_name_exists_somewhere():
    names = named()
    assert len({n for n, _ in names}) > 100
    assert strangers(names) == []


def test_a_name_that_nobody_has_is_found():
    assert strangers([("audit", "x"), ("libnccl", "x"), ("planted", "y")]) == ["planted: y"]


def test_the_tables_are_whole():
    assert len(EL9) > 5000
    assert all(len(row) == 1 and all(row) for row in OTHERS.values())
    assert {"audit", "chrony", "podman", "crun", "fapolicyd"} <= set(EL9)
    assert set(OTHERS) & set(EL9) == set()

"""The stages of an image, in their order, and by what each one's output is known."""

from __future__ import annotations

import hashlib
import importlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from provision.core.names import suggest
from provision.core.problems import fail
from provision.image.definition import Definition, canonical
from provision.image.work import Given, Stage, StageRecord

STAGES: dict[str, str] = {
    "resolve": "which bytes the image is made of",
    "tree": "the root file system, before anything is configured",
    "configure": "the same roles as on a node, offline",
    "seal": "identity removed, times clamped, every file listed",
    "kernel": "kernel, initial RAM disk, unified kernel image",
    "scan": "OpenSCAP, our own checks, and the gate",
    "label": "SELinux contexts",
    "pack": "the artefacts",
    "sbom": "what is in it",
    "sign": "the signed manifest",
}
"""Every stage by name, in order, and what it makes; one without a module is not there yet."""


@dataclass(frozen=True)
class Known:
    """A stage with its module."""

    name: str
    about: str
    stage: Stage

    def fields(self, definition: Definition) -> Definition:
        """The definition with the fields that the stage reads, and no others."""
        kept = definition.model_copy()
        for name in set(type(definition).model_fields) - set(self.stage.READS):
            kept.__dict__.pop(name, None)
        return kept


@cache
def known() -> Mapping[str, Known]:
    """The stages that are there, by name, in their order."""
    return {name: _load(name, about) for name, about in STAGES.items() if _source(name)}


def until(last: str | None) -> list[Known]:
    """The stages up to `last`, which is one of them; all when None.

    Raises:
        HoldfastError: there is no such stage.
    """
    stages = list(known().values())
    if last is None:
        return stages
    names = [one.name for one in stages]
    if last not in names:
        raise fail("unknown-stage", f"there is no stage {last!r}", hint=suggest(last, names))
    return stages[: names.index(last) + 1]


def _load(name: str, about: str) -> Known:
    module = importlib.import_module(f"provision.image.stage_{name}")
    return Known(name, about, cast(Stage, module))


def _source(name: str) -> list[Path]:
    """The files of a stage's own module, in a steady order; none when it is not there."""
    here = Path(__file__).parent
    package = here / f"stage_{name}"
    single = package.with_suffix(".py")
    if single.is_file():
        return [single]
    return sorted(p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def identify(
    one: Known,
    definition: Definition,
    given: Given,
    earlier: Mapping[str, StageRecord],
    *,
    epoch: int,
) -> StageRecord:
    """By what the stage's output is known: everything that it depends on.

    Raises:
        HoldfastError: something that the stage needs was not given.
    """
    stage = one.stage
    options = stage.options(definition, given)
    read = one.fields(definition).model_dump(mode="json", warnings=False)
    tools = versions(stage.TOOLS)
    body = {
        "stage": one.name,
        "version": stage.VERSION,
        "epoch": epoch,
        "options": options.model_dump(mode="json"),
        "definition": {name: read[name] for name in sorted(stage.READS)},
        "source": dict(sources(one.name)),
        "inputs": {name: _input(stage, earlier[name], name) for name in stage.NEEDS},
        "tools": tools,
    }
    return StageRecord(hashlib.sha256(canonical(body).encode()).hexdigest(), tools)


def _input(stage: Stage, record: StageRecord, name: str) -> str:
    """By what an input is known: the whole of it, or the part of it that the stage reads."""
    part = getattr(stage, "PARTS", {}).get(name)
    return record.id if part is None else f"{part} {record.parts[part]}"


@cache
def sources(name: str) -> Mapping[str, str]:
    """The sha256 of the files that decide what a stage makes, by their names.

    Read once, and before the first stage runs: what runs is the text that was loaded then, and an
    edit during a build must not give what the old text made the new one's name. They are the
    stage's own, and those of this room that it imports, directly or not: a stage is made again
    when anything that it is built from here has changed.
    """
    here = Path(__file__).parent
    own = _source(name)
    found: dict[Path, None] = dict.fromkeys(own)
    queue = [path for path in own if path.suffix == ".py"]
    while queue:
        for path in _imported(queue.pop(), here):
            if path not in found:
                found[path] = None
                queue.append(path)
    extra = getattr(known()[name].stage, "SOURCES", ())
    files = {str(path.relative_to(here)): path for path in found if path.name not in _ENGINE}
    files |= {str(path): path for path in extra}
    return {name: _sha256(path) for name, path in sorted(files.items())}


_ENGINE = frozenset({"__init__.py", "build.py", "stages.py", "store.py", "work.py", "load.py"})
"""What runs stages, and does not decide what they make."""


@cache
def _imported(path: Path, room: Path) -> tuple[Path, ...]:
    """The files of this room that a file imports."""
    import ast

    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found += [file for name in names for file in _file_of(name, room)]
    return tuple(found)


def _file_of(module: str, room: Path) -> Iterator[Path]:
    parts = module.split(".")
    if parts[:2] != ["provision", "image"] or len(parts) < 3:
        return
    place = room.joinpath(*parts[2:])
    if place.with_suffix(".py").is_file():
        yield place.with_suffix(".py")
    elif (place / "__init__.py").is_file():
        yield from sorted(p for p in place.rglob("*.py"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def versions(tools: Sequence[str]) -> dict[str, str]:
    """The version that each tool says, by its name.

    Raises:
        HoldfastError: one is not installed.
    """
    return {name: _version(name) for name in sorted(tools)}


@cache
def _version(tool: str) -> str:
    path = shutil.which(tool, path=_path())
    if path is None:
        raise fail("missing-tool", f"{tool} is not installed",
                   hint="`holdfast doctor` names the package that brings it")  # fmt: skip
    for option in ("--version", "-V"):
        done = subprocess.run([path, option], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=30)  # fmt: skip
        said = (done.stdout or done.stderr).strip().splitlines()
        if said and (done.returncode == 0 or option == "-V"):
            return said[0].strip()
    return _sha256(Path(path))


def _path() -> str:
    import os

    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

"""Reads controls, profiles and overlays from folders: all mistakes at once, each with its place.

What a file holds is said by its own key: `controls:`, `profile:` or `overlay:`. A site's folders
are read like ours and may hold any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from provision.core.exitcodes import ExitCode
from provision.core.judging import INVALID, Part, Subject, validated
from provision.core.names import suggest
from provision.core.paths import data_dir
from provision.core.problems import HoldfastError, Problem, by_position
from provision.core.yamlpos import KeyPath, YamlDocument, load_yaml, shown
from provision.policy.model import Control, Overlay, Profile

VERSION = 1
"""The version of these files that this Holdfast reads."""
MAX_FILES = 1000
OURS = ("controls", "profiles", "overlays")
"""The folders below profiles/ that are read; others hold no policy."""


@dataclass(frozen=True)
class Policy:
    """All controls, profiles and overlays by id, and where each was written."""

    controls: Mapping[str, Control] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    overlays: Mapping[str, Overlay] = field(default_factory=dict)
    places: Mapping[tuple[str, str], Part] = field(default_factory=dict, repr=False)

    def place(self, kind: str, name: str) -> Part:
        """Where the control, profile or overlay `name` was written."""
        return self.places[kind, name]


def load_policy(folders: Sequence[Path] = ()) -> Policy:
    """Read our own policy and that of `folders`.

    Raises:
        HoldfastError: with every mistake in reading order (exit code 2).
    """
    policy, problems = read_policy(folders)
    if policy is None:
        raise HoldfastError(problems, ExitCode.USAGE)
    return policy


def read_policy(
    folders: Sequence[Path] = (), *, ours: bool = True
) -> tuple[Policy | None, list[Problem]]:
    """What `load_policy` reads, or None and all problems in reading order."""
    shipped = our_files() if ours else []
    if folders:
        return _read(shipped, folders)
    policy, problems = _unchanged(tuple((path, name, _stamp(path)) for path, name in shipped))
    return policy, list(problems)


@cache
def _unchanged(
    files: tuple[tuple[Path, str, tuple[int, int]], ...],
) -> tuple[Policy | None, tuple[Problem, ...]]:
    """What the shipped files say; a run, its plan and its verdict all ask for it."""
    policy, problems = _read([(path, name) for path, name, _ in files], ())
    return policy, tuple(problems)


def _read(
    shipped: Sequence[tuple[Path, str]], folders: Sequence[Path]
) -> tuple[Policy | None, list[Problem]]:
    from provision.policy.consistency import misfits

    reader = _Reader()
    for path, name in shipped:
        reader.read(path, name)
    for folder in folders:
        for path in reader.site_files(folder):
            reader.read(path, str(path))
    policy = reader.policy()
    problems = by_position([*reader.problems, *misfits(policy)])
    return (None if problems else policy), problems


def our_files() -> list[tuple[Path, str]]:
    """The files that ship with Holdfast, and what they are called in problems."""
    root = data_dir("profiles")
    return [
        (path, f"profiles/{path.relative_to(root)}")
        for folder in OURS
        for path in sorted((root / folder).glob("*.yml"))
    ]


@cache
def _adapter(kind: type[BaseModel]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


_MODELS: dict[str, type[Control | Profile | Overlay]] = {
    "controls": Control,
    "profile": Profile,
    "overlay": Overlay,
}
_WORDS = {"controls": "control", "profile": "profile", "overlay": "overlay"}


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file changes."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


@cache
def _document(
    path: Path, name: str, stamp: tuple[int, int]
) -> tuple[YamlDocument | None, list[Problem]]:
    """A file as it was at `stamp`; the same files are read for an inventory and for a run."""
    del stamp
    return load_yaml(path, name)


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.found: dict[str, dict[str, Any]] = {word: {} for word in _WORDS.values()}
        self.places: dict[tuple[str, str], Part] = {}
        self.count = 0

    def policy(self) -> Policy:
        return Policy(
            controls=self.found["control"],
            profiles=self.found["profile"],
            overlays=self.found["overlay"],
            places=self.places,
        )

    def site_files(self, folder: Path) -> Iterator[Path]:
        """The files of a site's folder, in a steady order."""
        try:
            names = sorted(p for p in folder.rglob("*") if not _hidden(p.relative_to(folder)))
        except OSError as error:
            message = f"cannot be read: {error.strerror}"
            self.problems.append(Problem("unreadable-folder", message, where=str(folder)))
            return
        files = [p for p in names if p.suffix in (".yml", ".yaml") and p.is_file()]
        if not files:
            hint = "a site's controls stand in files that end in .yml"
            message = "this folder holds no file of controls"
            self.problems.append(Problem("no-controls", message, None, None, hint, str(folder)))
        yield from files

    def read(self, path: Path, name: str) -> None:
        """Read one file."""
        self.count += 1
        if self.count > MAX_FILES:
            if self.count == MAX_FILES + 1:
                message = f"more than {MAX_FILES} files; is this the folder?"
                self.problems.append(Problem("too-many-files", message, where=str(path.parent)))
            return
        document, problems = _document(path, name, _stamp(path))
        self.problems += problems
        if document is None:
            return
        key = self._key(document)
        if key is None:
            return
        body = document.data[key] if isinstance(document.data, dict) else None
        if key != "controls":
            self._take(key, body, Part(document, (key,)))
        elif not isinstance(body, list) or not body:
            message = f"controls is a list that is not empty, not {shown(body)}"
            self.problems.append(document.problem("wrong-type", message, (key,)))
        else:
            for number, item in enumerate(body):
                self._take(key, item, Part(document, (key, number)))

    def _key(self, document: YamlDocument) -> str | None:
        """What the file holds; None when it is not one of ours."""
        data = document.data
        say = self._say(document)
        if not isinstance(data, dict):
            hint = "begin with `schema: 1` and `controls:`"
            say("wrong-type", f"this file is a mapping, not {shown(data)}", hint=hint)
            return None
        version = data.get("schema")
        if version != VERSION or isinstance(version, bool):
            hint = f"this Holdfast reads `schema: {VERSION}`"
            if "schema" in data:
                say("unknown-version", f"the version {shown(version)} is not known", ("schema",))
            else:
                say("missing-key", "the file lacks 'schema'", hint=hint)
            return None
        for key in data:
            if key not in ("schema", *_MODELS):
                hint = suggest(str(key), ("schema", *_MODELS))
                say("unknown-key", f"a file has no key {shown(key)}", (key,), key=True, hint=hint)
        present = [key for key in _MODELS if key in data]
        if len(present) != 1:
            hint = "one of `controls:`, `profile:` and `overlay:`"
            say("missing-key", f"the file holds {len(present)} of three kinds", hint=hint)
            return None
        return present[0]

    def _say(self, document: YamlDocument) -> Any:
        def say(
            code: str,
            message: str,
            path: KeyPath = (),
            *,
            key: bool = False,
            hint: str | None = None,
        ) -> None:
            self.problems.append(document.problem(code, message, path, key=key, hint=hint))

        return say

    def _take(self, key: str, body: object, place: Part) -> None:
        """Judge one control, profile or overlay."""
        word, kind = _WORDS[key], _MODELS[key]
        given = body.get("id") if isinstance(body, dict) else None
        name = given if isinstance(given, str) else word
        value = validated(Subject(place, name, body, kind), self.problems, _adapter(kind))
        if not isinstance(given, str):
            return
        first = self.places.get((word, given))
        if first is not None:
            at = first.document.at(first.path)
            message = f"there are two {word}s {given!r}; the first is at {at}"
            self.problems.append(
                place.problem("duplicate-id", message, ("id",), value=given, hint="rename one")
            )
            return
        # A control with a mistake inside is still there for whoever names it.
        self.places[word, given] = place
        if value is not INVALID:
            self.found[word][given] = value


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part.endswith("~") for part in path.parts)

"""Reads the definition of an image: all mistakes at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.judging import INVALID, Part, Subject, validated
from provision.core.names import suggest
from provision.core.paths import data_dir
from provision.core.problems import HoldfastError, Problem, by_position, fail
from provision.core.yamlpos import KeyPath, YamlDocument, load_yaml, shown
from provision.image.definition import SCHEMA, Definition
from provision.image.fitting import misfits
from provision.image.roles import WORDS, RoleOption, offline_roles


@dataclass(frozen=True)
class Loaded:
    """A definition, and the file that it was read from."""

    definition: Definition
    file: Path


def ours() -> dict[str, Path]:
    """The definitions that ship with Holdfast, by name."""
    return {path.stem: path for path in sorted(data_dir("images").glob("*.yml"))}


def find(name: str) -> Path:
    """The file that NAME means: one of ours, or a path.

    Raises:
        HoldfastError: there is no such definition (exit code 2).
    """
    known = ours()
    if name in known:
        return known[name]
    path = Path(name)
    if path.suffix in (".yml", ".yaml") or "/" in name:
        return path
    raise fail("unknown-image", f"there is no image {name!r}", hint=suggest(name, known),
               exit_code=ExitCode.USAGE)  # fmt: skip


def load(path: Path) -> Loaded:
    """Read one definition.

    Raises:
        HoldfastError: with every mistake in reading order (exit code 2).
    """
    definition, problems = read(path)
    if definition is None or problems:
        raise HoldfastError(problems, ExitCode.USAGE)
    return Loaded(definition, path)


def read(path: Path) -> tuple[Definition | None, list[Problem]]:
    """What `load` reads, or None, and all problems in reading order."""
    root = data_dir("images")
    name = f"images/{path.name}" if path.parent == root else str(path)
    document, problems = load_yaml(path, name)
    if document is None:
        return None, problems
    reader = _Reader(document, problems)
    definition = reader.read(path)
    return definition, by_position(problems)


@dataclass
class _Reader:
    document: YamlDocument
    problems: list[Problem] = field(default_factory=list)

    def read(self, path: Path) -> Definition | None:
        data = self.document.data
        if not isinstance(data, dict):
            self._say("wrong-type", f"this file is a mapping, not {shown(data)}",
                      hint=f"begin with `schema: {SCHEMA}`")  # fmt: skip
            return None
        if not self._version(data):
            return None
        body = {key: value for key, value in data.items() if key != "schema"}
        subject = Subject(Part(self.document), "the image", body, Definition)
        definition = validated(subject, self.problems)
        self._roles(body.get("roles"))
        if definition is INVALID or not isinstance(definition, Definition):
            return None
        if path.stem != definition.name:
            self._say("name", f"the file is called {path.name}, the image {definition.name!r}",
                      ("name",), hint=f"call the file {definition.name}.yml")  # fmt: skip
        for found in misfits(definition):
            self._say(found.code, found.message, found.at, hint=found.hint)
        return definition

    def _version(self, data: dict[Any, Any]) -> bool:
        version = data.get("schema")
        if version == SCHEMA and not isinstance(version, bool):
            return True
        hint = f"this Holdfast reads `schema: {SCHEMA}`"
        if "schema" in data:
            self._say("unknown-version", f"the version {shown(version)} is not known", ("schema",),
                      hint=hint)  # fmt: skip
        else:
            self._say("missing-key", "the file lacks 'schema'", hint=hint)
        return False

    def _roles(self, roles: object) -> None:
        """Judge the roles by what they say of themselves; the shape was judged before."""
        if isinstance(roles, dict):
            for path, code, message, hint, on_key in _role_mistakes(roles):
                self._say(code, message, ("roles", *path), hint=hint, key=on_key)

    def _say(
        self,
        code: str,
        message: str,
        path: KeyPath = (),
        *,
        hint: str | None = None,
        key: bool = False,
    ) -> None:
        self.problems.append(self.document.problem(code, message, path, hint=hint, key=key))


Mistake = tuple[KeyPath, str, str, str | None, bool]
"""Where below `roles`, code, message, hint, and whether the key is meant."""


def _role_mistakes(roles: dict[Any, Any]) -> Iterator[Mistake]:
    known = offline_roles()
    for name, options in roles.items():
        role = known.get(name)
        if role is None:
            message = f"there is no role {shown(name)} that can configure an image"
            yield (name,), "unknown-role", message, suggest(str(name), known), True
            continue
        given = options if isinstance(options, dict) else {}
        for option, value in given.items():
            spec = role.options.get(option)
            if spec is None:
                message = f"the role {name} has no option {shown(option)}"
                hint = suggest(str(option), role.options)
                yield (name, option), "unknown-option", message, hint, True
            else:
                yield from _value_mistakes((name, option), spec, value)
        for option, spec in role.options.items():
            if spec.required and option not in given and spec.name not in SUPPLIED:
                message = f"the role {name} needs its option {option!r}"
                yield (name,), "missing-option", message, f"add `{option}:`", True


SUPPLIED = frozenset(
    {
        "gpu_driver_unit",
        "inference_api_key",
        "inference_image",
        "inference_model_entry",
        "inference_model_name",
        "inference_tls_certificate",
        "inference_tls_key",
    }
)
"""Required options that the build supplies, or that offline mode does not use."""


def _value_mistakes(path: KeyPath, spec: RoleOption, value: object) -> Iterator[Mistake]:
    what = ".".join(map(str, path))
    if not spec.takes(value):
        message = f"{what} is {WORDS.get(spec.kind, 'a value')}, not {shown(value)}"
        yield path, "wrong-type", message, None, False
    elif spec.choices and value not in spec.choices:
        hint = suggest(str(value), map(str, spec.choices))
        yield path, "unknown-value", f"{what} cannot be {shown(value)}", hint, False

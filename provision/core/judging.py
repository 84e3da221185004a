"""Pydantic's complaints as problems: in our words, each at its place in the file.

Rooms that read YAML with positions judge its values by pydantic models and hand the errors here.
An error that `refuse` made is one of ours: its type is the problem's code, and its context holds
`words` and `hint`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from provision.core.names import suggest
from provision.core.problems import Problem
from provision.core.yamlpos import KeyPath, YamlDocument, shown

INVALID = object()
"""What stands for a value that cannot be used."""

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "date_type": "a date such as 2027-06-30",
}
_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}

_KEY = "[key]"
"""Pydantic's last step of a path when a mapping's key is meant."""


def refuse(code: str, message: str, hint: str = "") -> PydanticCustomError:
    """The error that becomes a `Problem` with this code, message and hint."""
    # The words go in as context: a template would take braces in them for places to fill.
    return PydanticCustomError(code, "{words}", {"words": message, "hint": hint})


class Place(Protocol):
    """Something written in a file, which can say what is wrong with a part of it."""

    def problem(
        self,
        code: str,
        message: str,
        inner: KeyPath = (),
        /,
        *,
        key: bool = False,
        value: str | None = None,
        hint: str | None = None,
    ) -> Problem:
        """A problem with what is at `inner`, or with its key."""
        ...


@dataclass(frozen=True)
class Part:
    """What stands at `path` of a document."""

    document: YamlDocument
    path: KeyPath = ()

    def problem(
        self,
        code: str,
        message: str,
        inner: KeyPath = (),
        /,
        *,
        key: bool = False,
        value: str | None = None,
        hint: str | None = None,
    ) -> Problem:
        """A problem with what is at `inner` of this part, or with its key."""
        path = (*self.path, *inner)
        return self.document.problem(code, message, path, key=key, value=value, hint=hint)


@dataclass(frozen=True)
class Named:
    """Data that stands in no file that a person wrote: a path is all the place that it has."""

    name: str

    def problem(
        self,
        code: str,
        message: str,
        inner: KeyPath = (),
        /,
        *,
        key: bool = False,
        value: str | None = None,
        hint: str | None = None,
    ) -> Problem:
        """A problem with what is at `inner` of the data, or with its key."""
        where = ".".join([self.name, *(str(part) for part in inner)])
        return Problem(
            code, message, value=value, hint=hint, where=f"the key {where}" if key else where
        )


@dataclass(frozen=True)
class Subject:
    """What is judged: where it stands, what messages call it, its value and its type."""

    place: Place
    name: str
    value: object
    kind: Any


def validated(subject: Subject, problems: list[Problem], adapter: Any = None) -> object:
    """The value as its type reads it, or `INVALID` with every mistake noted in `problems`."""
    judge = adapter if adapter is not None else TypeAdapter(subject.kind)
    try:
        found: object = judge.validate_python(subject.value)
    except ValidationError as error:
        problems.extend(_problem(subject, detail) for detail in error.errors(include_url=False))
        return INVALID
    return found


@dataclass(frozen=True)
class _Complaint:
    code: str
    message: str
    hint: str = ""
    on_key: bool = False


def _problem(subject: Subject, detail: ErrorDetails) -> Problem:
    inner, kinds = _located(subject, detail)
    said = _say(subject, inner, kinds, detail)
    of_key = detail["loc"][-1:] == (_KEY,)
    given = detail["input"]
    if detail["type"] == "missing":
        inner = inner[:-1]
    elif said.code == "unknown-key":
        given = inner[-1]
    return subject.place.problem(
        said.code,
        said.message,
        inner,
        key=said.on_key or of_key,
        value=None if said.code == "literal-secret" else shown(given),
        hint=said.hint or None,
    )


def _located(subject: Subject, detail: ErrorDetails) -> tuple[KeyPath, list[Any]]:
    """The error's path in the file, and the type at each step of it.

    Pydantic puts the word that chose a union's member into the path; nobody wrote it there.
    """
    path: list[Any] = []
    value, kind = subject.value, subject.kind
    kinds = [kind]
    location = detail["loc"][:-1] if detail["loc"][-1:] == (_KEY,) else detail["loc"]
    for number, part in enumerate(location):
        last = number == len(location) - 1
        absent = last and detail["type"] == "missing"
        member = _member(kind, part)
        if member is not kind or (isinstance(value, dict) and part not in value and not absent):
            kind = kinds[-1] = member
            continue
        path.append(part)
        value = _step(value, part)
        kind = _inside(kind, part)
        kinds.append(kind)
    return tuple(path), kinds


def _step(value: object, part: Any) -> object:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _say(subject: Subject, inner: KeyPath, kinds: list[Any], detail: ErrorDetails) -> _Complaint:
    error, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    what = _label(subject.name, inner)
    if "-" in error or "words" in context:
        words = context.get("words") or detail["msg"]
        return _Complaint(error, f"{what}: {words}", context.get("hint", ""))
    if error in ("extra_forbidden", "missing"):
        return _key(subject, inner, kinds, error)
    if error in _EXPECTED:
        message = f"{what} is {_EXPECTED[error]}, not {shown(given)}"
        hint = _quote(given) if error == "string_type" else ""
        return _Complaint("wrong-type", message, hint)
    if error in _LIMITS:
        words, name = _LIMITS[error]
        message = f"{what} is {words} {context[name]}, not {shown(given)}"
        return _Complaint("out-of-range", message)
    if error == "finite_number":
        return _Complaint("out-of-range", f"{what} is a finite number, not {shown(given)}")
    if error in ("literal_error", "union_tag_invalid", "union_tag_not_found"):
        return _choice(what, detail)
    if error in ("too_short", "string_too_short", "string_too_long"):
        return _length(what, context)
    return _Complaint("bad-value", f"{what}: {detail['msg']}")


def _key(subject: Subject, inner: KeyPath, kinds: list[Any], error: str) -> _Complaint:
    owner, name = _label(subject.name, inner[:-1]), inner[-1]
    if error == "missing":
        return _Complaint(
            "missing-key", f"{owner} lacks {name!r}", f"add `{name}:`", not inner[:-1]
        )
    hint = suggest(str(name), _fields(kinds[len(inner) - 1]))
    return _Complaint("unknown-key", f"{owner} has no key {shown(name)}", hint, on_key=True)


def _choice(what: str, detail: ErrorDetails) -> _Complaint:
    error, context = detail["type"], detail.get("ctx", {})
    if error == "union_tag_not_found":
        word = str(context["discriminator"]).strip("'")
        return _Complaint("missing-key", f"{what} lacks {word!r}", f"add `{word}:`")
    listed = context["expected" if error == "literal_error" else "expected_tags"]
    choices = [c.strip("' ") for c in re.split(r",| or ", str(listed))]
    given = detail["input"] if error == "literal_error" else context["tag"]
    message = f"{what} cannot be {shown(given)}"
    return _Complaint("unknown-value", message, suggest(str(given), choices))


def _length(what: str, context: dict[str, Any]) -> _Complaint:
    least, most = context.get("min_length"), context.get("max_length")
    if most is not None:
        return _Complaint("too-long", f"{what} has at most {most} characters")
    if least == 1:
        return _Complaint("empty", f"{what} must not be empty")
    return _Complaint("too-short", f"{what} has at least {least} characters")


def _quote(given: object) -> str:
    # YAML 1.1 reads `no`, `12` and `1:30` as something else than text.
    plain = isinstance(given, bool | int | float)
    return "put it in quotes if it is meant as text" if plain else ""


def _label(name: str, inner: KeyPath) -> str:
    text = name
    for part in inner:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def _fields(kind: Any) -> list[str]:
    """The keys that a model knows, by the names under which they are written."""
    kind = _bare(kind)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return []
    return [field.alias or name for name, field in kind.model_fields.items()]


def _inside(kind: Any, part: Any) -> Any:
    """The type of what stands at `part` of a `kind`."""
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if part in (name, field.alias):
                return field.annotation
        return None
    arguments = get_args(kind)
    return arguments[-1 if get_origin(kind) is dict else 0] if arguments else None


def _member(kind: Any, tag: object) -> Any:
    """The member of a union of models that `tag` chooses; `kind` itself where it is no union."""
    for choice in _choices(kind):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            for field in choice.model_fields.values():
                if get_origin(field.annotation) is not None and tag in get_args(field.annotation):
                    return choice
    return kind


def _choices(kind: Any) -> tuple[Any, ...]:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else ()


def _bare(kind: Any) -> Any:
    """`kind` without Annotated, aliases and `| None`."""
    while True:
        origin = get_origin(kind)
        if origin is Annotated:
            kind = get_args(kind)[0]
        elif origin in (Union, UnionType):
            kind = next(a for a in get_args(kind) if a is not type(None))
        else:
            return kind

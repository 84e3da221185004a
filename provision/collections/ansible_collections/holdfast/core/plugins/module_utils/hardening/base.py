# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""What every type of resource offers: read, diff, write, undo, and a schema."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Node, Refused


class Field:
    """One field of a resource: its type, whether it must be there, and what it may be."""

    def __init__(
        self,
        kind: type | tuple[type, ...],
        required: bool = False,
        choices: tuple[str, ...] = (),
        pattern: str = "",
    ) -> None:
        self.kind = kind
        self.required = required
        self.choices = choices
        self.pattern = pattern

    def wrong(self, value: Any) -> str | None:
        """What is wrong with a value."""
        if not isinstance(value, self.kind) or (isinstance(value, bool) and self.kind is int):
            return "has the wrong type"
        if self.choices and value not in self.choices:
            return "must be one of {0}".format(", ".join(self.choices))
        texts = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]
        if self.pattern and not all(re.match(self.pattern, text) for text in texts):
            return "is not as it must be"
        return None


HEADER = "# Written by Holdfast; what is changed here does not last.\n"
TEXT = Field(str)
NEEDED = Field(str, required=True)
LINE = Field(str, required=True, pattern=r"^[^\n\0]+\Z")
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.+:@-]*\Z"
"""What is handed to a program as a name, or looked up in a folder: no option, and no way out."""

PATH = Field(str, required=True, pattern=r"^/[^\0\n]*\Z")
MODE = Field(str, pattern=r"^0?[0-7]{3,4}\Z")
STATE = Field(str, choices=("present", "absent"))
UNIT = Field(str, pattern=r"^[A-Za-z0-9:_.@-]+\.[a-z]+\Z")
COMMON = {"type": NEEDED, "releases": Field(list), "profiles": Field(list)}


class Want:
    """One resource of one control."""

    def __init__(self, control: str, resource: dict[str, Any], reboot: bool = False) -> None:
        self.control = control
        self.resource = resource
        self.reboot = reboot

    def __getitem__(self, key: str) -> Any:
        return self.resource[key]

    def get(self, key: str, default: Any = None) -> Any:
        """A field, or what stands for it."""
        value = self.resource.get(key)
        return default if value is None else value


class Type(ABC):
    """A type of resource on one node.

    For each resource `read` looks, `diff` says in words what differs, and `write` stages what is
    to be. `gather` may look once for all of them before, `finish` may stage once after; what
    `finish` stages beyond the resources it returns as (control, words). `undo` gives the plain
    steps that bring back what is no file: files are brought back from the journal's copies.
    """

    name = ""
    schema: Mapping[str, Field] = MappingProxyType({})
    ours = ""
    """The file that holds all resources of the type, where there is one."""

    phase = "hardening"
    """The phase that clears `ours` when no control wants anything of the type."""

    def __init__(self, node: Node, others: list[Want] | None = None) -> None:
        self.node = node
        self.others = others or []
        """What other phases want: their lines in `ours` stay."""

    def gather(self, wants: list[Want]) -> None:
        """Look once for all resources."""
        del wants

    @abstractmethod
    def read(self, want: Want) -> Any:
        """What is there."""

    @abstractmethod
    def diff(self, want: Want, seen: Any) -> list[str]:
        """What differs, in words; nothing when all is as wanted."""

    @abstractmethod
    def write(self, want: Want, seen: Any) -> None:
        """Stage what is wanted."""

    def undo(self, want: Want, seen: Any) -> list[dict[str, Any]]:
        """The steps back, for what is no file."""
        del want, seen
        return []

    def finish(self, wants: list[Want]) -> list[tuple[str, str]]:
        """Stage what belongs to all resources together."""
        del wants
        return []


def problems(name: str, schema: Mapping[str, Field], resource: dict[str, Any]) -> list[str]:
    """What is wrong with a resource as it was handed over."""
    known = {**COMMON, **schema}
    found = ["{0}: unknown field {1}".format(name, key) for key in resource if key not in known]
    for key, field in known.items():
        if resource.get(key) is None:
            if field.required:
                found.append("{0}: {1} is missing".format(name, key))
            continue
        wrong = field.wrong(resource[key])
        if wrong:
            found.append("{0}: {1} {2}".format(name, key, wrong))
    return found


def agreed(wants: list[Want], key: str, value: str) -> dict[str, Want]:
    """One resource for each key.

    Raises:
        Refused: two controls want different values.
    """
    found: dict[str, Want] = {}
    for want in wants:
        other = found.setdefault(want[key], want)
        if other[value] != want[value]:
            raise Refused(
                "{0} and {1} want different values of {2}: {3} and {4}".format(
                    other.control, want.control, want[key], other[value], want[value]
                ),
                "waive one of the two controls",
            )
    return found


def octal(text: str) -> int:
    """A mode that is written in octal digits."""
    return int(text, 8)


def shown(mode: int) -> str:
    """A mode for a person."""
    return "{0:04o}".format(mode)


def with_mode(resource: Want) -> dict[str, Any]:
    """Owner, group and mode of a resource, for a file that is made."""
    mode = resource.get("mode")
    return {
        "mode": None if mode is None else octal(mode),
        "owner": resource.get("owner"),
        "group": resource.get("group"),
    }


def tell(node: Node, want: Want) -> None:
    """Have a unit told at the end, where the resource names one."""
    if want.get("reload") is not None:
        node.reload(want["reload"])


def keep_ours(node: Node, path: str, body: str, mode: int, *, told: bool) -> list[tuple[str, str]]:
    """Stage a file that is wholly ours, also where only a blank or a bit of its mode differs.

    Without a body there is no file. `told` says that words about its content were found already;
    else they are returned.
    """
    draft = node.draft(path, data=True, follow=False)
    if not body:
        node.remove(path)
        return []
    if draft.kind != "file" or draft.text != HEADER + body:
        node.write(path, HEADER + body, mode=mode, owner="root", group="root", ours=True)
        return [] if told else [("", "write {0} as it has to be".format(path))]
    owner, group = node.number("passwd", "root"), node.number("group", "root")
    if (draft.mode, draft.uid, draft.gid) != (mode, owner, group):
        node.rights(path, mode=mode, owner=owner, group=group, follow=False)
        return [("", "set {0} root:root on {1}".format(shown(mode), path))]
    return []

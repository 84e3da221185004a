"""Whether two nodes ended the same: file by file and unit by unit.

A rehearsal node is a layer over a base that all nodes share, so that the layer, as its host sees
it, holds exactly what the node's life changed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from provision.rehearsal.node import Node

if TYPE_CHECKING:
    from tests.rehearsal.conftest import SimulatedRack

QUESTIONS = (
    "rpm -qa | sort",
    "rpm -qa gpg-pubkey --qf '%{version}-%{release}\\n' | sort",
    "podman image ls --all --digests --no-trunc --format '{{.Repository}} {{.Digest}}' | sort",
    "podman secret ls --format '{{.Name}}' | sort",
    "podman ps --format '{{.Names}} {{.Image}}'",
    "firewall-cmd --list-all-zones",
    "ls -A /run/holdfast 2>/dev/null",
)
"""Commands whose answers must be the same: what databases hold that differ in times."""

ALLOWED = Path(__file__).with_name("may_differ.yml")


@dataclass(frozen=True)
class Entry:
    """What stands at a path: kind, mode, owner, and the digest or the target of a link."""

    kind: str
    mode: int
    owner: str
    content: str


@dataclass(frozen=True)
class Likeness:
    """A node as it stands: files by path, units as (enabled, active), answers by question."""

    files: Mapping[str, Entry]
    units: Mapping[str, tuple[str, str]]
    answers: Mapping[str, str]


@dataclass(frozen=True)
class Allowance:
    """Paths or units that may differ: `pattern` for fnmatch, whose `*` crosses slashes.

    With `presence` they may also be on one node only; mode and owner never may differ.
    """

    pattern: str
    reason: str
    presence: bool = False


def look_at(rack: SimulatedRack, name: str) -> Likeness:
    """The node as it stands; what it still holds in memory is written out first."""
    enabled = _table(rack, name, "systemctl list-unit-files --no-legend --full", 1)
    active = _table(rack, name, "systemctl list-units --all --no-legend --full --plain", 2)
    rack.ssh(name, "sync")
    units = {
        unit: (enabled.get(unit, "-"), active.get(unit, "inactive"))
        for unit in sorted(enabled.keys() | active.keys())
    }
    answers = {q: rack.ssh(name, q, check=False).out for q in QUESTIONS}
    return Likeness(files_of(rack.node(name)), units, answers)


def _table(rack: SimulatedRack, name: str, command: str, column: int) -> dict[str, str]:
    rows = [line.split() for line in rack.ssh(name, command).out.splitlines() if line.strip()]
    return {row[0]: row[column] for row in rows}


def files_of(node: Node) -> dict[str, Entry]:
    """Everything that the node's life changed, by absolute path on the node.

    The rack's name is taken out of contents: it is random, and must not hide another difference.
    """
    rack = node.namespace.encode()
    found = dict(_walk(node.folder / "upper", "/", rack))
    found.update(_walk(node.folder / "containers", "/var/lib/containers/", rack))
    return found


def _walk(top: Path, prefix: str, rack: bytes) -> Iterator[tuple[str, Entry]]:
    for folder, names, files in os.walk(top):
        for name in (*names, *files):
            path = Path(folder, name)
            yield prefix + os.fspath(path.relative_to(top)), _entry(path, rack)


def _entry(path: Path, rack: bytes) -> Entry:
    about = path.lstat()
    mode = stat.S_IMODE(about.st_mode)
    owner = f"{about.st_uid}:{about.st_gid}"
    if stat.S_ISLNK(about.st_mode):
        return Entry("link", 0, owner, os.fspath(path.readlink()))
    if stat.S_ISREG(about.st_mode):
        body = path.read_bytes().replace(rack, b"RACK")
        return Entry("file", mode, owner, hashlib.sha256(body).hexdigest())
    if stat.S_ISCHR(about.st_mode) and about.st_rdev == 0:
        return Entry("removed", 0, "", "")
    return Entry("folder" if stat.S_ISDIR(about.st_mode) else "other", mode, owner, "")


def allowances(section: str) -> list[Allowance]:
    """What may differ: section ``files`` or ``units`` of the committed list."""
    body = yaml.safe_load(ALLOWED.read_text(encoding="utf-8"))
    return [Allowance(**entry) for entry in body[section]]


def differences(one: Likeness, twin: Likeness) -> list[str]:
    """What differs and may not, one line each; empty when the nodes ended the same."""
    files, units = allowances("files"), allowances("units")
    lines = []
    for path in sorted(one.files.keys() | twin.files.keys()):
        here, there = one.files.get(path), twin.files.get(path)
        if here != there and not _may_differ(path, here, there, files):
            lines.append(f"{path}: {here} instead of {there}")
    for unit in sorted(one.units.keys() | twin.units.keys()):
        states = one.units.get(unit), twin.units.get(unit)
        if states[0] != states[1] and not any(fnmatchcase(unit, a.pattern) for a in units):
            lines.append(f"{unit}: {states[0]} instead of {states[1]}")
    for question in QUESTIONS:
        answers = one.answers[question], twin.answers[question]
        if answers[0] != answers[1]:
            lines.append(f"{question}: {answers[0]!r} instead of {answers[1]!r}")
    return lines


def _may_differ(
    path: str, here: Entry | None, there: Entry | None, allowed: list[Allowance]
) -> bool:
    fitting = [a for a in allowed if fnmatchcase(path, a.pattern)]
    if here is None or there is None:
        return any(a.presence for a in fitting)
    same_rights = (here.kind, here.mode, here.owner) == (there.kind, there.mode, there.owner)
    return bool(fitting) and same_rights

"""What differs between two images: `holdfast image diff`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision.image import manifest as manifests
from provision.image.capabilities import MOST, name_of, sets
from provision.image.described import Component, Described, units_of
from provision.image.filelist import TYPES, Entry

SCHEMA = "holdfast.image-diff/1"

SECTIONS: dict[str, str] = {
    "packages": "Packages",
    "sbom": "Models, containers, drivers and licences",
    "kernel": "Kernel and its arguments",
    "units": "Units enabled or masked",
    "rules": "Rules that flip",
    "privileges": "Set-user-id, set-group-id and capabilities",
    "owners": "Owners",
    "modes": "Modes",
    "attributes": "Extended attributes",
    "files": "Files",
    "sizes": "Sizes",
}
"""What is compared, in the order in which it is told, and its heading."""

_SETID = 0o6000


@dataclass(frozen=True)
class Change:
    """One thing that differs; a side that has none of it is nothing."""

    what: str
    before: str
    after: str

    @property
    def word(self) -> str:
        """``added``, ``removed`` or ``changed``."""
        if not self.before:
            return "added"
        return "removed" if not self.after else "changed"


@dataclass(frozen=True)
class Difference:
    """Two images and what differs, by section. `unlooked` says what could not be compared."""

    one: Described
    other: Described
    sections: dict[str, tuple[Change, ...]]
    unlooked: dict[str, str]

    @property
    def count(self) -> int:
        """How much differs."""
        return sum(map(len, self.sections.values()))

    def to_json(self) -> dict[str, Any]:
        """The whole as plain data."""
        return {
            "schema": SCHEMA,
            "a": _about(self.one),
            "b": _about(self.other),
            "sections": {
                name: [
                    {"change": c.word, "what": c.what, "a": c.before or None, "b": c.after or None}
                    for c in changes
                ]
                for name, changes in self.sections.items()
            },
            "not_compared": self.unlooked,
        }


def _about(one: Described) -> dict[str, Any]:
    return {
        "name": one.manifest.name,
        "digest": one.manifest.digest,
        "release": one.manifest.release,
        "arch": one.manifest.arch,
    }


def difference(one: Described, other: Described) -> Difference:
    """Compare two images.

    Raises:
        HoldfastError: a document of either cannot be read, or is not what its manifest says.
    """
    sections: dict[str, tuple[Change, ...]] = {}
    unlooked: dict[str, str] = {}
    needs = {"packages": manifests.CYCLONEDX, "sbom": manifests.CYCLONEDX,
             "rules": manifests.RESULTS}  # fmt: skip
    make = {"packages": _packages, "sbom": _sbom, "kernel": _kernel, "rules": _rules,
            "sizes": _sizes}  # fmt: skip
    by_files = dict(_files(one.files, other.files))
    for name in SECTIONS:
        document = needs.get(name)
        lacks = [d.folder for d in (one, other) if document and not d.has(document)]
        if lacks:
            unlooked[name] = f"{lacks[0]} brings no {document}"
        elif name in make:
            sections[name] = tuple(make[name](one, other))
        else:
            sections[name] = by_files[name]
    return Difference(one, other, sections, unlooked)


def _files(
    a: Mapping[str, Entry], b: Mapping[str, Entry]
) -> Iterator[tuple[str, tuple[Change, ...]]]:
    """The sections that follow from the lists of files."""
    found: dict[str, list[Change]] = {n: [] for n in ("files", "modes", "owners", "privileges",
                                                      "attributes")}  # fmt: skip
    for path in sorted(a.keys() | b.keys()):
        one, other = a.get(path), b.get(path)
        if one == other:
            continue
        for section, change in _of_path(path, one, other):
            found[section].append(change)
    yield from ((name, tuple(changes)) for name, changes in found.items())
    yield "units", tuple(_mapped(units_of(a), units_of(b)))


def _of_path(path: str, one: Entry | None, other: Entry | None) -> Iterator[tuple[str, Change]]:
    before, after = holds(one), holds(other)
    if before != after:
        yield "files", Change(path, before, after)
    before, after = privileges(one), privileges(other)
    if before != after:
        yield "privileges", Change(path, before, after)
    if one is None or other is None:
        return
    if one.mode != other.mode and "l" not in (one.type, other.type):
        yield "modes", Change(path, one.permissions, other.permissions)
    if (one.uid, one.gid) != (other.uid, other.gid):
        yield "owners", Change(path, f"{one.uid}:{one.gid}", f"{other.uid}:{other.gid}")
    if one.xattrs != other.xattrs and one.capability == other.capability:
        yield "attributes", Change(path, one.xattrs, other.xattrs)


def holds(entry: Entry | None) -> str:
    """What a path is and holds, in words; nothing where there is none."""
    if entry is None:
        return ""
    word = TYPES[entry.type]
    if entry.type == "f":
        return f"{word}, {entry.size} bytes, sha256 {entry.holds}"
    return word if entry.holds == "-" else f"{word} to {entry.holds}"


def privileges(entry: Entry | None) -> str:
    """What a path lets whoever runs it be, in words; nothing where that is nothing more."""
    if entry is None or entry.type != "f":
        return ""
    words = []
    if entry.mode & _SETID:
        words.append(f"mode {entry.permissions}, owner {entry.uid}:{entry.gid}")
    if entry.capability:
        words.append(f"capabilities {capabilities(entry.capability)}")
    return "; ".join(words)


def _mapped(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Change]:
    for key in sorted(a.keys() | b.keys()):
        if a.get(key) != b.get(key):
            yield Change(key, a.get(key, ""), b.get(key, ""))


def _packages(one: Described, other: Described) -> Iterator[Change]:
    yield from _mapped(_versions(one), _versions(other))


def _versions(one: Described) -> dict[str, str]:
    """The versions of every package by name and architecture; kernels have several."""
    found: dict[str, list[str]] = {}
    for nevra, package in one.packages.items():
        arch = nevra.rpartition(".")[2] if "." in nevra else ""
        found.setdefault(f"{package.name}.{arch}", []).append(package.version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _sbom(one: Described, other: Described) -> Iterator[Change]:
    yield from _mapped(_materials(one), _materials(other))
    before, after = _licences(one), _licences(other)
    # The licence of what is new or gone is no change of its own.
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name]:
            yield Change(f"licence of {name}", before[name] or "none", after[name] or "none")


def _materials(one: Described) -> dict[str, str]:
    return {f"{c.kind} {c.name}": _said(c) for c in one.components if c.kind != "library"}


def _licences(one: Described) -> dict[str, str]:
    return {component.name: component.licence for component in one.components}


def _said(component: Component) -> str:
    return component.version or ", ".join(component.paths) or component.name


def _kernel(one: Described, other: Described) -> Iterator[Change]:
    a, b = one.manifest.kernel, other.manifest.kernel
    before, after = (a.version if a else ""), (b.version if b else "")
    if before != after:
        yield Change("version", before, after)
    old, new = (k.arguments.split() if k else [] for k in (a, b))
    yield from (Change(word, word, "") for word in old if word not in new)
    yield from (Change(word, "", word) for word in new if word not in old)


def _rules(one: Described, other: Described) -> Iterator[Change]:
    yield from _mapped(one.rules, other.rules)


def _sizes(one: Described, other: Described) -> Iterator[Change]:
    yield from _mapped(_measures(one), _measures(other))


def _measures(one: Described) -> dict[str, str]:
    found = {a.name: f"{a.size} bytes" for a in one.manifest.artefacts}
    found["the tree's files"] = f"{one.manifest.tree.bytes} bytes"
    found["paths in the tree"] = str(one.manifest.tree.paths)
    return found


def capabilities(value: str) -> str:
    """The capabilities in the hex of the attribute, as getcap writes them.

    The form is vfs_cap_data: 32 bits of revision and flags, then permitted and inheritable bits,
    low words first.
    """
    try:
        raw = bytes.fromhex(value)
    except ValueError:
        return value
    if len(raw) not in (20, 24) or raw[3] not in (2, 3):
        return value
    permitted, inheritable = sets(raw[4:20])
    effective = "e" if raw[0] & 1 else ""
    groups: dict[str, list[str]] = {}
    for number in range(MOST):
        bit = 1 << number
        flags = ("i" if inheritable & bit else "") + ("p" if permitted & bit else "")
        if flags:
            groups.setdefault(effective + flags, []).append(f"cap_{name_of(number)}")
    return " ".join(f"{','.join(names)}={flags}" for flags, names in groups.items()) or value

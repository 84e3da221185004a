"""The files of an inventory: the inventory itself, and group_vars/ and host_vars/ beside it.

Which files Ansible would read follows its own rule: for a group `gpu` the first of `gpu`,
`gpu.yml`, `gpu.yaml` and `gpu.json` counts; a folder is read whole, in order of names.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from provision.core.names import suggest
from provision.core.problems import Position, Problem
from provision.core.yamlpos import YamlDocument, parse_yaml, printable, read_text

Owner = Literal["group", "host"]
FOLDERS: dict[Owner, str] = {"group": "group_vars", "host": "host_vars"}
SUFFIXES = (".yml", ".yaml", ".json")
MAX_FILES = 20_000
MAX_LEVELS = 8
_NOTES = (".md", ".txt", ".rst")
"""Files that people leave beside variables and that nobody takes for variables."""
_VAULT_HEADER = "$ANSIBLE_VAULT;"


@dataclass(frozen=True)
class VarsFile:
    """One file of variables; `encrypted` ones are Ansible's alone and have no document."""

    owner: Owner
    name: str
    document: YamlDocument | None
    encrypted: bool = False


@dataclass
class Sources:
    """All files of an inventory, read; `sha256` covers their names and contents."""

    path: Path
    document: YamlDocument
    files: list[VarsFile] = field(default_factory=list)
    taken: set[Path] = field(default_factory=set)
    sha256: str = ""

    @property
    def folder(self) -> Path:
        """The inventory's folder."""
        return self.path.parent


class Reader:
    """Reads files once each, keeps their problems and their digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []
        self.count = 0
        self._digest = hashlib.sha256()

    def shown(self, path: Path) -> str:
        """How a person would write `path` from where they stand."""
        return printable(os.fspath(path).removeprefix("./"))

    def read(self, path: Path) -> tuple[YamlDocument | None, bool]:
        """The document of `path`, and whether it is encrypted."""
        name = self.shown(path)
        text, problem = read_text(path, name)
        if problem is not None:
            self.problems.append(problem)
            return None, False
        label = os.path.relpath(path, self.folder)
        self._digest.update(f"{label}\0{len(text)}\0{text}".encode())
        if text.startswith(_VAULT_HEADER):
            return None, True
        document, problems = parse_yaml(text, name)
        self.problems.extend(problems)
        return document, False

    def kind(self, path: Path) -> Literal["folder", "file"] | None:
        """What `path` is; None when nothing is there. What cannot be looked at is a problem."""
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.complain(
                path, "unreadable-file", f"cannot be looked at: {reason}", "check its permissions"
            )
            return None
        return "folder" if stat.S_ISDIR(mode) else "file"

    def complain(self, path: Path, code: str, message: str, hint: str) -> None:
        """Note a problem with a whole file."""
        at = Position(self.shown(path), 1, 1)
        self.problems.append(Problem(code, message, at, path.name, hint))

    @property
    def sha256(self) -> str:
        """The digest of everything read so far."""
        return self._digest.hexdigest()


def read_inventory(path: Path) -> tuple[YamlDocument | None, Reader]:
    """Read the inventory file alone; `read_variables` then reads what lies beside it."""
    reader = Reader(path.parent)
    if reader.kind(path) == "folder":
        hint = "give the file itself, for example " + os.fspath(path / "inventory.yml")
        reader.complain(path, "not-a-file", "this is a folder", hint)
        return None, reader
    if reader.problems:
        return None, reader
    document, encrypted = reader.read(path)
    if document is None and not encrypted and _is_ini(path):
        hint = "INI inventories are converted by `ansible-inventory -i FILE --list --yaml`"
        reader.problems = [replace(problem, hint=hint) for problem in reader.problems]
    if encrypted:
        hint = "encrypt single values or files in group_vars, or refer to secrets with vault:"
        reader.complain(path, "encrypted", "the inventory itself is encrypted", hint)
    return document, reader


def _is_ini(path: Path) -> bool:
    """Whether a file that is not YAML looks like Ansible's other form of an inventory."""
    text, problem = read_text(path, "")
    return problem is None and re.search(r"^\[[\w.:-]+\]\s*$", text, re.MULTILINE) is not None


def read_variables(
    path: Path, document: YamlDocument, reader: Reader, names: Mapping[Owner, Iterable[str]]
) -> Sources:
    """Read what group_vars/ and host_vars/ beside the inventory at `path` hold for `names`."""
    sources = Sources(path, document)
    for owner, folder in FOLDERS.items():
        top = path.parent / folder
        if reader.kind(top) == "folder":
            for name in sorted(names[owner]):
                sources.taken |= _read_owner(sources, reader, top, owner, name)
    sources.sha256 = reader.sha256
    return sources


def find_strays(
    sources: Sources,
    reader: Reader,
    names: Mapping[Owner, Iterable[str]],
    referred: frozenset[str],
) -> None:
    """Complain about files of a group or host that does not exist: nothing would read them.

    `referred` are files that a reference to a secret names; they need no owner.
    """
    for owner, folder in FOLDERS.items():
        top = sources.folder / folder
        known = set(names[owner])
        for entry in sorted(_listed(top, reader)) if reader.kind(top) == "folder" else []:
            path = top / entry
            if path in sources.taken or path.suffix in _NOTES or os.path.realpath(path) in referred:
                continue
            name = entry.removesuffix(path.suffix) if path.suffix in SUFFIXES else entry
            if name not in known:
                message = f"there is no {owner} called {name!r}, so nothing reads this file"
                reader.complain(path, f"unknown-{owner}", message, suggest(name, known))


def _read_owner(sources: Sources, reader: Reader, top: Path, owner: Owner, name: str) -> set[Path]:
    """Read what belongs to one group or host; returns the entries of `top` that are its own."""
    entries = [name, *(name + suffix for suffix in SUFFIXES)]
    present = [e for e in entries if reader.kind(top / e)]
    if len(present) > 1:
        first = top.name + "/" + present[0]
        for hidden in present[1:]:
            message = f"Ansible does not read this file: {first} comes before it"
            reader.complain(top / hidden, "hidden-file", message, "merge the two")
    for entry in present[:1]:
        for file in _vars_files(top / entry, reader):
            document, encrypted = reader.read(file)
            sources.files.append(VarsFile(owner, name, document, encrypted))
    return {top / entry for entry in present}


def _vars_files(path: Path, reader: Reader, level: int = 0) -> list[Path]:
    if reader.kind(path) != "folder":
        return [path]
    found: list[Path] = []
    if level >= MAX_LEVELS:
        reader.complain(path, "too-deep", f"folders deeper than {MAX_LEVELS}", "flatten them")
        return found
    for entry in sorted(_listed(path, reader)):
        inner = path / entry
        if reader.kind(inner) == "folder":
            found.extend(_vars_files(inner, reader, level + 1))
        elif inner.suffix in ("", *SUFFIXES):
            found.append(inner)
    return found


def _listed(path: Path, reader: Reader) -> list[str]:
    """The entries of a folder that Ansible looks at."""
    try:
        names = [entry.name for entry in path.iterdir()]
    except OSError as error:
        reader.complain(
            path, "unreadable-file", f"cannot be read: {error.strerror}", "check its permissions"
        )
        return []
    reader.count += len(names)
    if reader.count > MAX_FILES:
        reader.complain(
            path, "too-many-files", f"more than {MAX_FILES} files", "is this the folder?"
        )
        return []
    return [n for n in names if not n.startswith(".") and not n.endswith("~")]

"""Rooms import only rooms below them; what runs on a node imports none of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "provision"

ROOMS = (
    "cli",
    "rehearsal",
    "image",
    "engine",
    "fleet",
    "checks",
    "health",
    "inference",
    "supply",
    "policy",
    "rack",
    "verdict",
    "core",
)
"""From the top of the house to the ground floor; docs/architecture.md says what each is for."""


def imported_modules(source: str, module: str) -> set[str]:
    """Every module that `source` names in an import, wherever in the file it stands.

    `module` is the dotted name of the package that the file lies in, for relative imports.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: len(module.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            found.add(base)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def upward_imports(package: Path) -> list[str]:
    """Every import in `package` that does not run downwards, as `file: what`."""
    wrong = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        room = place.parts[0]
        if room in ("_data", "collections") or len(place.parts) == 1:
            continue
        if room not in ROOMS:
            wrong.append(f"{place}: the room {room!r} is not in the plan of the house")
            continue
        allowed = {room, *ROOMS[ROOMS.index(room) + 1 :]}
        dotted = ".".join(("provision", *place.parts[:-1]))
        names = imported_modules(path.read_text(encoding="utf-8"), dotted)
        rooms = {n.split(".")[1] for n in names if n.startswith("provision.")}
        unwanted = rooms & {*ROOMS, "collections"} - allowed
        wrong += [f"{place}: imports provision.{other}" for other in sorted(unwanted)]
    return wrong


def test_imports_run_downwards():
    assert upward_imports(PACKAGE) == []


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("core/planted.py", "import provision.rack.model"),
        ("rack/planted.py", "from provision.engine import waves"),
        ("supply/planted.py", "from provision import cli"),
        ("verdict/planted.py", "def f():\n    from ..checks import verify"),
        ("engine/planted.py", "from provision.collections import anything"),
        ("attic/planted.py", "import json"),
    ],
)
def test_planted_violation_is_found(tmp_path, place, line):
    planted = tmp_path / "provision" / place
    planted.parent.mkdir(parents=True)
    planted.write_text(line + "\n")
    found = upward_imports(tmp_path / "provision")
    assert len(found) == 1
    assert found[0].startswith(place)


@pytest.mark.parametrize(
    "line", ["from provision.core.files import write_whole", "from . import lock", "import json"]
)
def test_downward_import_is_allowed(tmp_path, line):
    good = tmp_path / "provision/supply/good.py"
    good.parent.mkdir(parents=True)
    good.write_text(line + "\n")
    assert upward_imports(tmp_path / "provision") == []


def house_imports(files: list[Path], *, but: str = "") -> list[str]:
    """Every import of `provision` in `files` that does not begin with `but`, as `file: what`."""
    return [
        f"{path.name}: {name}"
        for path in files
        for name in sorted(imported_modules(path.read_text(encoding="utf-8"), "node"))
        if name.split(".")[0] == "provision" and not (but and name.startswith(but))
    ]


def test_the_collection_imports_nothing_of_the_house():
    """Modules run on nodes; plugins run in ansible-core's process, under its licence."""
    files = list((PACKAGE / "collections").rglob("*.py"))
    assert files
    assert house_imports(files) == []


def test_probes_import_each_other_only():
    """They are sent to nodes, where nothing else of the house is."""
    files = list((PACKAGE / "checks/probes").glob("*.py"))
    assert files
    assert house_imports(files, but="provision.checks.probes") == []


def test_planted_house_import_is_found(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from provision.core import files\n")
    assert house_imports([planted])
    assert house_imports([planted], but="provision.checks.probes")


def test_files_that_import_ansible_plugins_say_their_licence():
    """Importing `ansible.plugins` makes a file a work under ansible-core's GPL."""
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        names = imported_modules(text, "x")
        gpl = any(n.startswith(("ansible.plugins", "ansible.parsing")) for n in names)
        head = "\n".join(text.splitlines()[:12])
        if gpl and "SPDX-License-Identifier: GPL-3.0-or-later" not in head:
            wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []

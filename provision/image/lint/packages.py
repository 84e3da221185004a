"""What the tree's rpm database says. It is read as a copy: reading leaves lock files."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from provision.image.lint.tree import Tree
from provision.image.lint.words import Unseen

PLACES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
"""Where EL 10 and EL 9 keep it."""
_DATABASES = ("rpmdb.sqlite", "Packages", "Packages.db")
_PATIENCE_S = 120


@lru_cache(maxsize=8)
def _asked(tree: Tree, query: str) -> tuple[str, ...]:
    place = next(
        (p for p in PLACES if any(tree.exists(f"{p}/{name}") for name in _DATABASES)), None
    )
    if place is None:
        raise Unseen("there is no rpm database")
    with tempfile.TemporaryDirectory(prefix="holdfast-rpmdb-") as folder:
        copy = Path(folder) / "db"
        shutil.copytree(f"{tree.root}{tree.resolve(place)}", copy)
        argv = ["rpm", "--dbpath", str(copy), "-qa", "--qf", query]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, check=False,
                timeout=_PATIENCE_S, env={"PATH": "/usr/sbin:/usr/bin", "HOME": folder},
            )  # fmt: skip
        except FileNotFoundError as error:
            raise Unseen("rpm is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise Unseen(f"rpm did not end within {_PATIENCE_S} s") from error
    said = " ".join(done.stderr.decode("utf-8", "replace").split())
    if done.returncode or "error:" in said:
        raise Unseen(f"the rpm database cannot be read: {said[-300:] or done.returncode}")
    return tuple(done.stdout.decode("utf-8", "surrogateescape").splitlines())


def installed(tree: Tree) -> set[str]:
    """The names of the packages.

    Raises:
        Unseen: the database cannot be read.
    """
    return {*_asked(tree, "%{NAME}\\n")}


def owned(tree: Tree) -> set[str]:
    """Every path that a package owns, as the tree has it: its top folders may be links.

    Raises:
        Unseen: the database cannot be read.
    """
    found = set()
    for path in _asked(tree, "[%{FILENAMES}\\n]"):
        top, slash, rest = path[1:].partition("/")
        entry = tree.entries.get(f"/{top}")
        if slash and entry is not None and entry.kind == "link":
            found.add(f"/{entry.target.strip('/')}/{rest}")
        else:
            found.add(path)
    return found

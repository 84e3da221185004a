"""Where things are: the data that ships with Holdfast, and where state and caches go."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def data_dir(name: str) -> Path:
    """The folder `name` (roles, profiles or images) that ships with Holdfast.

    In an installed wheel these lie in ``provision/_data``; in a checkout beside ``provision``.

    Raises:
        FileNotFoundError: the installation is not whole.
    """
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the folder {name!r} is missing beside {_PACKAGE}")


def collections_dir() -> Path:
    """The folder to put on ANSIBLE_COLLECTIONS_PATH; it holds ansible_collections/holdfast/core."""
    return _PACKAGE / "collections"


def playbook(name: str) -> Path:
    """The path of playbook `name` (without suffix) in the local collection."""
    return collections_dir() / "ansible_collections/holdfast/core/playbooks" / f"{name}.yml"


def state_home() -> Path:
    """Where runs are kept: ``$XDG_STATE_HOME/holdfast``."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def cache_home() -> Path:
    """Where what can be made again is kept: ``$XDG_CACHE_HOME/holdfast``."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def _xdg(variable: str, default: str) -> Path:
    # The XDG base directory specification says that relative values must be ignored.
    given = os.environ.get(variable, "")
    base = Path(given) if given.startswith("/") else Path.home() / default
    return base / "holdfast"

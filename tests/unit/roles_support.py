"""Shared by the tests of modules and roles: the collection on the path, and fake commands."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from ansible.module_utils.testing import patch_module_args

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "provision/collections/ansible_collections/holdfast/core"
PLUGINS = "ansible_collections.holdfast.core.plugins"


def plugin(kind: str, name: str) -> ModuleType:
    """Import ``plugins/KIND/NAME.py`` of the collection."""
    folder = str(ROOT / "provision/collections")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(f"{PLUGINS}.{kind}.{name}")


def documented(module: ModuleType) -> dict[str, Any]:
    """A module's documentation, with the fragments of ours that it names."""
    told = yaml.safe_load(module.DOCUMENTATION)
    told.setdefault("options", {})
    for name in told.get("extends_documentation_fragment", []):
        _, _, file, *part = name.split(".")
        fragment = plugin("doc_fragments", file).ModuleDocFragment
        text = getattr(fragment, part[0].upper() if part else "DOCUMENTATION")
        for key, entries in yaml.safe_load(text).items():
            told[key] = {**entries, **told[key]}
    return told


class Result(dict):
    """What a module said; `failed` when it gave up."""

    @property
    def changes(self) -> list[str]:
        return self.get("holdfast_changes", [])


def run_module(name: str, arguments: dict[str, Any], *, check: bool = False) -> Result:
    """Run a module's main with `arguments`, as Ansible would."""
    module = plugin("modules", name)
    given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}
    out = io.StringIO()
    with patch_module_args(given), contextlib.redirect_stdout(out):
        try:
            module.main()
        except SystemExit:
            pass
        else:
            raise AssertionError(f"{name} ended without a result")
    return Result(json.loads(out.getvalue().strip().splitlines()[-1]))


def fake_command(folder: Path, name: str, script: str) -> None:
    """Put an executable `name` into `folder`; it also writes its arguments to `calls`."""
    path = folder / name
    log = folder / "calls"
    path.write_text(f'#!/bin/bash\necho "{name} $*" >> {log}\n{script}\n', encoding="utf-8")
    path.chmod(0o755)


def calls(folder: Path) -> list[str]:
    """The commands that were run, with their arguments."""
    log = folder / "calls"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

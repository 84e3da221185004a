"""What typings/ declares of Ansible is there in the Ansible that is installed, by these words."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "typings"
STUBS = sorted(FOLDER.rglob("*.pyi"))
SHAPES = {"AggregateStats", "CallbackTaskResult", "Display", "DataLoader", "Host", "Play",
          "PlayContext", "Task"}  # fmt: skip
"""Things that a plugin is handed, which stand somewhere else in Ansible."""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__")


def missing(declared: ast.AST, owner: object, name: str) -> list[str]:
    """What is declared of a thing and is not so in the real one."""
    if isinstance(declared, ast.AnnAssign) and isinstance(declared.target, ast.Name):
        # An attribute may be set when the object is made.
        own = isinstance(owner, ModuleType) and not hasattr(owner, declared.target.id)
        return [f"{name}.{declared.target.id}"] if own else []
    if not isinstance(declared, ast.ClassDef | ast.FunctionDef):
        return []
    if isinstance(declared, ast.ClassDef) and declared.name in SHAPES:
        return []
    full = f"{name}.{declared.name}"
    real = getattr(owner, declared.name, None)
    if real is None:
        return [full]
    if isinstance(declared, ast.ClassDef):
        return [line for part in declared.body for line in missing(part, real, full)]
    takes = inspect.signature(real).parameters
    words = [a.arg for a in (*declared.args.args, *declared.args.kwonlyargs)]
    if any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        return []
    return [f"{full}({word})" for word in words if word not in takes]


def wrong(path: Path) -> list[str]:
    module = importlib.import_module(module_of(path))
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return [line for part in body for line in missing(part, module, module.__name__)]


@pytest.mark.parametrize("path", STUBS, ids=module_of)
def test_what_is_declared_is_there(path: Path) -> None:
    assert wrong(path) == []


def test_there_is_something_to_compare() -> None:
    assert len(STUBS) > 10


def test_what_is_not_there_is_found() -> None:
    module = importlib.import_module("ansible.module_utils.basic")
    body = ast.parse(
        "class AnsibleModule:\n    def warns(self): ...\n    def warn(self, words): ...\n"
        "NONE: str\ndef no_such(): ...\n"
    ).body
    assert [line for part in body for line in missing(part, module, "m")] == [
        "m.AnsibleModule.warns", "m.AnsibleModule.warn(words)", "m.NONE", "m.no_such",
    ]  # fmt: skip

"""The linters, as tests: what a change must pass is in one place, and none can be forgotten."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SHELL = re.compile(rb"#!\s*/(?:usr/)?bin/(?:env +)?(bash|dash|sh)\b")


def run(*words: str, **more: str) -> None:
    """Run a tool of this environment in the checkout; fail with all it said."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1", **more}
    done = subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(words)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_ruff_check():
    run("ruff", "check", "--quiet", "--output-format", "concise", ".")


def test_ruff_format():
    run("ruff", "format", "--check", "--quiet", ".")


@pytest.mark.slow
def test_mypy():
    run("mypy", "provision", "scripts/generate.py")


@pytest.mark.slow
def test_mypy_collection():
    """By the oldest Python that mypy knows; that nodes have an older one, ruff knows."""
    files = sorted((ROOT / "provision/collections").rglob("*.py"))
    assert len(files) > 80
    run("mypy", "--python-version", "3.10", "--explicit-package-bases", *map(str, files))


@pytest.mark.slow
def test_ansible_lint():
    # Not tests/data: most of what lies there is wrong on purpose.
    what = ("roles", "provision/collections", "inventory.example.yml")
    collections = str(ROOT / "provision/collections")
    production = ("--offline", "--strict", "--profile", "production", "-q")
    run("ansible-lint", *production, *what, ANSIBLE_COLLECTIONS_PATH=collections)


def shell_of(path: Path) -> str | None:
    """The shell that a file is for, by its first line; bash for an .sh file without, else None."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as stream:
        found = SHELL.match(stream.readline(200))
    if found is None:
        return "bash" if path.suffix == ".sh" else None
    return found[1].decode()


def complaint(path: Path, shell: str) -> str:
    """What a shell says of a script that it only reads; nothing where it has no mistake."""
    done = subprocess.run([shell, "-n", path], capture_output=True, text=True, check=False)
    return done.stderr or ("" if done.returncode == 0 else f"exit code {done.returncode}")


def test_shell_scripts_parse():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    paths = [ROOT / name for name in tracked.stdout.decode().split("\0") if name]
    found = {path: shell for path in paths if (shell := shell_of(path)) is not None}
    names = {str(path.relative_to(ROOT)) for path in found}
    assert names >= {"scripts/setup", "scripts/reproduce", "provision/checks/oscap.sh", ".ci/run"}
    assert {str(p): said for p, shell in found.items() if (said := complaint(p, shell))} == {}


@pytest.mark.parametrize(
    ("name", "text", "shell"),
    [
        ("x", "#!/bin/sh -e\nif true\n", "sh"),
        ("x", "#!/usr/bin/env bash\nfor\n", "bash"),
        ("x.sh", "case\n", "bash"),
        ("x", "#!/usr/bin/python3\nif\n", None),
        ("x", "if\n", None),
    ],
)
def test_a_script_with_a_mistake_is_found(tmp_path, name, text, shell):
    path = tmp_path / name
    path.write_text(text)
    assert shell_of(path) == shell
    assert shell is None or complaint(path, shell)


def test_generated_files_are_current():
    run("python", "scripts/generate.py", "--check")

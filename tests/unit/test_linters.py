"""The linters, as tests: what a change must pass is in one place, and none can be forgotten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


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


def test_mypy():
    run("mypy", "provision", "scripts/generate.py")


@pytest.mark.slow
def test_ansible_lint():
    # Not tests/data: most of what lies there is wrong on purpose.
    what = ("roles", "provision/collections", "inventory.example.yml")
    collections = str(ROOT / "provision/collections")
    production = ("--offline", "--strict", "--profile", "production", "-q")
    run("ansible-lint", *production, *what, ANSIBLE_COLLECTIONS_PATH=collections)


def test_shell_scripts_parse():
    for name in ("scripts/setup", "scripts/lock.sh", ".ci/run"):
        subprocess.run(["bash", "-n", ROOT / name], check=True)


def test_generated_files_are_current():
    run("python", "scripts/generate.py", "--check")

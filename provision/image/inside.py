"""Runs modules of this project inside the sandbox, where owners are true."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from provision.image.work import Work

_PROJECT = Path(__file__).resolve().parents[2]


def inside(
    work: Work, module: ModuleType, *words: str | os.PathLike[str], told: Mapping[str, Any]
) -> str:
    """Run ``python -m module words`` inside and return what it wrote to standard output.

    Args:
        work: whose sandbox.
        module: the module; it does its work when it is run as a program.
        words: its arguments.
        told: what it reads as JSON from standard input.

    Raises:
        HoldfastError: it failed.
    """
    env = {"PYTHONPATH": os.fspath(_PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    return work.sandbox.run(
        [sys.executable, "-P", "-m", module.__name__, *words], env=env, stdin=json.dumps(told)
    )

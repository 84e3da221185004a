"""Runs modules of this project inside the sandbox, where owners are true."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from provision.image.work import Work


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
    return work.sandbox.python(module.__name__, *words, stdin=json.dumps(told))

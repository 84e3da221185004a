"""Every check, in the order of the documentation."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from provision.health.words import Check

NAMES = (
    "gpu_presence_pci",
    "gpu_presence_driver",
    "gpu_temperature_core",
    "log_xid",
)
"""The modules of this package that hold a check."""


def checks() -> tuple[Check, ...]:
    """Every check."""
    return tuple(_load())


def _load() -> Iterator[Check]:
    for name in NAMES:
        check = importlib.import_module(f"provision.health.checks.{name}").CHECK
        assert isinstance(check, Check)
        yield check

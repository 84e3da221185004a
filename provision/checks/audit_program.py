"""The audit as one file, packed once in a process: what is shipped, and what is looked for."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from provision.core.problems import fail
from provision.health import build

UNITS = ("holdfast-health.service", "holdfast-health.timer")
NAME = "holdfast-health.pyz"


@dataclass(frozen=True)
class Program:
    """The file that goes to nodes. The same release gives the same bytes."""

    data: bytes

    @property
    def sha256(self) -> str:
        """Its digest."""
        return hashlib.sha256(self.data).hexdigest()


@functools.cache
def program() -> Program:
    """The audit of this release with the nvidia-ml-py that is installed beside it.

    Raises:
        HoldfastError: nvidia-ml-py is not there, or without its licence.
    """
    try:
        return Program(build.program())
    except build.CannotBuild as error:
        raise fail(
            "audit-program",
            f"the audit cannot be packed: {error}",
            hint="install Holdfast again with all that it requires",
        ) from error


def units() -> dict[str, str]:
    """The units that run it, by name."""
    folder = Path(build.__file__).parent / "units"
    return {name: (folder / name).read_text(encoding="utf-8") for name in UNITS}


def slurm_files() -> dict[str, str]:
    """The programs by which Slurm asks the audit, by their place beside it."""
    folder = Path(build.__file__).parent / "slurm/programs"
    names = sorted(path.name for path in folder.glob("slurm*"))
    return {f"slurm/{name}": (folder / name).read_text(encoding="utf-8") for name in names}

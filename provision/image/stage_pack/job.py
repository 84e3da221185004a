"""What a format is made from, and what is said of the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.image.sealing import sha256
from provision.image.work import Work


@dataclass(frozen=True)
class Job:
    """One format of one image. `folder` is an empty folder that takes its files."""

    work: Work
    format: str
    folder: Path

    @property
    def name(self) -> str:
        """What the image's files are called, without a suffix."""
        return self.work.definition.name

    @property
    def root(self) -> Path:
        """The sealed tree."""
        return self.work.inputs["seal"] / "root"

    @property
    def labels(self) -> Path:
        """The SELinux label of every path; see `provision.image.labels`."""
        return self.work.inputs["label"] / "labels.tsv"

    @property
    def kernel(self) -> Path:
        """The folder with the kernel and its initial RAM disk."""
        return self.work.inputs["kernel"]

    def artefact(self, path: Path, *, bootable: bool = False, **more: Any) -> dict[str, Any]:
        """What ``artefacts.json`` says of a file of this format.

        Args:
            path: the file, below `folder`.
            bootable: whether a machine starts from it.
            more: what only this format has.
        """
        return {
            "name": path.name,
            "format": self.format,
            "path": path.relative_to(self.work.out).as_posix(),
            "size": path.stat().st_size,
            "sha256": sha256(path),
            "bootable": bootable,
            **more,
        }


Make = Callable[[Job], list[dict[str, Any]]]
"""Makes a format and returns its artefacts."""

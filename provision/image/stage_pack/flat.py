"""Formats that are archives of the tree: tar, and what Warewulf imports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from provision.image import layout
from provision.image.inside import inside
from provision.image.stage_pack import archive as program
from provision.image.stage_pack.archive import Archive, Written
from provision.image.stage_pack.job import Job

DIFFERS = ("etc/fstab",)
"""What differs from the sealed tree where the root is not on the definition's disk."""


def tar(job: Job) -> list[dict[str, Any]]:
    """The tree as one compressed archive, with labels and capabilities."""
    path = job.folder / f"{job.name}.tar.zst"
    written = archive(job, path)
    return [job.artefact(path, plain_sha256=written.plain, differs=list(DIFFERS))]


def archive(
    job: Job, target: Path, *, added: Mapping[str, Path] | None = None, only: bool = False
) -> Written:
    """Write the tree, or only what is added, as an archive; see `archive.Archive`."""
    told = Archive(
        root=str(job.root),
        target=str(target),
        epoch=job.work.epoch,
        labels=str(job.labels),
        replaced={} if only else {"etc/fstab": diskless(job)},
        added={path: str(source) for path, source in (added or {}).items()},
        only=only,
    )
    said = inside(job.work, program, told=asdict(told))
    return Written(**json.loads(said))


def diskless(job: Job) -> str:
    """The tree's fstab without the file systems of the definition's disk."""
    return layout.fstab(job.work.definition, job.work.sandbox.run(["cat", job.root / "etc/fstab"]),
                        disks=False)  # fmt: skip

"""Stage seal: the configured tree without anything of one machine's, and a list of what it holds.

Its output: ``root/``, ``files.tsv`` (see `provision.image.filelist`), ``parts.json`` (see
`provision.image.parts`) and ``removed.tsv``: path, what was done with it, why.
"""

from __future__ import annotations

import time
from pathlib import Path

from provision.core.problems import fail
from provision.core.shapes import Model
from provision.image import layout, sealing
from provision.image.definition import Definition
from provision.image.enrolment.planting import planted
from provision.image.inside import inside
from provision.image.work import Given, Work

VERSION = 1
NEEDS = ("configure",)
READS = ("name", "release", "arch", "partitions", "enrolment_keys")
TOOLS: tuple[str, ...] = ()

IMAGE_SCHEMA = "holdfast.node-image/1"


class Options(Model):
    """None."""


def options(definition: Definition, given: Given) -> Options:
    """The stage's options: it has none."""
    del definition, given
    return Options()


def run(work: Work) -> None:
    """Copy the tree and seal the copy.

    Raises:
        HoldfastError: the clock stands before the image's own date, or a tool failed.
    """
    if work.epoch > time.time():
        raise fail("date-to-come", "the image's date is yet to come, so that what the build makes"
                   " would be older than what it was made from", where=work.definition.name,
                   hint="set the definition's date to a day that is over")  # fmt: skip
    source, root = work.inputs["configure"] / "root", work.out / "root"
    work.sandbox.copy(source, root)
    mounts = {one.mount for one in work.definition.partitions}
    mounts |= {slot.mount for slot in layout.layout_of(work.definition).slots}
    told = {
        "epoch": work.epoch,
        "mounts": sorted(mounts - {"/"}),
        "fstab": layout.fstab(work.definition, _text(work, source / "etc/fstab")),
        "planted": planted(work.definition.enrolment_keys),
        "image": {
            "schema": IMAGE_SCHEMA,
            "name": work.definition.name,
            "release": str(work.definition.release),
            "arch": work.definition.arch,
        },
    }
    inside(work, sealing, root, work.out, told=told)


def _text(work: Work, path: Path) -> str:
    # Read inside, where its owner is known; a link in its place would lead out of the tree.
    if not path.is_file() or path.is_symlink():
        return ""
    return work.sandbox.run(["cat", path])

"""Stage pack: the sealed tree in every format that the definition asks for.

``artefacts.json`` lists what was made: name, format, path below the stage's folder, size, sha256,
whether a machine starts from it, and what only that format has.
"""

from __future__ import annotations

import json

from provision.core.files import write_whole
from provision.core.shapes import Model
from provision.image.definition import Definition
from provision.image.stage_pack import disk, flat, netboot, oci
from provision.image.stage_pack.job import Job, Make
from provision.image.work import Given, Work

VERSION = 1
NEEDS = ("seal", "kernel", "label")
READS = ("name", "title", "date", "release", "arch", "partitions", "kernel", "formats", "root")

MAKERS: dict[str, Make] = {
    "raw": disk.raw,
    "qcow2": disk.qcow2,
    "oci": oci.oci,
    "netboot": netboot.netboot,
    "tar": flat.tar,
    "warewulf": oci.warewulf,
}
"""What makes each format, in the order in which they are made."""

TOOLS: tuple[str, ...] = (
    "debugfs", "mcopy", "mke2fs", "mkfs.erofs", "mkfs.vfat", "objcopy", "qemu-img", "sfdisk",
    "veritysetup", "zstd",
)  # fmt: skip


class Options(Model):
    """None."""


def options(definition: Definition, given: Given) -> Options:
    """The stage's options: it has none."""
    del definition, given
    return Options()


def run(work: Work) -> None:
    """Make each format in a folder of its own.

    Raises:
        HoldfastError: a tool is missing or failed, or a file system is too small.
    """
    artefacts = []
    for name, make in MAKERS.items():
        if name not in work.definition.formats:
            continue
        work.says(f"writing {name}")
        folder = work.out / name
        folder.mkdir()
        artefacts += make(Job(work, name, folder))
    text = json.dumps(artefacts, indent=2, sort_keys=True) + "\n"
    write_whole(work.out / "artefacts.json", text)

"""What a machine without a disk starts: kernel, initial RAM disk, and a root that is proven."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from provision.core.files import sha256_of
from provision.core.problems import fail
from provision.image.inside import inside
from provision.image.layout import identity
from provision.image.stage_kernel import CLOSED, assemble
from provision.image.stage_pack import erofs
from provision.image.stage_pack.flat import DIFFERS, diskless
from provision.image.stage_pack.job import Job

_HASH = re.compile(r"^Root hash:\s*([0-9a-f]{64})$", re.MULTILINE)


def netboot(job: Job) -> list[dict[str, Any]]:
    """``vmlinuz`` and ``initrd`` for a loader, ``uki.efi`` for firmware, ``rootfs.erofs`` for both.

    With `root.verity` the root's hash stands in the command line, and the initial RAM disk takes
    no other root.
    """
    root = job.folder / "rootfs.erofs"
    _write_root(job, root)
    artefacts: list[dict[str, Any]] = []
    proof: dict[str, Any] = {}
    if job.work.definition.root.verity:
        tree = job.folder / "rootfs.verity"
        proof = {"roothash": hash_of(job, root, tree)}
        artefacts.append(job.artefact(tree, **proof))
    line = cmdline(job, proof.get("roothash"))
    (job.folder / "cmdline").write_text(f"{line}\n", encoding="utf-8")
    for name in ("vmlinuz", "initrd"):
        shutil.copyfile(job.kernel / name, job.folder / name)
    assemble(job.work, job.root, job.kernel, line, job.folder / "uki.efi")
    artefacts += [job.artefact(job.folder / name) for name in ("cmdline", "initrd", "vmlinuz")]
    artefacts.append(job.artefact(root, differs=list(DIFFERS), **proof))
    artefacts.append(job.artefact(job.folder / "uki.efi", bootable=True, **proof))
    return sorted(artefacts, key=lambda one: str(one["name"]))


def cmdline(job: Job, roothash: str | None) -> str:
    """The kernel's command line; see ``provision/image/dracut/90holdfast``."""
    proven = f"holdfast.roothash={roothash}" if roothash else "holdfast.unproven=1"
    return " ".join(("root=holdfast", f"holdfast.image={job.name}", proven, "rd.neednet=1",
                     "ip=dhcp", *CLOSED, *job.work.definition.kernel.arguments))  # fmt: skip


def hash_of(job: Job, root: Path, tree: Path) -> str:
    """Write the tree of hashes of the file system `root` and return its top.

    Raises:
        HoldfastError: veritysetup is missing or failed.
    """
    salt = sha256_of(root)
    number = identity(job.work.definition, "verity")
    said = job.work.sandbox.run(
        ["veritysetup", "format", f"--salt={salt}", f"--uuid={number}",
         "--hash=sha256", "--data-block-size=4096", "--hash-block-size=4096", root, tree]
    )  # fmt: skip
    job.work.sandbox.run(["chmod", "0644", tree])
    found = _HASH.search(said)
    if found is None:
        raise fail("no-root-hash", "veritysetup said no root hash", where=str(root))
    return found[1]


def _write_root(job: Job, target: Path) -> None:
    policy = json.loads((job.work.inputs["label"] / "policy.json").read_text())["policy"]
    contexts = job.root / f"etc/selinux/{policy}/contexts/files/file_contexts"
    scratch = job.folder / ".scratch"
    scratch.mkdir()
    told = erofs.Erofs(
        root=str(job.root),
        target=str(target),
        uuid=str(identity(job.work.definition, "erofs")),
        epoch=job.work.epoch,
        contexts=str(contexts) if policy else "",
        replaced={"etc/fstab": diskless(job)},
        scratch=str(scratch),
    )
    inside(job.work, erofs, told=asdict(told))
    job.work.sandbox.remove(scratch)

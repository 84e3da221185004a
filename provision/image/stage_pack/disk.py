"""Disks: raw, and qcow2 of the same bytes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from provision.image.inside import inside
from provision.image.layout import layout_of
from provision.image.sandbox import Sandbox
from provision.image.stage_pack import filling
from provision.image.stage_pack.job import Job

BOOT_PATHS = {"x86_64": "EFI/BOOT/BOOTX64.EFI", "aarch64": "EFI/BOOT/BOOTAA64.EFI"}
"""What firmware starts from a disk that it knows nothing else about (UEFI, section 3.5.1.1)."""


def raw(job: Job) -> list[dict[str, Any]]:
    """A disk with a partition table, the partition that firmware reads, and ext4."""
    path = job.folder / f"{job.name}.raw"
    write_raw(job, path)
    return [job.artefact(path, bootable=True, **_boots(job))]


def qcow2(job: Job) -> list[dict[str, Any]]:
    """The raw disk in QEMU's own format, compressed."""
    made = job.work.out / "raw" / f"{job.name}.raw"
    plain, path = job.folder / ".disk", job.folder / f"{job.name}.qcow2"
    if made.exists():
        to_qcow2(job.work.sandbox, made, path)
    else:
        write_raw(job, plain)
        to_qcow2(job.work.sandbox, plain, path)
        plain.unlink()
    return [job.artefact(path, bootable=True, **_boots(job))]


def to_qcow2(sandbox: Sandbox, disk: Path, target: Path) -> None:
    """Write a raw disk as qcow2; the same disk gives the same bytes.

    Raises:
        HoldfastError: qemu-img is missing or failed.
    """
    sandbox.run(["qemu-img", "convert", "-c", "-m", "1", "-f", "raw", "-O", "qcow2",
                 "-o", "compression_type=zstd", disk, target])  # fmt: skip


def write_raw(job: Job, path: Path) -> None:
    """Write the disk."""
    layout, scratch = layout_of(job.work.definition), job.folder / ".scratch"
    scratch.mkdir()
    told = {
        "disk": str(path),
        "layout": asdict(layout),
        "root": str(job.root),
        "labels": str(job.labels),
        "boot": {BOOT_PATHS[job.work.definition.arch]: str(job.kernel / "uki.efi")},
        "epoch": job.work.epoch,
        "scratch": str(scratch),
    }
    inside(job.work, filling, told=told)
    job.work.sandbox.remove(scratch)


def _boots(job: Job) -> dict[str, Any]:
    esp = layout_of(job.work.definition).esp
    return {
        "esp": {"offset": esp.start, "size": esp.size},
        "boot_path": BOOT_PATHS[job.work.definition.arch],
    }

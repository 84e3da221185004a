"""Container images of the tree: an OCI layout, and what Warewulf imports.

Both are archives of a configuration in JSON and the tree as one layer. The bytes follow from the
tree alone: no clock and no tool has a say in them.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provision.image.stage_kernel import kernel_version
from provision.image.stage_pack.archive import Written
from provision.image.stage_pack.flat import DIFFERS, archive
from provision.image.stage_pack.job import Job

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_MEDIA = "application/vnd.oci.image"
_BOOTC = ("usr/bin/bootc", "usr/bin/ostree", "usr/lib/ostree/prepare-root.conf")
"""Without these nothing can be started from such an image, whatever its label says."""


def oci(job: Job) -> list[dict[str, Any]]:
    """An OCI image in one archive; also a base for bootc where the tree has what bootc needs."""
    bootc = all((job.root / path).is_file() for path in _BOOTC)
    layers = [_layer(job, "layer")]
    if bootc:
        # bootc looks for kernel and initial RAM disk beside the modules.
        place = f"usr/lib/modules/{kernel_version(job.root)}"
        added = {f"{place}/vmlinuz": job.kernel / "vmlinuz",
                 f"{place}/initramfs.img": job.kernel / "initrd"}  # fmt: skip
        layers.append(_layer(job, "kernel", added))
    config = _json(_config(job, [written for _, written in layers], bootc=bootc))
    manifest = _json(_manifest(config, [written for _, written in layers]))
    index = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.index.v1+json",
        "manifests": [
            {
                **_descriptor(f"{_MEDIA}.manifest.v1+json", manifest),
                "annotations": {"org.opencontainers.image.ref.name": job.name},
                "platform": {"architecture": _machine(job), "os": "linux"},
            }
        ],
    }
    path = job.folder / f"{job.name}.oci.tar"
    with _members(path, job.work.epoch) as members:
        members.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        members.add("index.json", _json(index))
        blobs: list[tuple[str, bytes | Path]] = [(_sha256(config), config),
                                                 (_sha256(manifest), manifest)]  # fmt: skip
        blobs += [(written.digest, file) for file, written in layers]
        for digest, content in sorted(blobs, key=lambda blob: blob[0]):
            members.add(f"blobs/sha256/{digest}", content)
    for file, _ in layers:
        file.unlink()
    return [job.artefact(path, digest=f"sha256:{_sha256(manifest)}", bootc=bootc,
                         differs=list(DIFFERS))]  # fmt: skip


def warewulf(job: Job) -> list[dict[str, Any]]:
    """What ``wwctl image import`` reads, and the profile that goes with it.

    It reads the form that `docker save` writes. What is left out of what nodes fetch stands in
    the tree's own ``/etc/warewulf/excludes``.
    """
    excludes = job.folder / ".excludes"
    excludes.write_text("/boot/\n", encoding="utf-8")
    file, written = _layer(job, "layer", {"etc/warewulf/excludes": excludes}, whole=True)
    excludes.unlink()
    config = _json(_config(job, [written], bootc=False))
    listing = [{"Config": f"{_sha256(config)}.json", "RepoTags": [f"{job.name}:latest"],
                "Layers": ["layer.tar"]}]  # fmt: skip
    path = job.folder / f"{job.name}.warewulf.tar"
    with _members(path, job.work.epoch) as members:
        members.add("manifest.json", _json(listing))
        members.add(f"{_sha256(config)}.json", config)
        members.add("layer.tar", file)
    file.unlink()
    profile = job.folder / f"{job.name}.profile.yml"
    profile.write_text(_profile(job), encoding="utf-8")
    return [job.artefact(path, differs=[*DIFFERS, "etc/warewulf/excludes"]), job.artefact(profile)]


def _profile(job: Job) -> str:
    """A profile as Warewulf's nodes.conf has them (version 4.6)."""
    # JSON's strings are YAML's as well.
    arguments = "".join(
        f"        - {json.dumps(word)}\n" for word in job.work.definition.kernel.arguments
    )
    kernel = f"    kernel:\n      args:\n{arguments}" if arguments else ""
    return (
        f"nodeprofiles:\n  {job.name}:\n    comment: {json.dumps(job.work.definition.title)}\n"
        f"    image name: {job.name}\n{kernel}    init: /sbin/init\n    root: tmpfs\n"
        # Its own first stage unpacks everything into one half of the memory.
        "    tags:\n      IPXEMenuEntry: dracut\n"
    )


def _layer(
    job: Job, name: str, added: dict[str, Path] | None = None, *, whole: bool = False
) -> tuple[Path, Written]:
    file = job.folder / f".{name}.tar.zst"
    return file, archive(job, file, added=added, only=bool(added) and not whole)


def _config(job: Job, layers: Iterable[Written], *, bootc: bool) -> dict[str, Any]:
    made = datetime.fromtimestamp(job.work.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    definition = job.work.definition
    labels = {
        "org.opencontainers.image.title": definition.name,
        "org.opencontainers.image.description": definition.title,
        "org.opencontainers.image.version": str(definition.release),
        "org.opencontainers.image.created": made,
        **({"containers.bootc": "1", "ostree.bootable": "1"} if bootc else {}),
    }
    layers = list(layers)
    return {
        "architecture": _machine(job),
        "os": "linux",
        "created": made,
        "config": {"Cmd": ["/sbin/init"], "StopSignal": "SIGRTMIN+3", "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{one.plain}" for one in layers]},
        "history": [{"created": made, "created_by": "holdfast image build"} for _ in layers],
    }


def _manifest(config: bytes, layers: Iterable[Written]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": _descriptor(f"{_MEDIA}.config.v1+json", config),
        "layers": [
            {
                "mediaType": f"{_MEDIA}.layer.v1.tar+zstd",
                "digest": f"sha256:{one.digest}",
                "size": one.size,
            }
            for one in layers
        ],
    }


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{_sha256(content)}", "size": len(content)}


def _machine(job: Job) -> str:
    return _MACHINES[job.work.definition.arch]


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _members(path: Path, epoch: int) -> Iterator[_Members]:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        yield _Members(tar, epoch)


class _Members:
    """An archive whose members all belong to root and are of one time."""

    def __init__(self, tar: tarfile.TarFile, epoch: int) -> None:
        self._tar = tar
        self._epoch = epoch

    def add(self, name: str, content: bytes | Path) -> None:
        info = tarfile.TarInfo(name)
        info.mtime, info.mode = self._epoch, 0o644
        if isinstance(content, bytes):
            info.size = len(content)
            self._tar.addfile(info, io.BytesIO(content))
            return
        info.size = content.stat().st_size
        with content.open("rb") as stream:
            self._tar.addfile(info, stream)

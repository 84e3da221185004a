"""Stage sign: what firmware starts is signed where the site has keys for it, then the manifest of
everything is written and signed.

Its output is the image's folder: every artefact, the documents about it, ``manifest.json``,
``statement.json`` and ``envelope.dsse.json``.

``given.extra`` holds ``sign.signer`` (a `provision.image.keys.Signer`), and ``sign.secure_boot``
(a folder as `provision.image.secureboot.make_keys` fills one) where firmware is to start only what
the site signed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provision import __version__
from provision.core.exitcodes import ExitCode
from provision.core.files import sha256_of
from provision.core.problems import fail
from provision.core.shapes import Model
from provision.image import manifest as manifests
from provision.image import secureboot
from provision.image.definition import Definition
from provision.image.dsse import sealed
from provision.image.filelist import read_files
from provision.image.gate import accepted
from provision.image.keys import fingerprint
from provision.image.manifest import (
    Artefact,
    GateFacts,
    KernelFacts,
    Manifest,
    Part,
    StageFacts,
    Tree,
    part_of,
)
from provision.image.stage_pack.disk import to_qcow2
from provision.image.stages import versions
from provision.image.statement import statement
from provision.image.verification import verify_manifest
from provision.image.work import Given, Work

VERSION = 1
NEEDS = ("seal", "kernel", "scan", "label", "pack", "sbom")
READS = ("name", "title", "release", "arch", "profile")
TOOLS = ("mcopy", "qemu-img")

SIGNER, SECURE_BOOT = "sign.signer", "sign.secure_boot"
_DOCUMENTS = {
    manifests.FILES: "seal",
    manifests.LABELS: "label",
    manifests.GATE: "scan",
    manifests.RESULTS: "scan",
    manifests.SPDX: "sbom",
    manifests.CYCLONEDX: "sbom",
}
"""Which stage's output each document is taken from."""


class Options(Model):
    """What identifies the keys and the whole of the definition, whose digest is signed."""

    definition: str
    signer: str
    secure_boot: str | None
    sbsign: str | None
    lock: str | None


def options(definition: Definition, given: Given) -> Options:
    """The stage's options.

    Raises:
        HoldfastError: there is no key to sign with (exit code 2).
    """
    signer = given.extra.get(SIGNER)
    if signer is None:
        raise fail("no-key", "there is no key to sign the image with",
                   hint="give --key; `holdfast image key` makes one",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    folder = given.extra.get(SECURE_BOOT)
    return Options(
        definition=definition.digest,
        signer=fingerprint(signer.public),
        secure_boot=secureboot.fingerprint(folder) if folder else None,
        sbsign=versions(("sbsign",))["sbsign"] if folder else None,
        lock=sha256_of(given.lock) if given.lock else None,
    )


def run(work: Work) -> None:
    """Fill the image's folder.

    Raises:
        HoldfastError: the gate did not pass, a tool failed, or the key cannot sign.
    """
    gate = accepted(work.inputs["scan"], work.inputs["seal"] / manifests.FILES)
    documents = []
    for name, stage in _DOCUMENTS.items():
        shutil.copyfile(work.inputs[stage] / name, work.out / name)
        documents.append(Part(**part_of(work.out / name)))
    listed = read_files(work.out / manifests.FILES)
    kernel = work.inputs["kernel"]
    manifest = Manifest(
        name=work.definition.name,
        title=work.definition.title,
        release=work.definition.release,
        arch=work.definition.arch,
        epoch=work.epoch,
        definition=work.options.definition,
        lock=work.options.lock,
        profile=work.definition.profile,
        tree=Tree(
            files=sha256_of(work.out / manifests.FILES),
            paths=len(listed),
            bytes=sum(entry.size for entry in listed.values()),
        ),
        kernel=KernelFacts(
            version=(kernel / "kver").read_text().strip(),
            arguments=(kernel / "cmdline").read_text().strip(),
        ),
        gate=GateFacts(passed=gate.passed, forced=gate.forced, counts=gate.verdict.counts()),
        secure_boot=work.options.secure_boot,
        artefacts=tuple(_artefacts(work)),
        documents=tuple(documents),
        stages={n: StageFacts(id=r.id, tools=dict(r.tools)) for n, r in work.stages.items()},
        holdfast=__version__,
    )
    write_signed(work.out, manifest, work.given.extra[SIGNER])


def write_signed(folder: Path, manifest: Manifest, signer: Any) -> None:
    """Write manifest, statement and envelope of the image in `folder`, and verify them.

    The files that the manifest names were read to write it, and are not read again: disks are of
    many GiB.

    Raises:
        HoldfastError: the key cannot sign, or what it signed does not verify.
    """
    text = statement(manifest)
    (folder / manifests.MANIFEST).write_text(manifest.to_text(), encoding="utf-8")
    (folder / manifests.STATEMENT).write_text(text, encoding="utf-8")
    envelope = sealed(text.encode(), signer)
    (folder / manifests.ENVELOPE).write_text(envelope, encoding="ascii")
    verify_manifest(folder, signer.public)


def _artefacts(work: Work) -> list[Artefact]:
    """Copy the artefacts, signing what firmware starts of them where there are keys for it."""
    told = json.loads((work.inputs["pack"] / "artefacts.json").read_text())
    keys = work.given.extra.get(SECURE_BOOT)
    found = []
    for one in told:
        source, target = work.inputs["pack"] / one["path"], work.out / one["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        sign = None if keys is None else _how(one)
        if sign is None:
            work.sandbox.run(["cp", "--reflink=auto", "--sparse=auto", source, target])
        else:
            work.says(f"signing {one['path']}")
            sign(work, one, source, target)
        same = {"name": one["path"], "size": one["size"], "sha256": one["sha256"]}
        found.append(
            Artefact(
                # What is not signed is as stage pack left it, and that stage has read it whole.
                **(same if sign is None else part_of(target, one["path"])),
                format=one["format"],
                bootable=one["bootable"],
                roothash=one.get("roothash"),
                differs=tuple(f"/{path}" for path in one.get("differs", ())),
            )
        )
    return found


_Sign = Callable[[Work, dict[str, Any], Path, Path], None]


def _how(one: dict[str, Any]) -> _Sign | None:
    """How an artefact is signed, or None where firmware starts nothing of it."""
    if one["name"].endswith(".efi"):
        return _program
    return {"raw": _raw, "qcow2": _qcow2}.get(one["format"])


def _program(work: Work, one: dict[str, Any], source: Path, target: Path) -> None:
    del one
    secureboot.sign_efi(work.sandbox, work.given.extra[SECURE_BOOT], source, target)


def _raw(work: Work, one: dict[str, Any], source: Path, target: Path) -> None:
    """Put the signed boot program into the partition that firmware reads."""
    work.sandbox.run(["cp", "--reflink=auto", "--sparse=auto", source, target])
    plain, signed = target.with_suffix(".unsigned"), target.with_suffix(".signed")
    place = ["-i", f"{target}@@{one['esp']['offset']}"]
    inside = f"::/{one['boot_path']}"
    work.sandbox.run(["mcopy", "-n", *place, inside, plain])
    _program(work, one, plain, signed)
    work.sandbox.run(["mcopy", "-o", "-m", *place, signed, inside])
    plain.unlink()
    signed.unlink()


def _qcow2(work: Work, one: dict[str, Any], source: Path, target: Path) -> None:
    disk = target.with_suffix(".disk")
    convert: list[str | Path] = ["qemu-img", "convert", "-O", "raw", source, disk]
    work.sandbox.run(convert)
    _raw(work, one, disk, target.with_suffix(".raw"))
    disk.unlink()
    to_qcow2(work.sandbox, target.with_suffix(".raw"), target)
    target.with_suffix(".raw").unlink()

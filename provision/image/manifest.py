"""``manifest.json``: what an image is, and the sha256 of every file that belongs to it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from provision.core.exitcodes import ExitCode
from provision.core.files import sha256_of
from provision.core.problems import HoldfastError, fail
from provision.core.shapes import Listing, Model
from provision.image.definition import canonical

SCHEMA = "holdfast.image/1"
MANIFEST = "manifest.json"
STATEMENT = "statement.json"
ENVELOPE = "envelope.dsse.json"
SIGNED_BY_ENVELOPE = (MANIFEST, STATEMENT, ENVELOPE)
"""The files of an image that its manifest does not name: they name, or hold, the manifest."""

FILES = "files.tsv"
LABELS = "labels.tsv"
GATE = "gate.json"
RESULTS = "results.json"
SPDX = "spdx.json"
CYCLONEDX = "cyclonedx.json"
DOCUMENTS = (FILES, LABELS, GATE, RESULTS, SPDX, CYCLONEDX)
"""What describes an image, and is carried with it."""


_PATH = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)*")


def _file_name(value: str) -> str:
    if not _PATH.fullmatch(value):
        raise ValueError("must be a path below the image's folder, of letters, digits and . _ + -")
    return value


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, AfterValidator(_file_name)]
Bytes = Annotated[int, Field(ge=0)]


class Part(Model):
    """A file of the image."""

    name: FileName
    size: Bytes
    sha256: Sha256


class Artefact(Part):
    """A file that machines are made from, or start from.

    `differs` names the paths of the tree that this format has with other content.
    """

    format: str
    bootable: bool = False
    roothash: Sha256 | None = None
    differs: Listing[str] = ()


class Tree(Model):
    """The root file system: the sha256 of its list of files, how many they are and hold."""

    files: Sha256
    paths: Bytes
    bytes: Bytes


class KernelFacts(Model):
    """The kernel, and what it is started with."""

    version: str
    arguments: str


class GateFacts(Model):
    """What the gate came to. `forced` is the reason given where it was passed by force."""

    passed: bool
    forced: str | None = None
    counts: dict[str, int] = Field(default_factory=dict)


class StageFacts(Model):
    """A stage: its id, and the versions of the tools that it used."""

    id: str
    tools: dict[str, str] = Field(default_factory=dict)


class Manifest(Model):
    """What an image is."""

    schema_: Literal["holdfast.image/1"] = Field(default="holdfast.image/1", alias="schema")
    name: str
    title: str
    release: int
    arch: str
    epoch: int
    definition: Sha256
    lock: Sha256 | None = None
    profile: str
    tree: Tree
    kernel: KernelFacts | None = None
    gate: GateFacts
    secure_boot: Sha256 | None = None
    """The sha256 of the certificate (DER) by which the firmware knows what it starts."""
    artefacts: Listing[Artefact]
    documents: Listing[Part]
    stages: dict[str, StageFacts]
    holdfast: str

    def to_text(self) -> str:
        """The one text that this manifest has."""
        return canonical(self.model_dump(mode="json", by_alias=True)) + "\n"

    @property
    def digest(self) -> str:
        """The sha256 by which channels name the image."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every file that the manifest names."""
        return (*self.artefacts, *self.documents)

    def part(self, name: str) -> Part | None:
        """The file `name`, or None where the image has none."""
        return next((part for part in self.parts if part.name == name), None)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the image in `folder`, not yet verified.

    Raises:
        HoldfastError: there is none, or it is none (exit code 2).
    """
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as error:
        hint = "give the folder that `holdfast image build --out` wrote"
        raise fail("no-image", f"there is no image here: {MANIFEST}: {error.strerror}", hint=hint,
                   where=str(folder), exit_code=ExitCode.USAGE) from error  # fmt: skip
    return parse_manifest(raw, str(path))


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """The manifest in `raw`, of which there is one form only.

    Raises:
        HoldfastError: it is none (exit code 2).
    """
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        detail = error.errors()[0]
        place = ".".join(str(step) for step in detail["loc"])
        raise _bad(f"{place or 'the file'}: {detail['msg'].lower()}", where) from error
    if manifest.to_text().encode() != raw:
        raise _bad("it is not as it was written", where)
    return manifest


def _bad(why: str, where: str) -> HoldfastError:
    return fail("bad-manifest", f"this is no manifest of an image: {why}", where=where,
                exit_code=ExitCode.USAGE)  # fmt: skip


def part_of(path: Path, name: str | None = None, **more: Any) -> dict[str, Any]:
    """Name, size and sha256 of a file, for a `Part`."""
    return {
        "name": name or path.name,
        "size": path.stat().st_size,
        "sha256": sha256_of(path),
        **more,
    }

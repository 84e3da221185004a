"""What an image holds, as both bills of materials tell it: packages, files, drivers, models."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from provision.supply.model import Image, Model, StackLock

_NAMESPACE = uuid.UUID("6f0d3f6a-58a3-5d8e-9f0c-6f3e8a1c2b7d")
"""Ours, for identifiers that follow from content."""
_VENDORS = {"rhel": "redhat", "ol": "oracle"}
"""What package URLs call a distribution, where it is not ``ID`` of its os-release."""


@dataclass(frozen=True)
class Package:
    """A package of the tree's RPM database, and the paths it owns."""

    name: str
    epoch: int
    version: str
    release: str
    arch: str
    licence: str
    source: str
    vendor: str
    summary: str
    paths: tuple[str, ...] = field(default=(), repr=False)

    @property
    def nevra(self) -> str:
        """Name, epoch, version, release and architecture; a public key has no architecture."""
        arch = f".{self.arch}" if self.arch else ""
        return f"{self.name}-{self.epoch}:{self.version}-{self.release}{arch}"

    def purl(self, distribution: str) -> str:
        """The package URL, by https://github.com/package-url/purl-spec, type rpm."""
        vendor = quote(_VENDORS.get(distribution, distribution).lower(), safe="")
        version = quote(f"{self.version}-{self.release}", safe="")
        asked = {"arch": self.arch, "epoch": str(self.epoch) if self.epoch else "",
                 "upstream": self.source}  # fmt: skip
        qualifiers = "&".join(f"{k}={quote(v, safe='')}" for k, v in asked.items() if v)
        base = f"pkg:rpm/{vendor}/{quote(self.name, safe='')}@{version}"
        return f"{base}?{qualifiers}" if qualifiers else base


@dataclass(frozen=True)
class File:
    """A regular file of the tree."""

    path: str
    sha1: str
    sha256: str


@dataclass(frozen=True)
class Contents:
    """What is in an image. `files` are by path, in order."""

    name: str
    title: str
    release: int
    arch: str
    epoch: int
    distribution: str
    tree: str
    """The sha256 of the list of files, which both documents' identifiers follow from."""
    tool: str
    packages: Sequence[Package]
    files: Mapping[str, File]
    lock: StackLock | None = None

    @property
    def version(self) -> str:
        """What the image is told from others of its name by."""
        return f"el{self.release}-{self.arch}-{self.tree[:12]}"

    @property
    def moment(self) -> str:
        """The image's time, as both documents write it."""
        return datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def identifier(self, form: str) -> str:
        """An identifier for the document of form `form`, the same for the same content."""
        return str(uuid.uuid5(_NAMESPACE, f"{form}:{self.name}:{self.version}:{self.tree}"))

    def files_of(self, package: Package) -> list[File]:
        """The regular files of a package that are in the tree."""
        return [self.files[path] for path in package.paths if path in self.files]

    def unowned(self) -> list[File]:
        """The files that no package owns."""
        owned = {path for package in self.packages for path in package.paths}
        return [file for path, file in self.files.items() if path not in owned]

    def pins(self) -> dict[str, str]:
        """The sha256 of a package's file by NEVRA, where the stack lock pins it."""
        if self.lock is None:
            return {}
        el = str(self.release)
        return {rpm.nevra: rpm.sha256 for rpm in self.lock.rpms if rpm.el == el}

    def drivers(self) -> frozenset[str]:
        """The NEVRAs that the stack lock has as the GPUs' unit."""
        if self.lock is None:
            return frozenset()
        found = {n for u in self.lock.gpu for n in u.packages if u.el == str(self.release)}
        kernels = {k.kernel for u in self.lock.gpu for k in u.kernels}
        return frozenset(found - kernels)

    def models(self) -> list[Model]:
        """The models of the stack lock all of whose files are in the tree, by their bytes."""
        if self.lock is None:
            return []
        there = {file.sha256 for file in self.files.values()}
        return [m for m in self.lock.models if all(f.sha256 in there for f in m.files)]

    def images(self) -> list[Image]:
        """The container images of the stack lock whose manifest or archive is in the tree."""
        if self.lock is None:
            return []
        there = {file.sha256 for file in self.files.values()}
        return [
            image
            for image in self.lock.images
            if image.arch == self.arch
            and {image.digest.removeprefix("sha256:"), image.archive.sha256} & there
        ]


def expression_of(licence: str) -> str | None:
    """A licence as an SPDX expression, or None where its words are none."""
    try:
        return canonicalize_license_expression(licence)
    except InvalidLicenseExpression:
        return None


def reference_of(licence: str) -> str:
    """A name for a licence that SPDX's list does not have."""
    return f"LicenseRef-{hashlib.sha256(licence.encode()).hexdigest()[:16]}"


def plain(text: str) -> str:
    """Text that JSON and its readers take: bytes that are no UTF-8 are written out."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

"""The stack lock as typed data: every artefact that a rack is built from, pinned.

This file says what a lock looks like and answers questions about one. Reading it, and judging
whether its parts fit each other, is `provision.supply.lock`.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from provision.supply.gpu.providers import Provider

SCHEMA = "holdfast.stack/2"
READABLE = ("holdfast.stack/1", SCHEMA)
"""Versions that are read. 2 brought `gpu`, and `cuda` of an image; 1 has neither."""

Arch = Literal["x86_64", "aarch64"]
RpmArch = Literal["x86_64", "aarch64", "noarch"]
Release = Literal["9", "10"]
LicenceClass = Literal["open", "redistributable", "proprietary"]
"""open: free software or open weights; redistributable: may be passed on unchanged;
proprietary: each site fetches it itself under the vendor's terms."""


# These end up in unit files, repository files, manifests and addresses, one line and one word
# each: a blank or a line break would begin an option that nobody wrote, and systemd expands %.
_PATH = re.compile(r"[A-Za-z0-9._+=@,~^/-]*")


def _relative(path: str) -> str:
    parts = path.split("/")
    if PurePosixPath(path).is_absolute() or any(part in ("", ".", "..") for part in parts):
        raise ValueError("must be a relative path without '.', '..' or empty parts")
    if not _PATH.fullmatch(path):
        raise ValueError("must be made of letters, digits and . _ + = @ , ~ ^ - /")
    return path


def _address(address: str) -> str:
    if any(c.isspace() or not c.isprintable() for c in address):
        # `urlsplit` would leave line breaks out and so hide them.
        raise ValueError("must not hold blanks or characters that cannot be printed")
    url = urlsplit(address)
    if url.scheme not in ("http", "https", "file"):
        raise ValueError("must begin with http://, https:// or file://")
    if url.username is not None or url.password is not None:
        raise ValueError("must not hold a user name or password")
    if not (url.netloc or (url.scheme == "file" and url.path.startswith("/"))):
        raise ValueError("must name a host, or an absolute path after file://")
    if url.query or url.fragment:
        raise ValueError("must not have a query or fragment")
    return address


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ImageDigest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Fingerprint = Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$")]
Bytes = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Words = Annotated[str, Field(pattern=r"\S")]
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$")]
Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]
RelativePath = Annotated[str, AfterValidator(_relative)]
Address = Annotated[str, AfterValidator(_address)]
Nevra = Annotated[str, Field(pattern=r"^[^\s:/]+-\d+:[^-\s:/]+-[^-\s:/]+\.[a-z0-9_]+$")]
DriverVersion = Annotated[str, Field(pattern=r"^\d+(\.\d+){1,2}$")]
CudaVersion = Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Origin(_Part):
    """Where artefacts come from. `address` is the only place in a project that names a host."""

    kind: Literal["mirror", "subscription", "file"]
    address: Address
    reason: Words


class Key(_Part):
    """A signing key: its fingerprint, and the public key itself in ASCII armour."""

    fingerprint: Fingerprint
    armored: Annotated[str, Field(pattern=r"^-----BEGIN PGP PUBLIC KEY BLOCK-----")]


class Repository(_Part):
    """A repository of RPMs below an origin; `key` signs its metadata."""

    id: Name
    name: Line
    origin: Name
    path: RelativePath
    key: Name
    release: Release
    arch: Arch


class _Licensed(_Part):
    licence: Words
    licence_class: LicenceClass
    reason: Words


class Rpm(_Licensed):
    """One RPM. `roles` names the roles that install it by name; empty: only a dependency."""

    name: Name
    epoch: Annotated[int, Field(ge=0)]
    version: Annotated[str, Field(pattern=r"^[^-\s:/]+$")]
    release: Annotated[str, Field(pattern=r"^[^-\s:/]+$")]
    arch: RpmArch
    sha256: Sha256
    size: Bytes
    key: Name
    repository: Name
    el: Release
    roles: tuple[RoleName, ...]

    @property
    def nevra(self) -> str:
        """Name, epoch, version, release and architecture, as rpm and dnf write them."""
        return f"{self.name}-{self.epoch}:{self.version}-{self.release}.{self.arch}"

    @property
    def filename(self) -> str:
        """The file's usual name."""
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"


class File(_Part):
    """A file by its bytes; `path` is relative to what holds it."""

    path: RelativePath
    sha256: Sha256
    size: Bytes


class Cuda(_Part):
    """The CUDA that an image brings; `forward`: with cuda-compat, for drivers of older majors."""

    version: CudaVersion
    forward: bool = False


class Image(_Licensed):
    """A container image: by manifest digest, and as an archive that can be carried.

    `cuda` is absent where the image does not use GPUs.
    """

    name: Name
    reference: Reference
    digest: ImageDigest
    arch: Arch
    archive: File
    origin: Name
    cuda: Cuda | None = None


class Model(_Licensed):
    """A model's files; `entry` is the one an engine is pointed at."""

    name: Name
    format: Literal["gguf", "safetensors"]
    entry: RelativePath
    path: RelativePath
    files: tuple[File, ...]  # never empty: the entry is one of them
    origin: Name

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(f.size for f in self.files)


class Wheel(_Licensed):
    """A Python wheel."""

    name: Name
    version: Words
    filename: Annotated[str, Field(pattern=r"^[^/\s]+\.whl$")]
    sha256: Sha256
    origin: Name


class GpuKernel(_Part):
    """A kernel, the package with its module, and what DKMS compiles that against."""

    kernel: Nevra
    module: Nevra
    devel: Nevra | None = None


class GpuUnit(_Part):
    """What is locked together on nodes with GPUs of one release and architecture.

    Every package is one of the lock's `rpms`, by NEVRA. `signer` is the name in the certificate
    that signs the modules, as ``modinfo -F signer`` shows it; `stream` the module stream that
    the driver's repository has on EL 9.
    """

    name: Name
    el: Release
    arch: Arch
    provider: Provider
    driver: DriverVersion
    signer: Line | None = None
    stream: Name | None = None
    kernels: Annotated[tuple[GpuKernel, ...], Field(min_length=1)]
    userspace: Annotated[tuple[Nevra, ...], Field(min_length=1)]
    fabric_manager: Nevra | None = None
    nscq: Nevra | None = None
    imex: Nevra | None = None
    toolkit: tuple[Nevra, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """Every NEVRA of the unit, each once."""
        named = [n for k in self.kernels for n in (k.kernel, k.module, k.devel)]
        named += [*self.userspace, self.fabric_manager, self.nscq, self.imex, *self.toolkit]
        return tuple(dict.fromkeys(n for n in named if n))


class StackLock(_Part):
    """Every pinned artefact of a run."""

    # The key is `schema` in the file; that name belongs to the base class in Python.
    schema_: Literal["holdfast.stack/1", "holdfast.stack/2"] = Field(alias="schema")
    name: Name
    created: Moment
    origins: dict[Name, Origin]
    keys: dict[Name, Key]
    repositories: tuple[Repository, ...]
    rpms: tuple[Rpm, ...]
    images: tuple[Image, ...]
    models: tuple[Model, ...]
    wheels: tuple[Wheel, ...]
    gpu: tuple[GpuUnit, ...] = ()

    @staticmethod
    def nevra(rpm: Rpm) -> str:
        """The rpm's NEVRA."""
        return rpm.nevra

    def packages(self, role: str, el: str, arch: str) -> tuple[Rpm, ...]:
        """The RPMs that `role` installs by name on EL `el` of `arch`, in the lock's order."""
        return tuple(
            rpm
            for rpm in self.rpms
            if role in rpm.roles and rpm.el == el and rpm.arch in (arch, "noarch")
        )

    def unit(self, el: str, arch: str) -> GpuUnit | None:
        """What nodes with GPUs get on EL `el` of `arch`, or None when the lock has nothing."""
        return next((u for u in self.gpu if u.el == el and u.arch == arch), None)

    def image(self, name: str, arch: str) -> Image | None:
        """The image `name` for `arch`, or None when the lock has none."""
        return next((i for i in self.images if i.name == name and i.arch == arch), None)

    def model(self, name: str) -> Model | None:
        """The model `name`, or None when the lock has none."""
        return next((m for m in self.models if m.name == name), None)

    def origin_address(self, origin: str, override: str | None = None) -> str:
        """The base address of an origin, without a slash at its end; `override` wins.

        Raises:
            KeyError: the lock has no such origin.
        """
        return (override or self.origins[origin].address).rstrip("/")

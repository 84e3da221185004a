"""What an image is to be: the values of a file below images/, as typed data.

Reading such a file, and judging whether its parts fit each other, is `provision.image.load`.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from provision.core.judging import refuse
from provision.core.shapes import Like, Listing, Model, Some, Text
from provision.core.yamlpos import shown
from provision.policy.model import Release as PolicyRelease
from provision.rack.model import Adoption, Date, HostKey, Waiver

SCHEMA = 1
"""The version of these files that this Holdfast reads."""

Release = Literal[9, 10]
Arch = Literal["x86_64", "aarch64"]
Base = Literal["el", "rehearsal"]
Format = Literal["raw", "qcow2", "oci", "netboot", "tar", "warewulf"]
FORMATS: tuple[Format, ...] = ("raw", "qcow2", "oci", "netboot", "tar", "warewulf")
FileSystem = Literal["ext4", "vfat", "tmpfs"]

Name = Annotated[str, Like(r"[a-z0-9]+(-[a-z0-9]+)*", "an image's name", "gpu-node")]
Package = Annotated[str, Like(r"[A-Za-z0-9][A-Za-z0-9._+-]*", "a package's name", "openssh-server")]
RoleName = Annotated[str, Like(r"[a-z][a-z0-9_]*", "a role's name", "container_runtime")]
Option = Annotated[str, Like(r"[a-z][a-z0-9_]*", "a role's option", "time_zone")]
KernelModule = Annotated[str, Like(r"[A-Za-z0-9_-]+", "a kernel module", "nvme")]
MountOption = Annotated[str, Like(r"[a-z][a-z0-9_.-]*(=[^\s,]+)?", "a mount option", "nodev")]
Argument = Annotated[str, Like(r"[A-Za-z0-9_.-]+(=\S*)?", "a kernel argument", "console=ttyS0")]


def _mount_point(value: str) -> str:
    parts = value.split("/")
    if value != "/" and (parts[0] or any(part in ("", ".", "..") for part in parts[1:])):
        raise refuse("bad-path", f"{shown(value)} is not a mount point", "as in /var/log")
    if any(c.isspace() for c in value):
        raise refuse("bad-path", f"{shown(value)} holds a blank")
    return value


MountPoint = Annotated[str, AfterValidator(_mount_point)]


class Partition(Model):
    """A file system of its own, and how it is mounted."""

    mount: MountPoint = Field(description="Where it is mounted.", examples=["/var/log"])
    size_mib: int = Field(
        ge=1, le=16777216, description="Its size, in MiB; of tmpfs the most that it may hold."
    )
    filesystem: FileSystem = Field(default="ext4", description="What is on it.")
    options: Listing[MountOption] = Field(
        default=(), description="Mount options beside the defaults.", examples=[["nodev", "nosuid"]]
    )


class Kernel(Model):
    """What the kernel is started with, and what its initial RAM disk brings."""

    arguments: Listing[Argument] = Field(default=(), description="Arguments on its command line.")
    modules: Listing[KernelModule] = Field(
        default=(), description="Modules that the initial RAM disk must hold."
    )


class Root(Model):
    """The root file system."""

    verity: bool = Field(
        default=False,
        description="Whether the netboot image's root is read-only and each block is proven.",
    )


class Serving(Model):
    """What its nodes serve, by the names that the stack lock gives."""

    image: Text = Field(description="The engine's container image.", examples=["llama-cpp"])
    model: Text = Field(description="The model.", examples=["tiny"])


class Definition(Model):
    """An image."""

    name: Name = Field(description="What the image is called.")
    title: Text = Field(description="What it is for, in a few words.")
    date: Date = Field(description="The day whose midnight, UTC, every time stamp in it says.")
    release: Release = Field(description="The major release of Enterprise Linux.")
    arch: Arch = Field(default="x86_64", description="The architecture.")
    base: Base = Field(
        default="el",
        description="Where the tree comes from: el, the distribution's packages as a stack lock"
        " pins them; rehearsal, what a rehearsal's nodes are made of.",
    )
    gpus: bool = Field(
        default=False,
        description="Whether its nodes have GPUs: overlays deviate for them. The driver comes with"
        " the role gpu_driver, or with the node's first `up`.",
    )
    packages: Listing[Package] = Field(
        default=(), description="Packages beside those of the base and those that roles install."
    )
    enrolment_keys: Listing[HostKey] = Field(
        default=(),
        description="Public SSH keys: what one of them signed gives a node its identity on its"
        " first start. Without any, a node asks nobody.",
    )
    roles: dict[RoleName, dict[Option, Any]] = Field(
        default_factory=dict,
        description="The roles that configure it, with their options; each has an offline mode.",
    )
    inference: Serving | None = Field(
        default=None, description="What the roles model_store and inference bring."
    )
    profile: str = Field(description="The security profile.", examples=["cis_l1_server"])
    overlays: Listing[Adoption] = Field(
        default=(), description="Overlays whose deviations are adopted."
    )
    waivers: Listing[Waiver] = Field(default=(), description="Controls it does without.")
    partitions: Some[Partition] = Field(description="Its file systems; one is the root.")
    kernel: Kernel = Field(default=Kernel(), description="The kernel.")
    formats: Some[Format] = Field(description="What is made of it.")
    root: Root = Field(default=Root(), description="The root file system.")

    @property
    def el(self) -> PolicyRelease:
        """The release as profiles call it."""
        return "el9" if self.release == 9 else "el10"

    @property
    def epoch(self) -> int:
        """The time that everything in the image says, in Unix seconds."""
        return epoch_of(self.date)

    @property
    def traits(self) -> frozenset[str]:
        """What a node of this image is or does, as overlays call it."""
        shown_by = {
            "gpu": {"gpu_driver"},
            "containers": {"container_runtime"},
            "inference": {"inference", "model_store"},
        }
        found = {t for t, roles in shown_by.items() if roles & set(self.roles)}
        return frozenset(found | ({"gpu"} if self.gpus else set()))

    def canonical(self) -> str:
        """The definition as the one JSON text that it has, whatever its file looked like."""
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """The sha256 of `canonical`, in hexadecimal."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def epoch_of(day: date) -> int:
    """Midnight of a day, UTC, in Unix seconds."""
    return int(datetime.combine(day, time.min, UTC).timestamp())


def canonical(value: Any) -> str:
    """Plain data as JSON in one form: keys sorted, no blanks."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

"""Who supplies the kernel module of the GPU driver, for every kind of node. Pure data and rules.

decision = decide(Cell("rocky", "9", "x86_64", "enabled", "mirror", "distribution"))
decision.choices     suppliers that fit, the best one first
decision.ruled_out   the others, each with the reason and with what to do

Sources: NVIDIA/yum-packaging-precompiled-kmod, DISTROS.md (which distributions sign modules, and
for which release and architecture such a package was seen); NVIDIA's driver installation guide
r620 (DKMS, 64 KiB pages); DKMS's own framework.conf (its key is made on the node and must be
enrolled at the console of the next start). What was not seen published is ruled out and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

Provider = Literal["rhel_signed", "almalinux_signed", "ciq_signed", "cuda_open_dkms", "site_signed"]
"""rhel_signed, almalinux_signed, ciq_signed: the distribution's own modules, signed by it;
cuda_open_dkms: NVIDIA's CUDA repository, compiled on the node; site_signed: built and signed by
the site, with a key that its machines' firmware knows."""

Distribution = Literal["rhel", "centos", "rocky", "almalinux", "oracle", "ciq", "other"]
SecureBoot = Literal["enabled", "disabled", "absent", "unknown"]
OriginKind = Literal["mirror", "subscription", "file"]
"""Where the module's package comes from: a mirror, the vendor's subscription, a carried file."""
Kernel = Literal["distribution", "64k", "other"]
"""distribution: the kernel that the distribution starts by default; 64k: its kernel with pages of
64 KiB (aarch64); other: real-time, UEK, another repository's, or the site's own."""

DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)
RELEASES = ("9", "10")
ARCHES = ("x86_64", "aarch64")
SECURE_BOOT: tuple[SecureBoot, ...] = get_args(SecureBoot)
ORIGINS: tuple[OriginKind, ...] = get_args(OriginKind)
KERNELS: tuple[Kernel, ...] = get_args(Kernel)


@dataclass(frozen=True)
class Supplier:
    """What a provider can do.

    `only` is the one distribution that it fits, None for all; `places` the releases and
    architectures for which packages were seen; `kernels` those it has modules for; `origins`
    the ways in which its packages come; `trusted` whether machines with Secure Boot load its
    modules.
    """

    title: str
    only: Distribution | None
    places: frozenset[tuple[str, str]]
    kernels: frozenset[Kernel]
    origins: frozenset[OriginKind]
    trusted: bool
    packages: str
    source: str


_EVERYWHERE = frozenset(product(RELEASES, ARCHES))
_CARRIED: frozenset[OriginKind] = frozenset({"mirror", "file"})
_STOCK: frozenset[Kernel] = frozenset({"distribution"})

SUPPLIERS: dict[Provider, Supplier] = {
    "rhel_signed": Supplier(
        "modules that Red Hat signs",
        "rhel",
        frozenset({("10", "x86_64")}),
        _STOCK,
        frozenset(ORIGINS),
        True,
        "kmod-nvidia-open-*",
        "rhel-10-for-x86_64-extensions-rpms (RHEL 10.1 and newer)",
    ),
    "almalinux_signed": Supplier(
        "modules that AlmaLinux signs",
        "almalinux",
        frozenset({("9", "x86_64"), ("10", "x86_64")}),
        _STOCK,
        _CARRIED,
        True,
        "nvidia-open-kmod",
        "the repository of almalinux-release-nvidia-driver",
    ),
    "ciq_signed": Supplier(
        "modules that CIQ signs",
        "ciq",
        frozenset({("10", "x86_64")}),
        _STOCK,
        frozenset(ORIGINS),
        True,
        "kmod-nvidia-dc-open-latest",
        "CIQ's repositories",
    ),
    "cuda_open_dkms": Supplier(
        "NVIDIA's open modules, compiled on the node by DKMS",
        None,
        _EVERYWHERE,
        frozenset({"distribution", "64k"}),
        _CARRIED,
        False,
        "kmod-nvidia-open-dkms",
        "NVIDIA's CUDA repository; DKMS comes from EPEL",
    ),
    "site_signed": Supplier(
        "modules that the site builds and signs",
        None,
        _EVERYWHERE,
        frozenset(KERNELS),
        _CARRIED,
        True,
        "the site's own package",
        "the site's own repository",
    ),
}
"""Every provider, the most wanted first: what a distribution signs needs neither a compiler on
the node nor a key in its firmware; what the site signs needs somebody who builds it each time."""

PROVIDERS: tuple[Provider, ...] = tuple(SUPPLIERS)


@dataclass(frozen=True)
class Cell:
    """One kind of node. `secure_boot` is what preflight read."""

    distribution: Distribution
    release: str
    arch: str
    secure_boot: SecureBoot
    origin: OriginKind
    kernel: Kernel

    def __str__(self) -> str:
        kernel = "" if self.kernel == "distribution" else f", {self.kernel} kernel"
        return (
            f"{self.distribution} {self.release} {self.arch}{kernel}, Secure Boot"
            f" {self.secure_boot}, packages from a {self.origin}"
        )


@dataclass(frozen=True)
class Refusal:
    """Why not: a stable word, the reason, and what to do."""

    code: str
    reason: str
    action: str


@dataclass(frozen=True)
class Decision:
    """Who may supply the module for a kind of node."""

    cell: Cell
    choices: tuple[Provider, ...]
    ruled_out: tuple[tuple[Provider, Refusal], ...]
    impossible: Refusal | None = None

    @property
    def provider(self) -> Provider | None:
        """The best one; None when the cell is refused."""
        return self.choices[0] if self.choices else None

    @property
    def refusal(self) -> Refusal | None:
        """Why nobody can supply a module; None when somebody can."""
        if self.choices:
            return None
        # The last one is the site's own, which fits most: what stops it stops everybody.
        return self.impossible or self.ruled_out[-1][1]

    def against(self, provider: Provider) -> Refusal | None:
        """Why `provider` does not fit; None when it does."""
        return self.impossible or dict(self.ruled_out).get(provider)


def decide(cell: Cell) -> Decision:
    """Who may supply the kernel module for nodes of this kind."""
    impossible = _impossible(cell)
    if impossible is not None:
        return Decision(cell, (), (), impossible)
    found = [(name, _against(name, SUPPLIERS[name], cell)) for name in PROVIDERS]
    return Decision(
        cell,
        tuple(name for name, refusal in found if refusal is None),
        tuple((name, refusal) for name, refusal in found if refusal is not None),
    )


def cells() -> Iterator[Cell]:
    """Every kind of node that there is a decision for."""
    for parts in product(DISTRIBUTIONS, RELEASES, ARCHES, SECURE_BOOT, ORIGINS, KERNELS):
        yield Cell(*parts)


def _impossible(cell: Cell) -> Refusal | None:
    """What no provider could help with."""
    if cell.release not in RELEASES or cell.arch not in ARCHES:
        return Refusal(
            "unsupported-platform",
            f"EL {cell.release} on {cell.arch} is not supported",
            "use EL 9 or 10 on x86_64 or aarch64",
        )
    if cell.secure_boot == "unknown":
        return Refusal(
            "secure-boot-unknown",
            "whether Secure Boot is on could not be read, and that decides which module loads",
            "make /sys/firmware/efi/efivars readable (mount efivarfs), then run again",
        )
    if cell.kernel == "64k" and cell.arch != "aarch64":
        return Refusal(
            "no-such-kernel",
            "a kernel with pages of 64 KiB exists on aarch64 only",
            "correct the kernel in the stack lock",
        )
    return None


def _against(name: Provider, supplier: Supplier, cell: Cell) -> Refusal | None:
    """Why one provider does not fit a kind of node; None when it does."""
    if supplier.only is not None and cell.distribution != supplier.only:
        return Refusal(
            "other-distribution",
            f"{supplier.title} fit the kernels of {supplier.only} only",
            "name another provider in the stack lock",
        )
    if (cell.release, cell.arch) not in supplier.places:
        return Refusal(
            "not-published",
            f"no such package was seen for {cell.distribution} {cell.release} on {cell.arch}",
            "name another provider; site_signed fits every release and architecture",
        )
    if cell.kernel not in supplier.kernels:
        return Refusal(
            "other-kernel",
            f"{supplier.title} are not made for this kernel",
            "start the distribution's own kernel, or sign modules yourself (site_signed)",
        )
    if cell.origin not in supplier.origins:
        return Refusal(
            "no-subscription",
            f"no subscription brings {supplier.title}",
            "mirror the repository, or carry its packages as files",
        )
    if cell.secure_boot == "enabled" and not supplier.trusted:
        return Refusal(
            "untrusted-signer",
            f"Secure Boot is on, and {name} signs with a key made on the node, which somebody"
            " would have to enrol at its console",
            "use modules that the distribution or the site signs",
        )
    return None


def distribution_of(os_id: str, kernel: str = "") -> Distribution:
    """The distribution by os-release's ID; CIQ's kernels carry its mark in their release."""
    if "_ciq" in kernel or os_id.startswith(("ciq", "rlc")):
        return "ciq"
    known: dict[str, Distribution] = {
        "rhel": "rhel",
        "centos": "centos",
        "rocky": "rocky",
        "almalinux": "almalinux",
        "ol": "oracle",
    }
    return known.get(os_id, "other")


def kernel_kind(release: str) -> Kernel:
    """What kind of kernel a kernel's release (``uname -r``) names."""
    if release.endswith("+64k"):
        return "64k"
    if re.search(r"\.el\d", release) and "+" not in release and "uek" not in release:
        return "distribution"
    return "other"

"""The reference page of kernel-module providers and of CUDA's drivers, from the data itself."""

from __future__ import annotations

from collections.abc import Iterator

from provision.supply.gpu.cuda import FORWARD_BRANCHES, MAJORS, TOOLKITS
from provision.supply.gpu.providers import (
    ARCHES,
    DISTRIBUTIONS,
    KERNELS,
    ORIGINS,
    PROVIDERS,
    RELEASES,
    SUPPLIERS,
    Cell,
    Decision,
    Distribution,
    Kernel,
    OriginKind,
    cells,
    decide,
)

_INTRODUCTION = """\
# The supply of GPU drivers

A kernel, the GPU driver's module for it, the driver and everything of the driver's version are
locked as one unit: `gpu` in the [stack lock](stack-lock.md). The unit names who supplies the
module; whether that fits a node is decided before anything is changed on it, by its distribution,
release, architecture, Secure Boot, the kind of the origin, and the kernel.

## Providers

The first that fits is the best one.

| provider | what | for | seen for | kernels | origins | Secure Boot | package | source |
|---|---|---|---|---|---|---|---|---|
"""

_TABLE = """
## Which fits where

`-` is refused: the reason and what to do stand below. Secure Boot `absent` (no UEFI) is decided
like `disabled`; `unknown` is refused everywhere, and so is a 64 KiB kernel on x86_64.

| distribution | EL | architecture | kernel | origin | Secure Boot off | Secure Boot on |
|---|---|---|---|---|---|---|
"""

_CUDA = """
## Which driver CUDA needs

A toolkit, or an image whose `cuda` the lock names, is held against the unit's driver before
anything is deployed.

| CUDA | oldest driver (minor-version compatibility) | driver with all features |
|---|---|---|
"""

_FORWARD = """
An image that holds cuda-compat (`forward: true`) also runs on an older driver of branch {branches},
on data center GPUs only.
"""


def page() -> str:
    """The page."""
    reasons = "".join(f"- `{code}`: {text}\n" for code, text in sorted(_reasons().items()))
    return "".join(
        [
            _INTRODUCTION,
            *_providers(),
            _TABLE,
            *_rows(),
            "\n## Refusals\n\n",
            reasons,
            _CUDA,
            *_toolkits(),
            _FORWARD.format(branches=", ".join(map(str, FORWARD_BRANCHES))),
        ]
    )


def _providers() -> Iterator[str]:
    for name in PROVIDERS:
        one = SUPPLIERS[name]
        places = ", ".join(f"{r} {a}" for r, a in sorted(one.places))
        yield (
            f"| `{name}` | {one.title} | {one.only or 'all'} | {places}"
            f" | {', '.join(k for k in KERNELS if k in one.kernels)}"
            f" | {', '.join(o for o in ORIGINS if o in one.origins)}"
            f" | {'on or off' if one.trusted else 'off'} | `{one.packages}` | {one.source} |\n"
        )


def _rows() -> Iterator[str]:
    for distribution in DISTRIBUTIONS:
        for release in RELEASES:
            for arch in ARCHES:
                for kernel in KERNELS:
                    if kernel != "64k" or arch == "aarch64":
                        yield from _origins(distribution, release, arch, kernel)


def _origins(distribution: Distribution, release: str, arch: str, kernel: Kernel) -> Iterator[str]:
    """One row for each kind of origin; those that are decided alike share one."""
    shared: dict[tuple[str, str], list[OriginKind]] = {}
    for origin in ORIGINS:
        off = _shown(decide(Cell(distribution, release, arch, "disabled", origin, kernel)))
        on = _shown(decide(Cell(distribution, release, arch, "enabled", origin, kernel)))
        shared.setdefault((off, on), []).append(origin)
    for (off, on), origins in shared.items():
        yield (
            f"| {distribution} | {release} | {arch} | {kernel} | {', '.join(origins)}"
            f" | {off} | {on} |\n"
        )


def _shown(decision: Decision) -> str:
    if decision.refusal is not None:
        return f"- `{decision.refusal.code}`"
    return ", ".join(f"`{name}`" for name in decision.choices)


def _reasons() -> dict[str, str]:
    """Every reason by its word, as the first cell that has it says it."""
    found: dict[str, str] = {}
    for cell in cells():
        _collect(decide(cell), found)
    return found


def _collect(decision: Decision, found: dict[str, str]) -> None:
    refusals = [refusal for _, refusal in decision.ruled_out]
    if decision.impossible is not None:
        refusals.append(decision.impossible)
    for one in refusals:
        found.setdefault(one.code, f"{one.reason}. Next: {one.action}. For example {decision.cell}")


def _toolkits() -> Iterator[str]:
    for version, driver in TOOLKITS.items():
        yield f"| {version} | {MAJORS[int(version.split('.')[0])]} | {driver} |\n"

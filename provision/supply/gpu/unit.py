"""Whether kernel, module, driver and what goes with them in a stack lock are one unit.

Each rule names a failure that was seen in the field: a kernel that came without its module, a
fabric manager of another version than the driver (CUDA error 802), a DKMS build that failed for
want of headers while the package's script ended well, an image that asks for a newer driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from provision.core.jsonpos import JsonPath
from provision.core.names import suggest
from provision.supply.gpu.cuda import Needs, gate
from provision.supply.gpu.providers import SUPPLIERS, kernel_kind
from provision.supply.misfit import Misfit
from provision.supply.model import READABLE, GpuUnit, Rpm, StackLock

KERNELS = ("kernel-core", "kernel-64k-core", "kernel-rt-core", "kernel-rt-64k-core")
"""Packages that hold a kernel that can be started."""
_TOOLKIT = re.compile(r"cuda-toolkit(?:-\d+-\d+)? (\d+\.\d+)(?:\.\d+)*$")
BUILDS = ("dkms", "gcc", "gcc-c++", "make")
"""What DKMS needs beside the kernel's headers; the open modules need the C++ compiler, too."""


def unit_misfits(lock: StackLock) -> Iterator[Misfit]:
    """Everything about GPUs in `lock` that does not fit."""
    yield from _too_old(lock)
    for i, unit in enumerate(lock.gpu):
        rpms = {
            r.nevra: r for r in lock.rpms if r.el == unit.el and r.arch in (unit.arch, "noarch")
        }
        yield from _unknown(i, unit, rpms)
        yield from _versions(i, unit, rpms)
        yield from _kernels(i, unit, lock, rpms)
        yield from _provider(i, unit)
        yield from _modules(i, unit, rpms)
        yield from _images(unit, lock)
        yield from _toolkits(unit, lock, rpms)


def release_of(kernel: Rpm) -> str:
    """What ``uname -r`` says under the kernel of this package."""
    flavour = kernel.name.removeprefix("kernel").removesuffix("core").strip("-")
    release = f"{kernel.version}-{kernel.release}.{kernel.arch}"
    return f"{release}+{flavour}" if flavour else release


def _too_old(lock: StackLock) -> Iterator[Misfit]:
    if lock.schema_ != READABLE[0]:
        return
    hint = f"write {READABLE[-1]!r} as the lock's schema"
    if lock.gpu:
        yield Misfit(("gpu",), "newer-key", f"{READABLE[0]} has no key 'gpu'", hint)
    for i, image in enumerate(lock.images):
        if image.cuda is not None:
            message = f"{READABLE[0]} has no key 'cuda' of an image"
            yield Misfit(("images", i, "cuda"), "newer-key", message, hint)


def _places(i: int, unit: GpuUnit) -> Iterator[tuple[JsonPath, str]]:
    """Every NEVRA of a unit with its place."""
    for j, kernel in enumerate(unit.kernels):
        for key in ("kernel", "module", "devel"):
            value = getattr(kernel, key)
            if value is not None:
                yield ("gpu", i, "kernels", j, key), value
    for j, value in enumerate(unit.userspace):
        yield ("gpu", i, "userspace", j), value
    for key in ("fabric_manager", "nscq", "imex"):
        value = getattr(unit, key)
        if value is not None:
            yield ("gpu", i, key), value
    for j, value in enumerate(unit.toolkit):
        yield ("gpu", i, "toolkit", j), value


def _unknown(i: int, unit: GpuUnit, rpms: dict[str, Rpm]) -> Iterator[Misfit]:
    for path, nevra in _places(i, unit):
        if nevra not in rpms:
            message = f"{nevra} is not among the RPMs of EL {unit.el} {unit.arch}"
            yield Misfit(path, "unknown-rpm", message, suggest(nevra, rpms))


def _versions(i: int, unit: GpuUnit, rpms: dict[str, Rpm]) -> Iterator[Misfit]:
    """Everything that talks to the driver has the driver's very version."""
    for path, nevra in _places(i, unit):
        rpm = rpms.get(nevra)
        if rpm is None or path[2] == "toolkit" or path[-1] in ("kernel", "devel"):
            continue
        if not _is_of(rpm, unit.driver):
            message = f"{nevra} is not of driver {unit.driver}, which the unit has"
            hint = f"lock the package of {unit.driver}; another version does not work with it"
            yield Misfit(path, "wrong-driver-version", message, hint)
    versions = {rpms[n].version for n in unit.toolkit if n in rpms}
    if len(versions) > 1:
        message = f"the container toolkit is locked in several versions: {sorted(versions)}"
        hint = "its packages are of one version"
        yield Misfit(("gpu", i, "toolkit"), "toolkit-versions", message, hint)


def _is_of(rpm: Rpm, driver: str) -> bool:
    """A package of a driver has its version as its own; kernel modules may have it in the name."""
    return rpm.version == driver or driver in rpm.name.split("-")


def _kernels(i: int, unit: GpuUnit, lock: StackLock, rpms: dict[str, Rpm]) -> Iterator[Misfit]:
    """Every locked kernel has a module, and every entry's kernel is a kernel."""
    with_module = {entry.kernel for entry in unit.kernels}
    for j, rpm in enumerate(lock.rpms):
        if rpm.name in KERNELS and rpm.nevra in rpms and rpm.nevra not in with_module:
            if rpms[rpm.nevra] is not rpm:
                continue
            message = f"{rpm.nevra} has no GPU module in the unit {unit.name!r}"
            hint = f"add it to gpu[{i}].kernels with its module, or lock another kernel"
            yield Misfit(("rpms", j, "name"), "kernel-without-module", message, hint)
    seen: set[str] = set()
    for j, entry in enumerate(unit.kernels):
        kernel = rpms.get(entry.kernel)
        if kernel is not None and kernel.name not in KERNELS:
            message = f"{entry.kernel} is no kernel that can be started"
            hint = f"name {' or '.join(KERNELS[:2])}"
            yield Misfit(("gpu", i, "kernels", j, "kernel"), "not-a-kernel", message, hint)
        if entry.kernel in seen:
            message = f"{entry.kernel} stands in the unit twice"
            path = ("gpu", i, "kernels", j, "kernel")
            yield Misfit(path, "duplicate-pin", message, "remove one of them")
        seen.add(entry.kernel)


def _provider(i: int, unit: GpuUnit) -> Iterator[Misfit]:
    supplier = SUPPLIERS[unit.provider]
    at: JsonPath = ("gpu", i, "provider")
    if supplier.trusted and unit.signer is None:
        message = f"nothing says who signs the modules of {unit.provider}"
        hint = "add `signer`: what `modinfo -F signer` shows of the module"
        yield Misfit(at, "unknown-signer", message, hint)
    if (unit.el, unit.arch) not in supplier.places:
        message = f"{unit.provider} has nothing for EL {unit.el} on {unit.arch}"
        fits = [n for n, s in SUPPLIERS.items() if (unit.el, unit.arch) in s.places]
        yield Misfit(at, "wrong-provider", message, f"valid: {', '.join(fits)}")
    if unit.stream is not None and unit.el != "9":
        message = f"EL {unit.el} has no module streams"
        yield Misfit(("gpu", i, "stream"), "no-streams", message, "remove it; versions are locked")


def _modules(i: int, unit: GpuUnit, rpms: dict[str, Rpm]) -> Iterator[Misfit]:
    """Whether the provider has modules for these kernels, and they are for these kernels."""
    supplier = SUPPLIERS[unit.provider]
    for j, entry in enumerate(unit.kernels):
        kernel = rpms.get(entry.kernel)
        if kernel is None:
            continue
        place = ("gpu", i, "kernels", j)
        if kernel_kind(release_of(kernel)) not in supplier.kernels:
            message = f"{unit.provider} has no modules for a kernel such as {entry.kernel}"
            hint = "lock the distribution's own kernel"
            yield Misfit((*place, "kernel"), "wrong-provider", message, hint)
        if unit.provider == "cuda_open_dkms":
            yield from _headers(place, kernel, entry.devel, rpms)
        elif unit.provider == "rhel_signed" and kernel.version not in entry.module:
            message = f"{entry.module} is not made for {entry.kernel}"
            hint = f"lock the module whose name has {kernel.version}-{kernel.release}"
            yield Misfit((*place, "module"), "wrong-kernel", message, hint)
    if unit.provider == "cuda_open_dkms":
        names = {rpm.name for rpm in rpms.values()}
        for name in BUILDS:
            if name not in names:
                message = f"DKMS cannot build without {name}, which is not in the lock"
                hint = f"lock {name} for EL {unit.el}"
                yield Misfit(("gpu", i, "provider"), "cannot-build", message, hint)


def _headers(
    path: tuple[str | int, ...], kernel: Rpm, devel: str | None, rpms: dict[str, Rpm]
) -> Iterator[Misfit]:
    """DKMS needs the headers of the very kernel; without them it fails, and rpm says nothing."""
    if devel is None:
        message = f"DKMS cannot build for {kernel.nevra} without its headers"
        hint = f"add `devel`: {kernel.name.removesuffix('core')}devel of the same version"
        yield Misfit((*path, "kernel"), "cannot-build", message, hint)
        return
    rpm = rpms.get(devel)
    if rpm is None:
        return
    flavour = kernel.name.removesuffix("core")
    same = (rpm.version, rpm.release) == (kernel.version, kernel.release)
    if not same or rpm.name not in (f"{flavour}devel", f"{flavour}devel-matched"):
        message = f"{devel} are not the headers of {kernel.nevra}"
        hint = f"lock {flavour}devel-matched {kernel.version}-{kernel.release}"
        yield Misfit((*path, "devel"), "wrong-kernel", message, hint)


def _images(unit: GpuUnit, lock: StackLock) -> Iterator[Misfit]:
    """An image that this unit's driver cannot run. Which GPU there is, only the inventory says."""
    for i, image in enumerate(lock.images):
        if image.cuda is None or image.arch != unit.arch:
            continue
        answer = gate(Needs(image.cuda.version, image.cuda.forward), unit.driver, "data center")
        if not answer.ok:
            message = f"image {image.name!r} does not run on unit {unit.name!r}: {answer.reason}"
            yield Misfit(("images", i, "cuda"), "driver-too-old", message, answer.action)


def _toolkits(unit: GpuUnit, lock: StackLock, rpms: dict[str, Rpm]) -> Iterator[Misfit]:
    """A CUDA toolkit for the node itself that this unit's driver cannot run."""
    for i, rpm in enumerate(lock.rpms):
        found = _TOOLKIT.match(f"{rpm.name} {rpm.version}")
        if found is None or rpms.get(rpm.nevra) is not rpm:
            continue
        answer = gate(Needs(found[1]), unit.driver)
        if not answer.ok:
            message = f"{rpm.name} does not run on unit {unit.name!r}: {answer.reason}"
            yield Misfit(("rpms", i, "version"), "driver-too-old", message, answer.action)

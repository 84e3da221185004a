# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""The GPU driver's kernel module: whether each kernel has it, and whether firmware trusts it.

Runs nothing. Whoever calls hands over what modinfo and rpm say.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils import probe

KERNELS = ("kernel-core", "kernel-64k-core", "kernel-rt-core", "kernel-rt-64k-core")
QUERY = "%{NAME}|%{VERSION}-%{RELEASE}.%{ARCH}\\n"
_NVRM = re.compile(r"^NVRM version:.*?\s(\d+(?:\.\d+){1,2})\s", re.MULTILINE)


def parse_kernels(text: str) -> list[str]:
    """Releases (as C(uname -r) says) of the kernels in the output of ``rpm -q --qf QUERY``."""
    found = []
    for line in text.splitlines():
        name, bar, release = line.partition("|")
        if not bar or name not in KERNELS:
            continue
        flavour = name[len("kernel") : -len("core")].strip("-")
        found.append("{0}+{1}".format(release, flavour) if flavour else release)
    return sorted(set(found))


def parse_modinfo(text: str) -> dict[str, str]:
    """The fields of a module that modinfo shows; the first of each name counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key and not key[0].isspace():
            found.setdefault(key.strip(), value.strip())
    return found


def trusted(keys: str) -> list[str]:
    """Names of the keys that the kernel holds, out of ``/proc/keys``."""
    found = []
    for line in keys.splitlines():
        _, marker, rest = line.partition(" asymmetri")
        if marker:
            found.append(rest.strip().rpartition(": X509")[0] or rest.strip())
    return found


def is_trusted(signer: str, keys: list[str]) -> bool:
    """Whether one of the kernel's keys has the signer's name; a key's id may follow it."""
    return any(key == signer or key.startswith(signer + ":") for key in keys)


def loaded_version(text: str) -> str:
    """The driver's version in ``/proc/driver/nvidia/version``; empty when there is none."""
    found = _NVRM.search(text)
    return found.group(1) if found else ""


def loaded(root: str) -> str:
    """The version of the driver that is loaded; empty when none is."""
    text = probe.read(root, "/proc/driver/nvidia/version") or ""
    return loaded_version(text + "\n")


def nouveau(root: str) -> bool:
    """Whether the driver is loaded that cannot be beside NVIDIA's."""
    return os.path.isdir(os.path.join(root, "sys/module/nouveau"))


def wrong(
    kernel: str, module: dict[str, str], wanted: dict[str, str], keys: list[str] | None
) -> str | None:
    """What is wrong with a kernel's module, or None.

    Args:
        kernel: the kernel's release.
        module: its module as modinfo shows it; empty when it has none.
        wanted: C(version) and C(signer); an empty signer is not compared.
        keys: the names of the kernel's keys; None where Secure Boot is off.
    """
    if not module:
        return "kernel {0} has no nvidia module".format(kernel)
    version, signer = module.get("version", ""), module.get("signer", "")
    if version != wanted["version"]:
        return "the nvidia module of kernel {0} is {1} instead of {2}".format(
            kernel, version or "of no version", wanted["version"]
        )
    if wanted["signer"] and signer != wanted["signer"]:
        return "the nvidia module of kernel {0} is signed by {1} instead of {2}".format(
            kernel, signer or "nobody", wanted["signer"]
        )
    if keys is not None and not signer:
        return "Secure Boot is on, and the nvidia module of kernel {0} is not signed".format(kernel)
    if keys is not None and not is_trusted(signer, keys):
        return (
            "Secure Boot is on, and no key of this machine is that of {0}, who signed the nvidia "
            "module of kernel {1}".format(signer, kernel)
        )
    return None


def pins(pinned: list[dict[str, Any]], family: list[str], kernel: str) -> list[str]:
    """Lines for the versionlock plugin: packages, and the kernel's other packages beside them."""
    lines = ["{name}-{epoch}:{version}-{release}.*".format(**p) for p in pinned]
    names = {p["name"] for p in pinned}
    for package in pinned:
        if package["name"] == kernel:
            version = "{epoch}:{version}-{release}".format(**package)
            lines += ["{0}-{1}.*".format(n, version) for n in family if n not in names]
    return sorted(set(lines))

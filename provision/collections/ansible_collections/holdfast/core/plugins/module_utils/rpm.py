# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of RPM packages, and what the rpm database says about them. Runs nothing."""

from __future__ import annotations

from typing import Any

QUERY = "%{NAME}|%{EPOCHNUM}|%{VERSION}|%{RELEASE}|%{ARCH}|%{INSTALLTIME}\\n"
"""Format for ``rpm -q --qf``: one package a line."""


class Installed:
    """One installed package; `installed` is Unix seconds."""

    def __init__(self, fields: list[str]) -> None:
        self.name, epoch, self.version, self.release, self.arch, when = fields
        self.epoch = int(epoch)
        self.installed = int(when)

    @property
    def nevra(self) -> str:
        """name-epoch:version-release.arch."""
        return nevra(
            {
                "name": self.name,
                "epoch": self.epoch,
                "version": self.version,
                "release": self.release,
                "arch": self.arch,
            }
        )


def nevra(package: dict[str, Any]) -> str:
    """name-epoch:version-release.arch of a package of the stack lock."""
    return "{name}-{epoch}:{version}-{release}.{arch}".format(
        name=package["name"],
        epoch=int(package.get("epoch") or 0),
        version=package["version"],
        release=package["release"],
        arch=package["arch"],
    )


def parse_query(text: str) -> list[Installed]:
    """The packages in the output of ``rpm -q --qf QUERY``; other lines are left out."""
    found = []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) != 6 or not fields[1].isdigit() or not fields[5].isdigit():
            continue
        found.append(Installed(fields))
    return found


class Difference:
    """What is missing from the rpm database, and what is there in another version."""

    def __init__(self) -> None:
        self.missing: list[dict[str, Any]] = []
        self.unwanted: list[str] = []
        self.changes: list[str] = []


def compare(
    wanted: list[dict[str, Any]], absent: list[str], installed: list[Installed]
) -> Difference:
    """Compare wanted packages with what is installed.

    A package counts as there when exactly its NEVRA is installed, also beside others of the
    same name (kernels may be installed side by side).
    """
    present = {package.nevra for package in installed}
    names: dict[str, list[str]] = {}
    for there in installed:
        names.setdefault(there.name, []).append(there.nevra)
    result = Difference()
    for package in wanted:
        label = nevra(package)
        if label in present:
            continue
        result.missing.append(package)
        others = names.get(package["name"], [])
        if others:
            result.changes.append("install {0} in place of {1}".format(label, ", ".join(others)))
        else:
            result.changes.append("install {0}".format(label))
    for name in absent:
        for label in names.get(name, []):
            result.unwanted.append(name)
            result.changes.append("remove {0}".format(label))
    return result

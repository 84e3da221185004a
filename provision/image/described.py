"""What an image's folder says of the image, read without unpacking anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from provision.core.exitcodes import ExitCode
from provision.core.files import sha256_of
from provision.core.problems import HoldfastError, fail
from provision.image import manifest as manifests
from provision.image.filelist import Entry, read_files
from provision.image.manifest import Manifest, read_manifest
from provision.image.verification import verify_manifest

UNITS = ("/etc/systemd/system/", "/usr/lib/systemd/system/")


@dataclass(frozen=True)
class Component:
    """A component of the bill of materials that is no file: what it is, its version and licence."""

    kind: str
    name: str
    version: str
    licence: str
    nevra: str = ""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Described:
    """An image by its documents; each is what the manifest says, byte by byte."""

    folder: Path
    manifest: Manifest

    @cached_property
    def files(self) -> dict[str, Entry]:
        """Every path of the tree."""
        return read_files(self._document(manifests.FILES))

    @cached_property
    def components(self) -> list[Component]:
        """The components of the CycloneDX document."""
        whole = self._json(manifests.CYCLONEDX)
        return [_component(one) for one in whole["components"] if one["type"] != "file"]

    @cached_property
    def packages(self) -> dict[str, Component]:
        """The packages of the RPM database, by NEVRA."""
        return {one.nevra: one for one in self.components if one.nevra}

    @cached_property
    def rules(self) -> dict[str, str]:
        """The result of every rule that the scan judged."""
        rules = self._json(manifests.RESULTS)["rules"]
        return {str(name): str(one["result"]) for name, one in rules.items()}

    @cached_property
    def varying(self) -> frozenset[str]:
        """The paths whose content is another in some of the image's formats."""
        return frozenset(path for one in self.manifest.artefacts for path in one.differs)

    @cached_property
    def units(self) -> dict[str, str]:
        """What is enabled or masked, and for what."""
        return units_of(self.files)

    def has(self, name: str) -> bool:
        """Whether the image brings this document."""
        return self.manifest.part(name) is not None

    def _document(self, name: str) -> Path:
        """A document, after its bytes were compared with the manifest.

        Raises:
            HoldfastError: the image has none, or another than the manifest says.
        """
        part, path = self.manifest.part(name), self.folder / name
        if part is None:
            raise fail("no-document", f"this image brings no {name}", where=str(self.folder),
                       exit_code=ExitCode.USAGE)  # fmt: skip
        try:
            same = path.stat().st_size == part.size and sha256_of(path) == part.sha256
        except OSError as error:
            raise _differs(path, f"it cannot be read: {error.strerror}") from error
        if not same:
            raise _differs(path, "it is not what the manifest says")
        return path

    def _json(self, name: str) -> Any:
        path = self._document(name)
        try:
            return json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise _differs(path, f"it is no JSON: {error}") from error


def describe(folder: Path, key: ec.EllipticCurvePublicKey | None = None) -> Described:
    """The image in `folder`; with `key`, after the signature of its manifest.

    Raises:
        HoldfastError: there is none (exit code 2), or it is not what was signed (1).
    """
    if key is not None:
        return Described(folder, verify_manifest(folder, key))
    return Described(folder, read_manifest(folder))


def units_of(files: Mapping[str, Entry]) -> dict[str, str]:
    """What of systemd's units is enabled or masked in a tree, by its link's path."""
    found = {}
    for path, entry in files.items():
        if entry.type != "l" or not path.startswith(UNITS):
            continue
        folder, _, name = path.rpartition("/")
        target, dot, word = folder.rpartition("/")[2].rpartition(".")
        if dot and word in ("wants", "requires"):
            found[path] = f"{name} is enabled for {target}"
        elif entry.holds == "/dev/null":
            found[path] = f"{name} is masked"
    return found


def _component(one: Mapping[str, Any]) -> Component:
    licences = [
        str(each.get("expression") or each.get("license", {}).get("name", ""))
        for each in one.get("licenses", ())
    ]
    about = {p["name"]: p["value"] for p in one.get("properties", ())}
    return Component(
        kind=str(one["type"]),
        name=str(one["name"]),
        version=str(one.get("version", "")),
        licence=", ".join(licences),
        nevra=str(about.get("holdfast:rpm:nevra", "")),
        paths=tuple(str(f["name"]) for f in one.get("components", ())),
    )


def _differs(path: Path, why: str) -> HoldfastError:
    return fail("not-as-signed", f"not as the manifest says: {why}", where=str(path),
                hint="do not use this image; fetch it again from where it was built",
                exit_code=ExitCode.FINDINGS)  # fmt: skip

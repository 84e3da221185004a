"""SPDX 2.3 in JSON: https://spdx.github.io/spdx-spec/v2.3/."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from provision.image.stage_sbom.contents import (
    Contents,
    File,
    Package,
    expression_of,
    plain,
    reference_of,
)
from provision.supply.model import Image, Model

_NONE = "NOASSERTION"
_ROOT = "SPDXRef-Image"
_DOCUMENT = "SPDXRef-DOCUMENT"


def document(contents: Contents) -> dict[str, Any]:
    """The document about an image."""
    packages = [_image(contents), *_rpms(contents)]
    packages += [_model(model) for model in contents.models()]
    packages += [_container(image) for image in contents.images()]
    contained = [_contains(_ROOT, str(p["SPDXID"])) for p in packages[1:]]
    for package in contents.packages:
        contained += [_contains(_id(package), _file_id(f)) for f in contents.files_of(package)]
    contained += [_contains(_ROOT, _file_id(file)) for file in contents.unowned()]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": f"{contents.name}-{contents.version}",
        "documentNamespace": f"urn:uuid:{contents.identifier('spdx')}",
        "creationInfo": {"created": contents.moment, "creators": [f"Tool: {contents.tool}"]},
        "packages": packages,
        "files": [_file(file) for file in contents.files.values()],
        "relationships": [_relation(_DOCUMENT, "DESCRIBES", _ROOT), *contained],
        "hasExtractedLicensingInfos": _licences(contents),
    }


def _rpms(contents: Contents) -> list[dict[str, Any]]:
    pins, drivers = contents.pins(), contents.drivers()
    return [_rpm(contents, package, pins, drivers) for package in contents.packages]


def _rpm(
    contents: Contents, package: Package, pins: dict[str, str], drivers: frozenset[str]
) -> dict[str, Any]:
    files = contents.files_of(package)
    pin = pins.get(package.nevra)
    found: dict[str, Any] = {
        "SPDXID": _id(package),
        "name": package.name,
        "versionInfo": f"{package.epoch}:{package.version}-{package.release}",
        "supplier": f"Organization: {plain(package.vendor)}" if package.vendor else _NONE,
        "downloadLocation": _NONE,
        "filesAnalyzed": bool(files),
        "licenseConcluded": _NONE,
        "licenseDeclared": _declared(package.licence),
        "copyrightText": _NONE,
        "summary": plain(package.summary),
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.purl(contents.distribution),
            }
        ],
    }
    if package.source:
        found["sourceInfo"] = f"built from {package.source}"
    if pin:
        found["checksums"] = [{"algorithm": "SHA256", "checksumValue": pin}]
    if files:
        found["packageVerificationCode"] = {"packageVerificationCodeValue": _code(files)}
        found["licenseInfoFromFiles"] = [_NONE]
    if package.nevra in drivers:
        found["comment"] = "part of the unit of kernel module and driver in the stack lock"
    return found


def _image(contents: Contents) -> dict[str, Any]:
    unowned = contents.unowned()
    found: dict[str, Any] = {
        "SPDXID": _ROOT,
        "name": contents.name,
        "versionInfo": contents.version,
        "summary": plain(contents.title),
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "downloadLocation": _NONE,
        "filesAnalyzed": bool(unowned),
        "licenseConcluded": _NONE,
        "licenseDeclared": _NONE,
        "copyrightText": _NONE,
    }
    if unowned:
        found["packageVerificationCode"] = {"packageVerificationCodeValue": _code(unowned)}
        found["licenseInfoFromFiles"] = [_NONE]
    return found


def _model(model: Model) -> dict[str, Any]:
    files = ", ".join(f"{file.path} (sha256 {file.sha256})" for file in model.files)
    return {
        **_pinned(f"SPDXRef-Model-{_safe(model.name)}", model.name, model.licence),
        "comment": f"a model in {model.format} form: {files}",
        "primaryPackagePurpose": "OTHER",
    }


def _container(image: Image) -> dict[str, Any]:
    return {
        **_pinned(f"SPDXRef-Container-{_safe(image.name)}", image.name, image.licence),
        "versionInfo": image.digest,
        "primaryPackagePurpose": "CONTAINER",
    }


def _pinned(identifier: str, name: str, licence: str) -> dict[str, Any]:
    return {
        "SPDXID": identifier,
        "name": name,
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        "licenseConcluded": _NONE,
        "licenseDeclared": _declared(licence),
        "copyrightText": _NONE,
    }


def _file(file: File) -> dict[str, Any]:
    return {
        "SPDXID": _file_id(file),
        "fileName": f".{plain(file.path)}",
        "checksums": [
            {"algorithm": "SHA1", "checksumValue": file.sha1},
            {"algorithm": "SHA256", "checksumValue": file.sha256},
        ],
        "licenseConcluded": _NONE,
        "licenseInfoInFiles": [_NONE],
        "copyrightText": _NONE,
    }


def _declared(licence: str) -> str:
    if not licence:
        return _NONE
    return expression_of(licence) or reference_of(licence)


def _licences(contents: Contents) -> list[dict[str, str]]:
    """The licences that SPDX's list has no word for, as the packages write them."""
    named = {package.licence for package in contents.packages}
    named |= {model.licence for model in contents.models()}
    named |= {image.licence for image in contents.images()}
    return [
        {
            "licenseId": reference_of(licence),
            "name": plain(licence),
            "extractedText": plain(licence),
        }
        for licence in sorted(named - {""})
        if expression_of(licence) is None
    ]


def _code(files: Sequence[File]) -> str:
    """The package verification code: section 7.9 of the specification."""
    together = "".join(sorted(file.sha1 for file in files))
    return hashlib.sha1(together.encode(), usedforsecurity=False).hexdigest()


def _contains(whole: str, part: str) -> dict[str, str]:
    return _relation(whole, "CONTAINS", part)


def _relation(one: str, word: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": word, "relatedSpdxElement": other}


def _id(package: Package) -> str:
    return f"SPDXRef-Package-{_safe(package.nevra)}"


def _file_id(file: File) -> str:
    name = hashlib.sha256(file.path.encode("utf-8", "surrogateescape")).hexdigest()
    return f"SPDXRef-File-{name[:24]}"


def _safe(text: str) -> str:
    """`text` in the letters of an SPDX identifier, no two texts alike."""
    plain_text = re.sub(r"[^A-Za-z0-9.-]", "-", text)
    if plain_text == text:
        return text
    return f"{plain_text}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

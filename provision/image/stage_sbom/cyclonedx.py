"""CycloneDX 1.6 in JSON: https://cyclonedx.org/docs/1.6/json/."""

from __future__ import annotations

from typing import Any

from provision.image.stage_sbom.contents import Contents, File, Package, expression_of, plain
from provision.supply.model import Image, Model


def document(contents: Contents) -> dict[str, Any]:
    """The document about an image."""
    root = f"image:{contents.name}"
    components = [*_rpms(contents), *map(_model, contents.models())]
    components += [_container(image) for image in contents.images()]
    named = [str(component["bom-ref"]) for component in components]
    components += [_file(file) for file in contents.unowned()]
    tool, _, version = contents.tool.rpartition("-")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{contents.identifier('cyclonedx')}",
        "version": 1,
        "metadata": {
            "timestamp": contents.moment,
            "tools": {"components": [{"type": "application", "name": tool, "version": version}]},
            "component": {
                "type": "operating-system",
                "bom-ref": root,
                "name": contents.name,
                "version": contents.version,
                "description": plain(contents.title),
            },
        },
        "components": components,
        "dependencies": [{"ref": root, "dependsOn": named}],
    }


def _rpms(contents: Contents) -> list[dict[str, Any]]:
    pins, drivers = contents.pins(), contents.drivers()
    return [_rpm(contents, package, pins, drivers) for package in contents.packages]


def _rpm(
    contents: Contents, package: Package, pins: dict[str, str], drivers: frozenset[str]
) -> dict[str, Any]:
    purl = package.purl(contents.distribution)
    pin = pins.get(package.nevra)
    found: dict[str, Any] = {
        "type": "device-driver" if package.nevra in drivers else "library",
        "bom-ref": f"rpm:{package.nevra}",
        "name": package.name,
        "version": f"{package.epoch}:{package.version}-{package.release}",
        "purl": purl,
        "description": plain(package.summary),
        "properties": [
            {"name": f"holdfast:rpm:{name}", "value": value}
            for name, value in (("nevra", package.nevra), ("source", package.source))
            if value
        ],
    }
    if package.vendor:
        found["publisher"] = plain(package.vendor)
    if package.licence:
        found["licenses"] = _licences(package.licence)
    if pin:
        found["hashes"] = [{"alg": "SHA-256", "content": pin}]
    files = [_file(file) for file in contents.files_of(package)]
    if files:
        found["components"] = files
    return found


def _model(model: Model) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{model.name}",
        "name": model.name,
        "licenses": _licences(model.licence),
        "components": [
            {
                "type": "file",
                "name": file.path,
                "hashes": [{"alg": "SHA-256", "content": file.sha256}],
            }
            for file in model.files
        ],
    }


def _container(image: Image) -> dict[str, Any]:
    return {
        "type": "container",
        "bom-ref": f"container:{image.name}",
        "name": image.name,
        "version": image.digest,
        "licenses": _licences(image.licence),
    }


def _file(file: File) -> dict[str, Any]:
    return {
        "type": "file",
        "name": plain(file.path),
        "hashes": [
            {"alg": "SHA-1", "content": file.sha1},
            {"alg": "SHA-256", "content": file.sha256},
        ],
    }


def _licences(licence: str) -> list[dict[str, Any]]:
    expression = expression_of(licence)
    if expression is not None:
        return [{"expression": expression}]
    return [{"license": {"name": plain(licence)}}]

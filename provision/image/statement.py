"""The statement that is signed: in-toto's Statement v1 with SLSA's provenance v1.

https://in-toto.io/Statement/v1 and https://slsa.dev/provenance/v1 name the two forms; nothing is
asked of those hosts.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.problems import fail
from provision.image.definition import canonical
from provision.image.manifest import MANIFEST, Manifest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:holdfast:image-build:1"


def statement(manifest: Manifest) -> str:
    """The statement about an image: its manifest and every file, and how they came to be."""
    digests = {MANIFEST: manifest.digest, **{part.name: part.sha256 for part in manifest.parts}}
    at = datetime.fromtimestamp(manifest.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"digest": {"sha256": sha256}, "name": name} for name, sha256 in sorted(digests.items())
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "arch": manifest.arch,
                    "definition": manifest.name,
                    "profile": manifest.profile,
                    "release": manifest.release,
                },
                "internalParameters": {
                    "epoch": manifest.epoch,
                    "gate": manifest.gate.model_dump(mode="json"),
                    "stages": {n: s.model_dump(mode="json") for n, s in manifest.stages.items()},
                },
                "resolvedDependencies": _materials(manifest),
            },
            "runDetails": {
                "builder": {
                    "id": "urn:holdfast:builder",
                    "version": {"holdfast": manifest.holdfast},
                },
                # The same inputs make the same bytes, and so the same statement: it says the
                # definition's time, not the clock's.
                "metadata": {"startedOn": at, "finishedOn": at},
            },
        },
    }
    return canonical(document) + "\n"


def _materials(manifest: Manifest) -> list[dict[str, Any]]:
    found = [{"digest": {"sha256": manifest.definition}, "name": f"{manifest.name}.yml"}]
    if manifest.lock is not None:
        found.append({"digest": {"sha256": manifest.lock}, "name": "stack.lock.json"})
    return found


def subjects(payload: bytes, where: str) -> dict[str, str]:
    """The sha256 of every subject of a statement, by name.

    Raises:
        HoldfastError: this is no statement about an image (exit code 1).
    """
    try:
        document = json.loads(payload)
        if document["_type"] != STATEMENT_TYPE or document["predicateType"] != PREDICATE_TYPE:
            raise ValueError("it is a statement of another type")
        found = {str(one["name"]): str(one["digest"]["sha256"]) for one in document["subject"]}
        if len(found) != len(document["subject"]):
            raise ValueError("it names a subject twice")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        why = f"what is signed is no statement about an image: {error}"
        raise fail("bad-statement", why, where=where, hint="do not use this image",
                   exit_code=ExitCode.FINDINGS) from error  # fmt: skip
    return found

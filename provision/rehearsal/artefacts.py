"""Everything a rehearsal installs, made and signed on this machine, and the lock that names it.

Layout of the folder, of which the rehearsal's origin serves the first three as they are::

    el10/x86_64/       signed RPMs and signed repository metadata
    images/            the engine's OCI archive
    models/tiny/       the model
    stack.lock.json    the stack lock
    private/           the signing key; never served
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from provision.core.events import EventSink
from provision.core.files import write_whole
from provision.rehearsal import (
    base,
    debs,
    el,
    elfiles,
    identity,
    model,
    oci,
    repodata,
    repository,
    rpms,
)
from provision.rehearsal.cache import digest_of, made_once, remove_tree, source_of
from provision.rehearsal.choice import Choice
from provision.rehearsal.recipe import Recipe
from provision.rehearsal.repodata import KEY_NAME, REPOSITORY, Filled


def artefacts(recipe: Recipe, choice: Choice, node_base: Path, events: EventSink) -> Path:
    """The folder of all artefacts for what was chosen, made once for each base.

    Raises:
        HoldfastError: a tool is missing or a build step failed.
    """
    modules = (base, debs, rpms, repository) if choice.base == "compat" else (el,)
    sources = [node_base.name.encode(), recipe.digest_source, Path(__file__).read_bytes()]
    sources += elfiles.texts()
    sources += source_of(*modules, identity, model, oci, repodata)
    if choice.engine_image is not None:
        sources.append(repodata.measure(choice.engine_image)["sha256"].encode())
    return made_once(
        f"artefacts-{choice.base}{choice.release}",
        digest_of(sources),
        lambda part: _build(recipe, choice, node_base, part),
        events,
        says="building and signing the repository, the engine image and the model",
    )


def _build(recipe: Recipe, choice: Choice, node_base: Path, part: Path) -> None:
    (part / "private").mkdir(mode=0o700)
    folder = part / f"el{choice.release}" / os.uname().machine
    folder.mkdir(parents=True)
    with repodata.short_way(part / "private") as private:
        key = repodata.make_key(private)
        if choice.base == "el":
            tree = node_base / "root"
            filled = el.fill(recipe, choice.release, tree, out=folder, private=private)
        else:
            filled = repository.fill(recipe, choice.release, node_base / "debs", folder, private)
        repodata.index(folder, private)
    (part / "images").mkdir()
    archive = part / "images/llama-cpp.tar"
    if choice.engine_image is not None:
        image = oci.adopt(choice.engine_image, archive)
    else:
        image = oci.build_engine_image(recipe, part / "private", archive)
        remove_tree(part / "private/engine")
    tiny = part / "models/tiny/tiny.gguf"
    tiny.parent.mkdir(parents=True)
    model.write_model(tiny)
    lock = _lock(choice.release, Filled(filled.rpms, {KEY_NAME: key, **filled.keys}), image, tiny)
    write_whole(part / "stack.lock.json", json.dumps(lock, indent=1, ensure_ascii=False) + "\n")


def _lock(release: str, filled: Filled, image: oci.Image, tiny: Path) -> dict[str, Any]:
    arch = os.uname().machine
    return {
        "schema": "holdfast.stack/1",
        "name": f"rehearsal-el{release}",
        "created": "2026-11-23T00:00:00Z",
        "origins": {
            "rehearsal": {
                "kind": "mirror",
                "address": "http://192.0.2.1:8000",
                "reason": "served by the rehearsal itself, inside its own network namespace",
            }
        },
        "keys": filled.keys,
        "repositories": [
            {
                "id": REPOSITORY,
                "name": "Holdfast rehearsal",
                "origin": "rehearsal",
                "path": f"el{release}/{arch}",
                "key": KEY_NAME,
                "release": release,
                "arch": arch,
            }
        ],
        "rpms": filled.rpms,
        "images": [
            {
                "name": oci.NAME,
                "reference": image.reference,
                "digest": image.digest,
                "arch": arch,
                "archive": {"path": "images/llama-cpp.tar", **repodata.measure(image.path)},
                "origin": "rehearsal",
                "licence": image.licence,
                "licence_class": "open",
                "reason": f"llama.cpp {image.version}: answers prompts on a CPU",
            }
        ],
        "models": [
            {
                "name": "tiny",
                "format": "gguf",
                "entry": "tiny.gguf",
                "path": "models/tiny",
                "files": [{"path": "tiny.gguf", **repodata.measure(tiny)}],
                "origin": "rehearsal",
                "licence": "Apache-2.0",
                "licence_class": "open",
                "reason": "made on the spot; proves the path from a prompt to an answer",
            }
        ],
        "wheels": [],
    }

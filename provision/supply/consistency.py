"""Whether the parts of a stack lock fit each other: names that must exist, pins that must be one.

Nothing here reads a file or looks at an artefact's bytes; see `provision.supply.artefacts`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping

from provision.core.jsonpos import JsonPath
from provision.core.names import suggest
from provision.supply.gpu.unit import unit_misfits
from provision.supply.misfit import Misfit
from provision.supply.model import StackLock
from provision.supply.openpgp import fingerprint


def misfits(lock: StackLock) -> list[Misfit]:
    """Everything in `lock` that does not fit, in no particular order."""
    return [
        *_unknown_names(lock),
        *_repeated(lock),
        *_keys(lock),
        *_rpms(lock),
        *_models(lock),
        *unit_misfits(lock),
    ]


def _unknown_names(lock: StackLock) -> Iterator[Misfit]:
    ids = {repository.id for repository in lock.repositories}
    wanted: list[tuple[JsonPath, str, str, Iterable[str]]] = []
    for i, repository in enumerate(lock.repositories):
        wanted.append((("repositories", i, "origin"), "origin", repository.origin, lock.origins))
        wanted.append((("repositories", i, "key"), "signing key", repository.key, lock.keys))
    for i, rpm in enumerate(lock.rpms):
        wanted.append((("rpms", i, "key"), "signing key", rpm.key, lock.keys))
        wanted.append((("rpms", i, "repository"), "repository", rpm.repository, ids))
    placed = {
        "images": [image.origin for image in lock.images],
        "models": [model.origin for model in lock.models],
        "wheels": [wheel.origin for wheel in lock.wheels],
    }
    for kind, origins in placed.items():
        for i, origin in enumerate(origins):
            wanted.append(((kind, i, "origin"), "origin", origin, lock.origins))
    for path, what, name, known in wanted:
        if name not in known:
            yield Misfit(
                path,
                f"unknown-{what.replace(' ', '-')}",
                f"no {what} is called {name!r}",
                suggest(name, known),
            )


def _repeated(lock: StackLock) -> Iterator[Misfit]:
    yield from _twice(
        (("repositories", i, "id"), (r.id, r.release, r.arch), f"repository {r.id!r}")
        for i, r in enumerate(lock.repositories)
    )
    yield from _twice(
        (("images", i, "name"), (m.name, m.arch), f"image {m.name!r} for {m.arch}")
        for i, m in enumerate(lock.images)
    )
    yield from _twice(
        (("models", i, "name"), m.name, f"model {m.name!r}") for i, m in enumerate(lock.models)
    )
    yield from _twice(
        (("wheels", i, "filename"), w.filename, f"wheel {w.filename!r}")
        for i, w in enumerate(lock.wheels)
    )
    # One name has one version: a role asks by name, and two answers would be a coin toss.
    yield from _twice(
        (("rpms", i, "name"), (r.name, r.arch, r.el), f"package {r.name}.{r.arch} for EL {r.el}")
        for i, r in enumerate(lock.rpms)
    )
    yield from _twice(
        (("gpu", i, "name"), (u.el, u.arch), f"the GPU unit of EL {u.el} {u.arch}")
        for i, u in enumerate(lock.gpu)
    )
    yield from _twice(
        (("models", i, "files", j, "path"), (i, f.path), f"file {f.path!r}")
        for i, m in enumerate(lock.models)
        for j, f in enumerate(m.files)
    )


def _twice(rows: Iterable[tuple[JsonPath, Hashable, str]]) -> Iterator[Misfit]:
    seen: set[Hashable] = set()
    for path, identity, what in rows:
        if identity in seen:
            yield Misfit(path, "duplicate-pin", f"{what} is pinned twice", "remove one of them")
        seen.add(identity)


def _keys(lock: StackLock) -> Iterator[Misfit]:
    for name, key in lock.keys.items():
        try:
            found = fingerprint(key.armored)
        except ValueError as error:
            message = f"the key {name!r} cannot be read: {error}"
            hint = "export it anew with `gpg --armor --export`"
            yield Misfit(("keys", name, "armored"), "bad-key", message, hint)
            continue
        if found != key.fingerprint.upper():
            message = f"the key {name!r} is not the one with this fingerprint; its own is {found}"
            hint = "find out which of the two is right before you trust either"
            yield Misfit(("keys", name, "fingerprint"), "wrong-key", message, hint)


def _rpms(lock: StackLock) -> Iterator[Misfit]:
    offered: Mapping[str, set[tuple[str, str]]] = {
        r.id: {(o.release, o.arch) for o in lock.repositories if o.id == r.id}
        for r in lock.repositories
    }
    for i, rpm in enumerate(lock.rpms):
        places = offered.get(rpm.repository)
        if places is None:
            continue  # named by _unknown_names
        if not any(rpm.el == el and rpm.arch in (arch, "noarch") for el, arch in places):
            known = ", ".join(sorted(f"EL {el} {arch}" for el, arch in places))
            message = f"{rpm.nevra} for EL {rpm.el} cannot lie in {rpm.repository!r} ({known})"
            hint = "name the repository of that release and architecture"
            yield Misfit(("rpms", i, "repository"), "wrong-repository", message, hint)


def _models(lock: StackLock) -> Iterator[Misfit]:
    for i, model in enumerate(lock.models):
        names = [f.path for f in model.files]
        if model.entry not in names:
            message = f"the entry {model.entry!r} is not among the model's files"
            hint = suggest(model.entry, names)
            yield Misfit(("models", i, "entry"), "unknown-entry", message, hint)

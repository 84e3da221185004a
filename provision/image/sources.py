"""Where an image's bytes come from: the base of a rehearsal, or what a stack lock pins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.files import sha256_of
from provision.core.problems import HoldfastError, fail
from provision.image.definition import Definition
from provision.image.work import Given
from provision.supply.lock import load_lock, lock_sha256
from provision.supply.model import StackLock

BASE_SCHEMA = "holdfast.image-base/1"


@dataclass(frozen=True)
class Source:
    """What there is to make an image of.

    `rpms` have name, epoch, version, release, arch, sha256, roles and licence; `installed_nevra`
    are the packages that the base already holds; `path` says where the file of an RPM lies; `lock`
    was read from `lock_file`, and `files` holds what it pins.
    """

    says: str
    digest: str
    rpms: Sequence[Mapping[str, Any]]
    path: Callable[[Mapping[str, Any]], Path]
    installed_nevra: frozenset[str] = frozenset()
    lock: StackLock | None = None
    lock_file: Path | None = None
    files: Path | None = None

    @property
    def installed(self) -> frozenset[str]:
        """The names of the packages that the base already holds."""
        return frozenset(nevra.rsplit("-", 2)[0] for nevra in self.installed_nevra)


def of(definition: Definition, given: Given) -> Source:
    """What this build was given to make the image of.

    Raises:
        HoldfastError: it was given nothing, or not what the definition's base asks for.
    """
    return _rehearsal(definition, given) if definition.base == "rehearsal" else _el(
        definition, given
    )  # fmt: skip


def _rehearsal(definition: Definition, given: Given) -> Source:
    if given.base is None:
        raise fail("no-base", "the base of a rehearsal's images was not given",
                   where=definition.name)  # fmt: skip
    folder = given.base
    text = (folder / "base.json").read_bytes()
    body = json.loads(text)
    if body.get("schema") != BASE_SCHEMA or body.get("release") != str(definition.release):
        raise fail("wrong-base", f"it is no base for images of release {definition.release}",
                   where=str(folder))  # fmt: skip
    own = Source(
        says=f"the rehearsal's image base ({body['made_of']})",
        digest=hashlib.sha256(text).hexdigest(),
        rpms=body["rpms"],
        path=lambda rpm: folder / "repo" / _filename(rpm),
        installed_nevra=frozenset(body["packages"]),
    )
    return own if given.lock is None else _with_lock(own, _el(definition, given))


def _with_lock(own: Source, locked: Source) -> Source:
    """A rehearsal's base with what only a stack lock names: drivers, models, engines."""
    names = {rpm["name"] for rpm in own.rpms} | own.installed
    more = [rpm for rpm in locked.rpms if rpm["name"] not in names]
    return replace(
        own,
        says=f"{own.says} and {locked.says}",
        digest=hashlib.sha256(f"{own.digest} {locked.digest}".encode()).hexdigest(),
        rpms=[*own.rpms, *more],
        path=lambda rpm: locked.path(rpm) if "path" in rpm else own.path(rpm),
        lock=locked.lock,
        files=locked.files,
        lock_file=locked.lock_file,
    )


def _el(definition: Definition, given: Given) -> Source:
    if given.lock is None or given.files is None:
        raise fail(
            "no-lock",
            f"{definition.name} is made of what a stack lock pins, and no stack lock names them"
            if given.lock is None
            else f"nothing holds the bytes that {given.lock} pins",
            hint="give --stack LOCK and --files DIR, the folder with what it pins; or --base"
            " rehearsal, without either",
            exit_code=ExitCode.USAGE,
        )
    lock, problems = load_lock(given.lock)
    if lock is None or problems:
        raise HoldfastError(problems, ExitCode.USAGE)
    release, files = str(definition.release), given.files
    places = {(one.id, one.release): one.path for one in lock.repositories}
    rpms = [
        {**rpm.model_dump(mode="json"), "path": f"{places[rpm.repository, rpm.el]}/{rpm.filename}"}
        for rpm in lock.rpms
        if rpm.el == release and rpm.arch in (definition.arch, "noarch")
    ]
    if not rpms:
        raise fail("empty-lock", f"it pins no package for release {release} {definition.arch}",
                   where=str(given.lock), exit_code=ExitCode.USAGE)  # fmt: skip
    return Source(
        says=f"the stack lock {lock.name}",
        digest=lock_sha256(given.lock),
        rpms=rpms,
        path=lambda rpm: files / rpm["path"],
        lock=lock,
        lock_file=given.lock,
        files=files,
    )


def _filename(rpm: Mapping[str, Any]) -> str:
    return f"{rpm['name']}-{rpm['version']}-{rpm['release']}.{rpm['arch']}.rpm"


def differs(path: Path, sha256: str) -> str | None:
    """Why a file is not the one that was pinned; None when it is."""
    try:
        seen = sha256_of(path)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return None if seen == sha256 else f"it is another file than was pinned: sha256 {seen}"


def locked(source: Source, definition: Definition) -> StackLock:
    """The stack lock.

    Raises:
        HoldfastError: the build was given none (exit code 2).
    """
    if source.lock is None:
        raise fail("no-lock", f"{definition.name} holds what only a stack lock names",
                   hint="give --stack LOCK and --files DIR, the folder with what it pins",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    return source.lock

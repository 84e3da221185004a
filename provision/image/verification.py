"""Whether a folder is the image that somebody signed: every byte of every file, offline."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from provision.core.exitcodes import ExitCode
from provision.core.files import sha256_of
from provision.core.problems import HoldfastError, Problem, fail
from provision.image.dsse import opened
from provision.image.manifest import (
    ENVELOPE,
    MANIFEST,
    SIGNED_BY_ENVELOPE,
    STATEMENT,
    Manifest,
    Part,
    parse_manifest,
)
from provision.image.statement import subjects

_AGAIN = "do not use this image; fetch it again from where it was built"
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Verified:
    """An image all of whose files are those that were signed."""

    folder: Path
    manifest: Manifest

    @property
    def bytes(self) -> int:
        """All of its files together."""
        return sum(part.size for part in self.manifest.parts)


def verify_image(folder: Path, key: ec.EllipticCurvePublicKey) -> Verified:
    """The image in `folder`, after every byte of it was compared with what `key` signed.

    Raises:
        HoldfastError: with a problem for each file that is not as it was signed, is missing, or
            was not signed (exit code 1), or because there is no image (exit code 2).
    """
    manifest, signed, problems = _opened(folder, key)
    for part in manifest.parts:
        why = _wrong(folder / part.name, part)
        if why:
            problems.append(_differs(folder / part.name, why))
    for name in sorted(_files(folder) - {*signed, *SIGNED_BY_ENVELOPE}):
        message = "this was not signed, and is no part of the image"
        problems.append(Problem("unsigned-file", message, where=str(folder / name),
                                hint="move it elsewhere"))  # fmt: skip
    if problems:
        raise HoldfastError(problems, ExitCode.FINDINGS)
    return Verified(folder, manifest)


def verify_manifest(folder: Path, key: ec.EllipticCurvePublicKey) -> Manifest:
    """The manifest of the image in `folder`, after what `key` signed; no other file is read.

    Raises:
        HoldfastError: it is not what was signed (exit code 1), or there is no image (2).
    """
    manifest, _, problems = _opened(folder, key)
    if problems:
        raise HoldfastError(problems, ExitCode.FINDINGS)
    return manifest


def _opened(
    folder: Path, key: ec.EllipticCurvePublicKey
) -> tuple[Manifest, dict[str, str], list[Problem]]:
    """The manifest, the sha256 of everything that was signed, and what of them does not fit."""
    payload = opened(_text(folder / ENVELOPE), key, str(folder / ENVELOPE))
    problems = []
    why = _not_the_payload(folder / STATEMENT, payload)
    if why:
        problems.append(_differs(folder / STATEMENT, why))
    signed = subjects(payload, str(folder / ENVELOPE))
    manifest = _manifest(folder, signed)
    named = {MANIFEST: manifest.digest, **{part.name: part.sha256 for part in manifest.parts}}
    if named != signed:
        problems.append(_differs(folder / MANIFEST, "it names other files than were signed"))
    return manifest, signed, problems


def _files(folder: Path) -> set[str]:
    """Everything below the folder that is no folder."""
    every = folder.rglob("*")
    return {p.relative_to(folder).as_posix() for p in every if p.is_symlink() or not p.is_dir()}


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MOST_BYTES)
    except OSError as error:
        raise fail("no-image", f"there is no signed image here: {path.name}: {error.strerror}",
                   hint="give the folder that `holdfast image build --out` wrote",
                   where=str(path.parent), exit_code=ExitCode.USAGE) from error  # fmt: skip
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise fail("bad-signature", "this is no envelope", where=str(path), hint=_AGAIN,
                   exit_code=ExitCode.FINDINGS) from error  # fmt: skip


def _not_the_payload(path: Path, payload: bytes) -> str:
    try:
        with path.open("rb") as stream:
            same = stream.read(len(payload) + 1) == payload
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return "" if same else "it is not the statement that was signed"


def _manifest(folder: Path, signed: dict[str, str]) -> Manifest:
    path = folder / MANIFEST
    try:
        if MANIFEST in signed and sha256_of(path) == signed[MANIFEST]:
            return parse_manifest(path.read_bytes(), str(path))
        why = "it is not the manifest that was signed"
    except OSError as error:
        why = f"it cannot be read: {error.strerror}"
    raise HoldfastError([_differs(path, why)], ExitCode.FINDINGS)


def _wrong(path: Path, part: Part) -> str:
    """Why a file is not the one that was signed; nothing where it is."""
    try:
        state = path.lstat()
        if not stat.S_ISREG(state.st_mode):
            return "it is not a regular file"
        if state.st_size != part.size:
            return f"it has {state.st_size} bytes, and {part.size} were signed"
        found = sha256_of(path)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return "" if found == part.sha256 else f"its sha256 is {found}, and {part.sha256} was signed"


def _differs(path: Path, why: str) -> Problem:
    return Problem("not-as-signed", f"not as it was signed: {why}", where=str(path), hint=_AGAIN)

"""Channels: which image of a name is the one to use, as small files that name its digest.

A store is a folder, of any kind that files can be served from::

    images/DIGEST/            an image, whole and verified
    channels/NAME/CHANNEL.json   which digest the channel names, and which it named before

Nothing gets there whose signature does not verify or whose gate did not pass. The files of an image
never change; publishing and rolling back move a pointer, which is replaced in one piece.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field, ValidationError

from provision.core.exitcodes import ExitCode
from provision.core.files import sync_directory, write_whole
from provision.core.locks import FileLock, Held
from provision.core.problems import fail
from provision.core.shapes import Listing, Model
from provision.image.manifest import Manifest, Sha256
from provision.image.sandbox import Sandbox
from provision.image.verification import Verified, verify_image, verify_manifest

CHANNELS = ("dev", "staging", "prod")
SCHEMA = "holdfast.image-channel/1"
_WAIT_S = 600


class Pointer(Model):
    """What a channel names: a digest, and those before it, the newest first."""

    schema_: Literal["holdfast.image-channel/1"] = Field(
        default="holdfast.image-channel/1", alias="schema"
    )
    name: str
    channel: str
    digest: Sha256
    before: Listing[Sha256] = ()

    def to_text(self) -> str:
        """The pointer as its file has it."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def publish(
    source: Path, store: Path, channel: str, key: ec.EllipticCurvePublicKey
) -> tuple[Pointer, Verified]:
    """Put the image in `source` into a store, and let `channel` name it.

    Raises:
        HoldfastError: it does not verify or its gate did not pass (exit code 1), or the store
            cannot be used (3).
    """
    # First what is read at once: disks are of many GiB.
    _require_gate(verify_manifest(source, key), source)
    verified = verify_image(source, key)
    manifest = verified.manifest
    with _locked(store):
        place = store / "images" / manifest.digest
        if not place.exists():
            _copy(verified, place, key)
        else:
            # What is there already may have changed since it was put there.
            verify_image(place, key)
        old = pointer(store, manifest.name, channel)
        if old is not None and old.digest == manifest.digest:
            return old, verified
        before = (old.digest, *old.before) if old is not None else ()
        new = Pointer(name=manifest.name, channel=channel, digest=manifest.digest, before=before)
        _write(store, new)
    return new, verified


def roll_back(
    store: Path, name: str, channel: str, key: ec.EllipticCurvePublicKey, digest: str | None = None
) -> Pointer:
    """Let a channel name the image that it named before, or the one of `digest` (its begin).

    Raises:
        HoldfastError: there is none, or it does not verify any more.
    """
    with _locked(store):
        old = pointer(store, name, channel)
        if old is None:
            raise fail("no-channel", f"{channel} names no image {name!r}", where=str(store),
                       hint="publish one first", exit_code=ExitCode.USAGE)  # fmt: skip
        found = [one for one in old.before if one.startswith(digest or "")]
        if not found:
            what = f"no image {digest}" if digest else "nothing"
            raise fail("no-earlier", f"{channel} named {what} before", where=str(store),
                       hint="publish the image that it is to name",
                       exit_code=ExitCode.USAGE)  # fmt: skip
        place = store / "images" / found[0]
        _require_gate(verify_image(place, key).manifest, place)
        # What is left of stays in the list: rolling back may be rolled back.
        before = (old.digest, *(one for one in old.before if one != found[0]))
        new = Pointer(name=name, channel=channel, digest=found[0], before=before)
        _write(store, new)
    return new


def pointer(store: Path, name: str, channel: str) -> Pointer | None:
    """What a channel names, or None where it names nothing yet.

    Raises:
        HoldfastError: its file is damaged (exit code 3).
    """
    path = _path(store, name, channel)
    try:
        found = Pointer.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise fail("bad-channel", "what the channel names cannot be read", where=str(path),
                   hint="publish the image that it is to name, after moving this file away"
                   ) from error  # fmt: skip
    if (found.name, found.channel) != (name, channel):
        raise fail("bad-channel", "this is another channel's file", where=str(path))
    return found


def pointers(store: Path) -> list[Pointer]:
    """Every channel of a store that names something."""
    folders = sorted(path for path in (store / "channels").glob("*") if path.is_dir())
    every = (pointer(store, folder.name, channel) for folder in folders for channel in CHANNELS)
    return [one for one in every if one is not None]


def _require_gate(manifest: Manifest, where: Path) -> None:
    gate = manifest.gate
    if gate.passed and gate.forced is None:
        return
    why = f"it was passed by force ({gate.forced})" if gate.forced else "it did not pass"
    raise fail("gate", f"this image is not published: {why}", where=str(where),
               hint="mend what the gate names, or waive it with owner and expiry, and build again",
               exit_code=ExitCode.FINDINGS)  # fmt: skip


def _copy(verified: Verified, place: Path, key: ec.EllipticCurvePublicKey) -> None:
    """Copy an image, and verify the copy before it gets its name."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=place.parent))
    try:
        # cp keeps the holes of a disk, most of which is empty.
        Sandbox((part,)).copy(verified.folder, part / "image")
        copied = verify_image(part / "image", key)
        if copied.manifest.digest != verified.manifest.digest:
            raise fail("changed", "the image changed while it was copied",
                       where=str(verified.folder))  # fmt: skip
        (part / "image").chmod(0o755)
        (part / "image").rename(place)
        sync_directory(place.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(store: Path, new: Pointer) -> None:
    path = _path(store, new.name, new.channel)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, new.to_text())


def _path(store: Path, name: str, channel: str) -> Path:
    return store / "channels" / name / f"{channel}.json"


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """One writer of a store at a time."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        with FileLock(store / ".lock", {"does": "publish"}, wait=_WAIT_S):
            yield
    except Held as held:
        raise fail("locked", f"another process publishes: {held.holder}", where=str(store),
                   hint="the lock ends with it") from held  # fmt: skip

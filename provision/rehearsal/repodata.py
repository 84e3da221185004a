"""A repository of RPMs, whoever made them: the key that signs it, its index, its lock entries."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.rehearsal.shell import run

KEY_NAME = "holdfast-rehearsal"
REPOSITORY = "holdfast-rehearsal"

_QUERY = "%{NAME}|%{EPOCHNUM}|%{VERSION}|%{RELEASE}|%{ARCH}"


@dataclass(frozen=True)
class Filled:
    """What a repository was filled with: the lock's entries for its RPMs, and for the keys that
    signed them.
    """

    rpms: list[dict[str, Any]]
    keys: dict[str, dict[str, str]]


def gpg(home: Path) -> list[str]:
    """The words of a gpg that asks nobody and keeps everything in `home`."""
    quiet = ("--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "")
    return ["gpg", "--homedir", os.fspath(home), *quiet]


@contextmanager
def short_way(home: Path) -> Iterator[Path]:
    """A short path that leads to `home`, for as long as the context lasts.

    gpg's agent listens on a socket in its home, whose path may have 107 bytes. The agent would
    stay when gpg is done, so it is ended with the context.
    """
    with tempfile.TemporaryDirectory(prefix="hf-") as folder:
        way = Path(folder) / "k"
        way.symlink_to(home.resolve())
        try:
            yield way
        finally:
            run(["gpgconf", "--homedir", way, "--kill", "gpg-agent"])


def make_key(home: Path) -> dict[str, str]:
    """Make this rehearsal's signing key in `home`; returns the lock's entry for it."""
    run([*gpg(home), "--quick-generate-key", f"{KEY_NAME} <rehearsal@holdfast.invalid>", "rsa3072",
         "sign", "never"])  # fmt: skip
    listing = run([*gpg(home), "--with-colons", "--list-keys"])
    fingerprint = next(row.split(":")[9] for row in listing.splitlines() if row.startswith("fpr"))
    return export(home, fingerprint)


def export(home: Path, fingerprint: str) -> dict[str, str]:
    """The lock's entry for a key that lies in `home`."""
    armored = run([*gpg(home), "--armor", "--export", fingerprint])
    return {"fingerprint": fingerprint, "armored": armored}


def index(folder: Path, home: Path) -> None:
    """Index the RPMs of `folder`, and sign the index with the key in `home`."""
    run(["createrepo_c", "--quiet", "--checksum", "sha256", folder])
    run([*gpg(home), "--local-user", KEY_NAME, "--detach-sign", "--armor",
         folder / "repodata/repomd.xml"])  # fmt: skip


def entry(rpm: Path, release: str, key: str) -> dict[str, Any]:
    """What the lock says of one RPM, without its roles, licence and reason."""
    said = run(["rpm", "-qp", "--nosignature", "--qf", _QUERY, rpm])
    name, epoch, version, revision, machine = said.split("|")
    return {
        "name": name, "epoch": int(epoch), "version": version, "release": revision,
        "arch": machine, **measure(rpm), "key": key, "repository": REPOSITORY, "el": release,
    }  # fmt: skip


def measure(path: Path) -> dict[str, Any]:
    """A file's sha256 and its size in bytes, under the lock's names."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"sha256": digest, "size": path.stat().st_size}

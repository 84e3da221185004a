# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Artefacts from an origin, named by their digest: whole and right, or not there at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from http.client import HTTPException
from typing import Any

from ansible.module_utils.urls import ConnectionError as UrlError
from ansible.module_utils.urls import open_url

_BLOCK = 1024 * 1024
_MARGIN = 64 * 1024 * 1024


class FetchError(Exception):
    """An artefact could not be had; the message says what, where and why, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def sha256(path: str) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def need_space(folder: str, size: int) -> None:
    """Check that `size` bytes and a margin fit below `folder`.

    Raises:
        FetchError: they do not.
    """
    place = folder
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    if free < size + _MARGIN:
        raise FetchError(
            "{0} has {1} MiB free, {2} MiB are needed".format(
                folder, free // 2**20, (size + _MARGIN) // 2**20
            ),
            "free or add space there, then run again",
        )


def fetch(url: str, path: str, digest: str, size: int, timeout: int = 60) -> None:
    """Fetch `url` into `path`; the file appears only when its SHA-256 is `digest`.

    `size` is what the file should have in bytes (0: unknown), `timeout` the seconds without an
    answer after which the origin counts as gone.

    Raises:
        FetchError: no answer, no space, or other content than the stack lock names.
    """
    partial = "{0}.partial.holdfast".format(path)
    seen = hashlib.sha256()
    count = 0
    try:
        need_space(os.path.dirname(path), size)
        with _open(url, timeout) as source, open(partial, "wb") as target:
            for block in iter(lambda: source.read(_BLOCK), b""):
                seen.update(block)
                count += len(block)
                if size and count > size:
                    break
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
        if seen.hexdigest() != digest:
            raise FetchError(
                "{0} is not what the stack lock names: expected sha256 {1} ({2} bytes), "
                "got {3} ({4} bytes)".format(url, digest, size or "?", seen.hexdigest(), count),
                "put the right file there, or correct the stack lock if the change is meant",
            )
        os.rename(partial, path)
    except OSError as error:
        raise _explain(error, url, path) from error
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def _open(url: str, timeout: int) -> Any:
    try:
        return open_url(url, timeout=timeout, http_agent="holdfast", use_netrc=False)
    except (OSError, ValueError, HTTPException, UrlError) as error:
        # HTTP status, DNS, refused, TLS, a damaged address: all mean the same here.
        raise FetchError(
            "{0} cannot be fetched: {1}".format(url, error),
            "check that this node reaches the origin and that the file is there",
        ) from error


def _explain(error: OSError, url: str, path: str) -> FetchError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FetchError(
            "no space left while {0} was written".format(path), "free space there, then run again"
        )
    return FetchError(
        "{0} could not be fetched to {1}: {2}".format(url, path, error),
        "check the origin and the disk, then run again",
    )

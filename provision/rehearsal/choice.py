"""What the nodes of a rehearsal are made of, decided before anything is fetched or built."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, fail
from provision.rehearsal.recipe import RELEASES
from provision.rehearsal.shell import run

_EL = {"rhel", "centos", "fedora"}
ENGINE_IMAGE = "HOLDFAST_ENGINE_IMAGE"
"""The variable that names an engine image for every rack that is given none: those of tests too."""


@dataclass(frozen=True)
class Choice:
    """The decision. `made_of` says it to people, `why` is why not otherwise ("" if asked for)."""

    base: Literal["el", "compat"]
    release: str
    made_of: str
    why: str = ""
    engine_image: Path | None = None


def choose(base: str, release: str | None, engine_image: Path | None = None) -> Choice:
    """Decide between EL's own packages and Debian's.

    Args:
        base: ``el``, ``compat``, or ``auto``: el where this host can, else compat.
        release: the major release; None is this host's own for el, else the newest.
        engine_image: an OCI archive to serve as the engine instead of building one; None is the
            one that `ENGINE_IMAGE` names, if it is set.

    Raises:
        HoldfastError: what was asked for cannot be had on this host, and why not.
    """
    said = "--engine-image"
    if engine_image is None and os.environ.get(ENGINE_IMAGE):
        engine_image, said = Path(os.environ[ENGINE_IMAGE]), ENGINE_IMAGE
    if engine_image is not None and not engine_image.is_file():
        raise fail("no-image", "there is no such file", where=str(engine_image),
                   hint=f"{said} has to name an OCI archive", exit_code=ExitCode.USAGE)  # fmt: skip
    host = _host()
    if base == "compat":
        return _compat(release, engine_image, "")
    refused = _not_el(host, release)
    unreachable = None if refused else _unreachable()
    if refused is None and unreachable is None:
        return _el(host, engine_image)
    why = refused or unreachable or ""
    if base == "el":
        raise fail(
            "no-el-base",
            f"nodes cannot be made of EL's own packages here: {why}",
            hint="--base compat makes them of Debian packages",
            exit_code=ExitCode.USAGE if refused else ExitCode.NOT_DONE,
        )
    if not _has_debian_tools():
        raise fail(
            "no-base",
            f"nodes can be made neither of EL's own packages ({why}) nor of Debian's "
            "(apt-get and mmdebstrap are not here)",
            hint="mend the first; the second needs a Debian or Ubuntu host",
        )
    return _compat(release, engine_image, why)


def _el(host: dict[str, str], engine_image: Path | None) -> Choice:
    if engine_image is None:
        raise fail(
            "no-engine-image",
            "EL has no package of the inference engine, and its image is built from Debian's "
            "archive, which is not reached from here",
            hint=f"give one with --engine-image FILE, or {ENGINE_IMAGE}=FILE: a rehearsal on a "
            "Debian host leaves it in its cache as images/llama-cpp.tar",
        )
    made_of = f"made of this host's own EL packages, {host.get('PRETTY_NAME', 'EL')}"
    return Choice("el", _major(host), made_of, engine_image=engine_image)


def _compat(release: str | None, engine_image: Path | None, why: str) -> Choice:
    made_of = "EL-compatible, made of Debian packages"
    return Choice("compat", release or max(RELEASES, key=int), made_of, why, engine_image)


def _host() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _major(host: dict[str, str]) -> str:
    return host.get("VERSION_ID", "").partition(".")[0]


def _not_el(host: dict[str, str], release: str | None) -> str | None:
    """Why this host is not one that could: a reason for people, or None."""
    name = host.get("PRETTY_NAME") or "a system without os-release"
    if not _EL & {host.get("ID", ""), *host.get("ID_LIKE", "").split()}:
        return f"this host is {name}, not EL"
    major = _major(host)
    if major not in RELEASES:
        return f"this host is {name}; nodes are EL {' or '.join(RELEASES)}"
    if release not in (None, major):
        return (f"this host is {name}, whose repositories hold release {major} and not the "
                f"release {release} that was asked for")  # fmt: skip
    if shutil.which("dnf") is None:
        return "dnf is not installed"
    return None


def _unreachable() -> str | None:
    """Why the host's repositories do not answer, or None when they do."""
    try:
        run(["dnf", "--quiet", "--refresh", "makecache"])
    except HoldfastError as error:
        return f"its repositories do not answer: {error.problems[0].message}"
    return None


def _has_debian_tools() -> bool:
    return all(shutil.which(name) for name in ("apt-get", "mmdebstrap"))

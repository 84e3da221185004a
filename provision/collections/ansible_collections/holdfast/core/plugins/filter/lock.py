# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Filters that read a stack lock: what a role needs out of it, and where it comes from.

Every filter takes the lock's path, or its content already read. They say in an error what is
missing from the lock and never guess another version.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from typing import Any

DOCUMENTATION = r"""
name: lock
short_description: Read what a role needs out of a stack lock
version_added: 0.1.0
description:
  - C(lock_packages) gives the packages of a role, C(lock_locked) every package of a release,
    C(lock_keys) the signing keys, C(lock_repositories) the repositories with their addresses,
    C(lock_installed) the names of what some roles install, C(lock_image) one image,
    C(lock_model) one model, C(lock_gpu) what nodes with GPUs get as one unit, C(lock_summary) the
    lock's name and digest.
options: {}
"""


class LockError(ValueError):
    """The stack lock does not hold what is asked for."""


@functools.lru_cache(maxsize=4)
def _load(path: str, stamp: tuple[int, int]) -> dict[str, Any]:
    """The lock at `path`; `stamp` makes a changed file a new entry in the cache."""
    del stamp
    with open(path, encoding="utf-8") as stream:
        body = json.load(stream)
    if not isinstance(body, dict):
        raise LockError("{0} is not a stack lock".format(path))
    return body


def read(lock: Any) -> dict[str, Any]:
    """The lock's content.

    Raises:
        LockError: the file cannot be read or is no stack lock.
    """
    if isinstance(lock, dict):
        return lock
    path = str(lock)
    try:
        state = os.stat(path)
        return _load(path, (state.st_mtime_ns, state.st_size))
    except (OSError, ValueError) as error:
        raise LockError("the stack lock {0} cannot be read: {1}".format(path, error)) from error


def address(body: dict[str, Any], origin: str, override: str | None) -> str:
    """The address of an origin without a slash at its end."""
    found = override or body.get("origins", {}).get(origin, {}).get("address")
    if not found:
        raise LockError("origin {0!r} has no address in the stack lock".format(origin))
    return str(found).rstrip("/")


def _for(entry: dict[str, Any], el: Any, arch: str) -> bool:
    return str(entry.get("el", el)) == str(el) and entry.get("arch") in (arch, "noarch")


def lock_locked(lock: Any, el: Any, arch: str) -> list[dict[str, Any]]:
    """Every package that the lock allows on a release and architecture."""
    return [package for package in read(lock).get("rpms", []) if _for(package, el, arch)]


def lock_packages(lock: Any, role: str, el: Any, arch: str) -> list[dict[str, Any]]:
    """The packages that a role installs."""
    return [p for p in lock_locked(lock, el, arch) if role in p.get("roles", [])]


def lock_installed(lock: Any, roles: list[str], el: Any, arch: str) -> list[str]:
    """Names of the packages that some roles install."""
    packages = [p for role in roles for p in lock_packages(lock, role, el, arch)]
    return sorted({str(p["name"]) for p in packages})


def lock_keys(lock: Any, el: Any, arch: str) -> list[dict[str, str]]:
    """The keys that sign the repositories of a release and architecture."""
    body = read(lock)
    names = {str(r["key"]) for r in _repositories(body, el, arch)}
    names |= {str(p["key"]) for p in lock_locked(body, el, arch) if p.get("key")}
    missing = sorted(names - set(body.get("keys", {})))
    if missing:
        raise LockError("key {0!r} is not in the stack lock".format(missing[0]))
    return [
        {
            "name": name,
            "fingerprint": str(body["keys"][name]["fingerprint"]),
            "armored": str(body["keys"][name]["armored"]),
        }
        for name in sorted(names)
    ]


def _repositories(body: dict[str, Any], el: Any, arch: str) -> list[dict[str, Any]]:
    found = []
    for entry in body.get("repositories", []):
        release = str(entry.get("release", el)).split(".")[0]
        if release == str(el) and entry.get("arch", arch) in (arch, "noarch"):
            found.append(entry)
    return found


def _subscribed(body: dict[str, Any], entry: dict[str, Any]) -> bool:
    return bool(body.get("origins", {}).get(entry["origin"], {}).get("kind") == "subscription")


def lock_repositories(
    lock: Any, el: Any, arch: str, override: str | None = None
) -> list[dict[str, str]]:
    """The repositories to write, with their addresses.

    Those of a subscription are written by the subscription manager; see `lock_subscribed`.
    """
    body = read(lock)
    found = []
    for entry in _repositories(body, el, arch):
        if _subscribed(body, entry) and not override:
            continue
        found.append(
            {
                "id": str(entry["id"]),
                "name": str(entry["name"]),
                "baseurl": _join(address(body, entry["origin"], override), entry.get("path", "")),
                "key": str(entry["key"]),
            }
        )
    return found


def lock_subscribed(lock: Any, el: Any, arch: str, override: str | None = None) -> list[str]:
    """Ids of the repositories that a subscription brings and that stay as they are."""
    body = read(lock)
    if override:
        return []
    return [str(e["id"]) for e in _repositories(body, el, arch) if _subscribed(body, e)]


def _join(base: str, path: str) -> str:
    return "{0}/{1}".format(base, path.strip("/")) if path else base


def lock_image(lock: Any, name: str, arch: str, override: str | None = None) -> dict[str, Any]:
    """One image: reference, digest, and where its archive lies."""
    body = read(lock)
    for entry in body.get("images", []):
        if entry["name"] == name and entry["arch"] == arch:
            archive = entry["archive"]
            return {
                "reference": entry["reference"],
                "digest": entry["digest"],
                "archive_url": _join(address(body, entry["origin"], override), archive["path"]),
                "archive_sha256": archive["sha256"],
                "archive_size": archive["size"],
            }
    raise LockError("the stack lock has no image {0!r} for {1}".format(name, arch))


def lock_model(lock: Any, name: str, override: str | None = None) -> dict[str, Any]:
    """One model: its files by digest, which of them is the entry, and where they lie."""
    body = read(lock)
    for entry in body.get("models", []):
        if entry["name"] == name:
            return {
                "name": entry["name"],
                "entry": entry["entry"],
                "url": _join(address(body, entry["origin"], override), entry["path"]),
                "files": [
                    {key: f[key] for key in ("path", "sha256", "size")} for f in entry["files"]
                ],
            }
    raise LockError("the stack lock has no model {0!r}".format(name))


def lock_gpu(lock: Any, el: Any, arch: str) -> dict[str, Any]:
    """What nodes with GPUs get: driver, provider, signer, stream, kernels, and packages by part.

    C(packages) are those that the driver needs; C(fabric) come with NVSwitch; C(toolkit) is for
    containers; C(pinned) are all of them, as name, epoch, version, release and architecture.
    """
    body = read(lock)
    for unit in body.get("gpu", []):
        if str(unit["el"]) == str(el) and unit["arch"] == arch:
            break
    else:
        raise LockError("the stack lock has no GPU unit for EL {0} on {1}".format(el, arch))
    packages = {_nevra(p): p for p in lock_locked(body, el, arch)}
    kernels = unit["kernels"]
    driver = [k.get(key) for key in ("kernel", "devel", "module") for k in kernels]
    fabric = [unit.get(key) for key in ("fabric_manager", "nscq")]
    toolkit = list(unit.get("toolkit", []))
    wanted = [*driver, *unit["userspace"]]
    return {
        "name": unit["name"],
        "driver": unit["driver"],
        "provider": unit["provider"],
        "signer": unit.get("signer") or "",
        "stream": unit.get("stream") or "",
        "kernels": [_release(packages[k["kernel"]]) for k in kernels],
        "packages": _named(packages, wanted),
        "fabric": _named(packages, fabric),
        "toolkit": _named(packages, toolkit),
        "pinned": _named(packages, [*wanted, *fabric, unit.get("imex"), *toolkit]),
    }


def _named(packages: dict[str, Any], names: list[Any]) -> list[dict[str, Any]]:
    missing = [name for name in names if name and name not in packages]
    if missing:
        raise LockError("{0} is not among the stack lock's RPMs".format(missing[0]))
    return [packages[name] for name in dict.fromkeys(n for n in names if n)]


def _nevra(package: dict[str, Any]) -> str:
    return "{name}-{epoch}:{version}-{release}.{arch}".format(**package)


def _release(kernel: dict[str, Any]) -> str:
    """What C(uname -r) says under a kernel."""
    flavour = str(kernel["name"])[len("kernel") : -len("core")].strip("-")
    release = "{version}-{release}.{arch}".format(**kernel)
    return "{0}+{1}".format(release, flavour) if flavour else release


def lock_summary(lock: Any, rack: str = "") -> dict[str, str]:
    """What a node records about where it comes from: names of rack and lock, the lock's digest."""
    body = read(lock)
    digest = ""
    if not isinstance(lock, dict):
        with open(str(lock), "rb") as stream:
            digest = hashlib.sha256(stream.read()).hexdigest()
    return {
        "schema": "holdfast.node/1",
        "rack": str(rack),
        "stack": str(body.get("name", "")),
        "stack_sha256": digest,
    }


class FilterModule:
    """Gives the filters to Ansible."""

    def filters(self) -> dict[str, Any]:
        """The filters by name."""
        return {
            "lock_locked": lock_locked,
            "lock_packages": lock_packages,
            "lock_keys": lock_keys,
            "lock_repositories": lock_repositories,
            "lock_subscribed": lock_subscribed,
            "lock_image": lock_image,
            "lock_model": lock_model,
            "lock_gpu": lock_gpu,
            "lock_summary": lock_summary,
            "lock_installed": lock_installed,
        }

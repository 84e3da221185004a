"""Nodes made of EL's own packages, taken from the repositories that this host itself uses.

No EL host was at hand: a real dnf has taken these commands against another repository, and all
else was tried with stand-ins. `holdfast rehearse --base el` on an EL host shows whether it holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provision.core.events import EventSink
from provision.core.problems import HoldfastError, fail
from provision.rehearsal import identity, repodata
from provision.rehearsal.cache import digest_of, made_once, source_of
from provision.rehearsal.recipe import Recipe
from provision.rehearsal.repodata import Filled
from provision.rehearsal.shell import run

_HOST = Path("/")
_REPOSITORIES = "etc/yum.repos.d"
_KEYS = "etc/pki/rpm-gpg"
_SIGNATURE = "%|RSAHEADER?{%{RSAHEADER:pgpsig}}:{%{DSAHEADER:pgpsig}}|"
# Package scripts write to these; without them they would make plain files of that name.
_DEVICES = {"null": ("1", "3"), "zero": ("1", "5"), "random": ("1", "8"), "urandom": ("1", "9")}
_ENABLED = ("NetworkManager.service", "dbus-broker.service", "sshd.service")
_MASKED = ("NetworkManager-wait-online.service", "console-getty.service", "getty@tty1.service")


def node_base(recipe: Recipe, release: str, events: EventSink, host: Path = _HOST) -> Path:
    """The folder of the base for `release`, whose ``root/`` is the tree. Built once and kept.

    Args:
        recipe: names the packages.
        release: this host's own major release.
        events: is told the step's start and end.
        host: the root below which the host's repositories and keys lie.

    Raises:
        HoldfastError: dnf or a tool failed.
    """
    sources = [recipe.digest_source, release.encode(), *source_of(identity)]
    sources.append(Path(__file__).read_bytes())
    sources += [path.read_bytes() for path in sorted((host / _REPOSITORIES).glob("*.repo"))]
    sources.append((host / "etc/os-release").read_bytes())
    return made_once(
        f"base-el{release}",
        digest_of(sources),
        lambda part: _build(recipe, release, part, host),
        events,
        says=f"building the node base for release {release} from this host's EL repositories",
    )


def fill(
    recipe: Recipe, release: str, tree: Path, *, out: Path, private: Path, host: Path = _HOST
) -> Filled:
    """Copy the packages that roles install, with what they need beyond `tree`, into `out`.

    The RPMs keep their vendor's signature, which is checked here against the keys that come with
    the release.

    Raises:
        HoldfastError: dnf failed, or a package is not signed by a key of the vendor's.
    """
    wanted = {
        recipe.el_name(name): entry
        for name, entry in recipe.repository.items()
        if entry.roles and (not entry.releases or release in entry.releases)
    }
    archs = f"{os.uname().machine},noarch"
    run([*_dnf(tree, release, host), "download", "--resolve", "--archlist", archs,
         "--destdir", out, *wanted])  # fmt: skip
    found = sorted(out.glob("*.rpm"))
    known = dict(_vendor_keys(tree, host))
    keys: dict[str, dict[str, str]] = {}
    entries: list[dict[str, Any]] = []
    for rpm in found:
        name, key = _signer(rpm, known, private)
        keys[name] = key
        row = repodata.entry(rpm, release, name)
        asked = wanted.get(row["name"])
        entries.append(
            {
                **row,
                "roles": list(asked.roles) if asked else [],
                "licence": run(["rpm", "-qp", "--nosignature", "--qf", "%{LICENSE}", rpm]),
                "licence_class": "open",
                "reason": asked.reason if asked else "needed by a package that roles install",
            }
        )
    lacking = sorted(set(wanted) - {row["name"] for row in entries})
    if lacking:
        raise fail("no-package", f"dnf downloaded no {', '.join(lacking)}", where=str(out),
                   hint="look with `dnf list --available`")  # fmt: skip
    _check_signatures(found, keys, private)
    return Filled(entries, keys)


def _dnf(tree: Path, release: str, host: Path) -> list[str]:
    """The words of dnf for `tree`: the repositories that the host has enabled, gpgcheck on."""
    pinned = host / "etc/dnf/vars/releasever"
    version = pinned.read_text().strip() if pinned.is_file() else release
    return ["dnf", "--quiet", "--assumeyes", f"--installroot={tree}", f"--releasever={version}",
            f"--setopt=reposdir={host / _REPOSITORIES}", "--setopt=gpgcheck=1",
            "--setopt=*.gpgcheck=1", "--setopt=install_weak_deps=0",
            "--setopt=tsflags=nodocs"]  # fmt: skip


def _build(recipe: Recipe, release: str, part: Path, host: Path) -> None:
    tree = part / "root"
    (tree / "dev").mkdir(parents=True)
    for name, numbers in _DEVICES.items():
        run(["mknod", "-m", "666", tree / "dev" / name, "c", *numbers])
    run([*_dnf(tree, release, host), "install", *recipe.el_base], log=part / "dnf.log")
    _say_what_it_is(tree)
    identity.write(tree / "etc/machine-id", "")
    identity.write(tree / "etc/resolv.conf", "")
    # Device managers of a container leave its interface alone, and so would NetworkManager.
    identity.write(
        tree / "etc/NetworkManager/conf.d/10-rehearsal.conf",
        "[main]\ndns=none\n\n[device-host0]\nmatch-device=interface-name:host0\nmanaged=1\n",
    )
    run(["systemctl", f"--root={tree}", "enable", *_ENABLED])
    run(["systemctl", f"--root={tree}", "mask", *_MASKED])
    identity.add_user(tree)


def _say_what_it_is(tree: Path) -> None:
    """Name the node a rehearsal in os-release; the release and its family stay the vendor's."""
    text = (tree / "etc/os-release").read_text()
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    vendor, pretty = found.get("ID", "").strip('"'), found.get("PRETTY_NAME", "EL").strip('"')
    like = found.get("ID_LIKE", "").strip('"')
    found["NAME"] = '"Holdfast Rehearsal"'
    found["ID"] = '"holdfast-rehearsal"'
    found["ID_LIKE"] = f'"{vendor} {like}"'
    found["PRETTY_NAME"] = f'"Holdfast rehearsal node ({pretty})"'
    lines = "".join(f"{name}={value}\n" for name, value in found.items())
    identity.write(tree / "etc/os-release", lines)
    identity.write(tree / "etc/motd", f"{pretty}: a simulated node, not hardware.\n")


def _vendor_keys(tree: Path, host: Path) -> Iterator[tuple[str, tuple[str, Path]]]:
    """Key id (16 hex digits, primary or signing subkey) to primary fingerprint and its file."""
    for folder in (host / _KEYS, tree / _KEYS):
        for path in sorted(folder.glob("*")):
            try:
                listing = run(["gpg", "--batch", "--show-keys", "--with-colons", path])
            except HoldfastError:
                continue  # a kind of key that this gpg does not know; a package may not need it
            primary = ""
            kind = ""
            for row in (line.split(":") for line in listing.splitlines()):
                if row[0] in ("pub", "sub"):
                    kind = row[0]
                elif row[0] == "fpr":
                    primary = row[9] if kind == "pub" else primary
                    yield row[9][-16:].lower(), (primary, path)


def _signer(
    rpm: Path, known: dict[str, tuple[str, Path]], private: Path
) -> tuple[str, dict[str, str]]:
    """The lock's name and entry for the key that signed `rpm`."""
    said = run(["rpm", "-qp", "--nosignature", "--qf", _SIGNATURE, rpm])
    found = re.search(r"Key ID ([0-9a-f]{16})", said)
    if found is None or found[1] not in known:
        which = f"signed by key {found[1]}" if found else "not signed"
        raise fail(
            "unknown-signer",
            f"{rpm.name} is {which}, and no file in /{_KEYS} holds its key",
            hint="install the package that brings the repository's key, or disable the repository",
        )
    fingerprint, path = known[found[1]]
    home = private / "vendor"
    home.mkdir(mode=0o700, exist_ok=True)
    run([*repodata.gpg(home), "--import", path])
    name = f"vendor-{path.name.removeprefix('RPM-GPG-KEY-')}-{fingerprint[-8:]}"
    return name, repodata.export(home, fingerprint)


def _check_signatures(found: list[Path], keys: dict[str, dict[str, str]], private: Path) -> None:
    """Hold every RPM against exactly the keys that the lock will name."""
    database = f"--dbpath={private / 'rpmdb'}"
    for name, key in keys.items():
        path = private / f"{name}.asc"
        path.write_text(key["armored"])
        run(["rpmkeys", database, "--import", path])
    run(["rpmkeys", database, "--define", "_pkgverify_level all", "--checksig", *found])

"""Everything a rehearsal installs, made and signed on this machine, and the lock that names it.

Layout of the folder, which the rehearsal's origin serves as it is::

    el10/x86_64/       signed RPMs and signed repository metadata
    images/            the engine's OCI archive
    models/tiny/       the model
    stack.lock.json    the stack lock
    private/           the signing key; never served
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from provision.core.events import EventSink
from provision.core.files import write_whole
from provision.rehearsal import base, model, oci, rpms
from provision.rehearsal.cache import digest_of, made_once, remove_tree
from provision.rehearsal.recipe import Recipe
from provision.rehearsal.shell import run

KEY_NAME = "holdfast-rehearsal"
REPOSITORY = "holdfast-rehearsal"


def artefacts(recipe: Recipe, release: str, node_base: Path, events: EventSink) -> Path:
    """The folder of all artefacts for `release`, made once for each base.

    Raises:
        HoldfastError: a tool is missing or a build step failed.
    """
    sources = [node_base.name.encode(), recipe.digest_source]
    sources += [Path(module.__file__ or "").read_bytes() for module in (base, rpms, oci, model)] + [
        Path(__file__).read_bytes()
    ]
    return made_once(
        f"artefacts-{release}",
        digest_of(sources),
        lambda part: _build(recipe, release, node_base, part),
        events,
        says="building and signing the repository, the engine image and the model",
    )


def _build(recipe: Recipe, release: str, node_base: Path, part: Path) -> None:
    arch = os.uname().machine
    private = part / "private"
    private.mkdir(mode=0o700)
    fingerprint, armored = _make_key(private)
    repository = part / f"el{release}" / arch
    repository.mkdir(parents=True)
    locked_rpms = _repository(recipe, release, node_base / "debs", repository, private)
    (part / "images").mkdir()
    image = oci.build_engine_image(recipe, private, part / "images/llama-cpp.tar")
    remove_tree(private / "engine")
    folder = part / "models/tiny"
    folder.mkdir(parents=True)
    model.write_model(folder / "tiny.gguf")
    lock = {
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
        "keys": {KEY_NAME: {"fingerprint": fingerprint, "armored": armored}},
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
        "rpms": locked_rpms,
        "images": [
            {
                "name": oci.NAME,
                "reference": oci.REFERENCE,
                "digest": image.digest,
                "arch": arch,
                "archive": {"path": "images/llama-cpp.tar", **_measure(image.path)},
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
                "files": [{"path": "tiny.gguf", **_measure(folder / "tiny.gguf")}],
                "origin": "rehearsal",
                "licence": "Apache-2.0",
                "licence_class": "open",
                "reason": "made on the spot; proves the path from a prompt to an answer",
            }
        ],
        "wheels": [],
    }
    write_whole(part / "stack.lock.json", json.dumps(lock, indent=1, ensure_ascii=False) + "\n")


def _make_key(home: Path) -> tuple[str, str]:
    """A signing key for this rehearsal; returns its fingerprint and public half."""
    gpg = _gpg(home)
    run([*gpg, "--quick-generate-key", f"{KEY_NAME} <rehearsal@holdfast.invalid>", "rsa3072",
         "sign", "never"])  # fmt: skip
    listing = run([*gpg, "--with-colons", "--list-keys"])
    fingerprint = next(row.split(":")[9] for row in listing.splitlines() if row.startswith("fpr"))
    return fingerprint, run([*gpg, "--armor", "--export", fingerprint])


def _gpg(home: Path) -> list[str]:
    quiet = ("--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "")
    return ["gpg", "--homedir", os.fspath(home), *quiet]


def _repository(
    recipe: Recipe, release: str, debs: Path, out: Path, private: Path
) -> list[dict[str, Any]]:
    """Make the signed repository; returns the lock's entries for its RPMs."""
    tree = private / "buildroot"
    tree.mkdir()
    packages = [_package(recipe, deb, tree) for deb in sorted(debs.glob("*.deb"))]
    names = {package.name for package in packages}
    packages = [_within(package, names) for package in packages]
    _bridge(tree)
    built = rpms.build_rpms("repository", packages, tree, out, major=release, compress=True)
    remove_tree(tree)
    remove_tree(out / ".build")
    macros = {
        "_gpg_name": KEY_NAME,
        "__gpg": shutil.which("gpg"),
        "_gpg_sign_cmd_extra_args": "--batch --pinentry-mode loopback --passphrase ''",
    }
    defined = [word for name, text in macros.items() for word in ("--define", f"{name} {text}")]
    run(
        ["rpmsign", "--addsign", *defined, *built],
        env={"GNUPGHOME": os.fspath(private), "GPG_TTY": ""},
    )
    run(["createrepo_c", "--quiet", "--checksum", "sha256", out])
    run([*_gpg(private), "--detach-sign", "--armor", out / "repodata/repomd.xml"])
    by_name = {package.name: package for package in packages}
    wanted = {recipe.el_name(name): entry for name, entry in recipe.repository.items()}
    entries = []
    for path in built:
        name, epoch, version, revision, machine = run(
            ["rpm", "-qp", "--nosignature", "--qf",
             "%{NAME}|%{EPOCH}|%{VERSION}|%{RELEASE}|%{ARCH}", path]
        ).split("|")  # fmt: skip
        reason = wanted[name].reason if name in wanted else _needed_by(name, packages)
        entries.append(
            {
                "name": name, "epoch": int(epoch), "version": version, "release": revision,
                "arch": machine, **_measure(path), "key": KEY_NAME, "repository": REPOSITORY,
                "el": release, "roles": list(wanted[name].roles) if name in wanted else [],
                "licence": by_name[name].licence, "licence_class": "open", "reason": reason,
            }
        )  # fmt: skip
    return entries


def _package(recipe: Recipe, deb: Path, tree: Path) -> rpms.Package:
    """Unpack a Debian package into the common build root and describe it as an RPM."""
    fields = dict(
        line.split(": ", 1)
        for line in run(
            ["dpkg-deb", "--field", deb, "Package", "Version", "Source", "Depends"]
        ).splitlines()
        if ": " in line
    )
    summary = run(["dpkg-deb", "--field", deb, "Description"]).splitlines()[0]
    payload = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", os.fspath(deb)], check=True, capture_output=True
    ).stdout
    unpack = ["tar", "-C", os.fspath(tree), "--extract", "--keep-directory-symlink"]
    subprocess.run([*unpack, *_LEFT_OUT], input=payload, check=True)
    listing = subprocess.run(["tar", "--list"], input=payload, check=True, capture_output=True)
    names = listing.stdout.decode()
    name = fields["Package"]
    needs = [part.split("|")[0].split("(")[0].split(":")[0].strip()
             for part in fields.get("Depends", "").split(",") if part.strip()]  # fmt: skip
    return rpms.Package(
        name=recipe.el_name(name),
        source=fields.get("Source", name).split(" ")[0],
        debian_version=fields["Version"],
        summary=summary,
        licence=base.licence_of(tree / f"usr/share/doc/{name}/copyright"),
        paths=tuple(_renamed(path[1:].rstrip("/")) for path in names.splitlines() if len(path) > 2)
        + _BRIDGED.get(name, ()),
        requires=tuple(recipe.el_name(need) for need in needs),
        post=recipe.scripts.get(name, ""),
    )


def _within(package: rpms.Package, names: set[str]) -> rpms.Package:
    """The package, requiring only what the repository itself brings."""
    requires = tuple(name for name in package.requires if name in names)
    return rpms.Package(**{**package.__dict__, "requires": requires})


_FIREWALL_POLICY = "org.fedoraproject.FirewallD1"
_LEFT_OUT = ("--exclude=./usr/share/man", "--exclude=./usr/share/locale", "--exclude=./etc/init.d",
             "--exclude=./var/lib/chrony")  # fmt: skip

_BRIDGED: dict[str, tuple[str, ...]] = {
    "chrony": ("/etc/chrony.conf", "/etc/chrony.keys", "/etc/sysconfig/chronyd",
               "/usr/lib/systemd/system/chronyd.service"),
    "firewalld": (f"/usr/share/polkit-1/actions/{_FIREWALL_POLICY}.policy",),
}  # fmt: skip
"""Paths that `_bridge` adds to a package."""

_RENAMES = {
    "/etc/chrony/chrony.conf": "/etc/chrony.conf",
    "/etc/chrony/chrony.keys": "/etc/chrony.keys",
    "/usr/lib/systemd/system/chrony.service": "/usr/lib/systemd/system/chronyd.service",
    "/lib/systemd/system/chrony.service": "/usr/lib/systemd/system/chronyd.service",
}


def _renamed(path: str) -> str:
    return _RENAMES.get(path, path)


def _bridge(tree: Path) -> None:
    """EL's unit and configuration names for the packages where Debian's differ."""
    for stale in ("etc/chrony", "usr/lib/systemd/system/chrony.service"):
        path = tree / stale
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # Debian chooses the policy when the package is configured; EL ships the server's.
    actions = tree / "usr/share/polkit-1/actions"
    shutil.copyfile(actions / f"{_FIREWALL_POLICY}.server.policy.choice",
                    actions / f"{_FIREWALL_POLICY}.policy")  # fmt: skip
    etc = tree / "etc"
    (etc / "sysconfig").mkdir(parents=True, exist_ok=True)
    settings = ("driftfile /var/lib/chrony/drift", "makestep 1.0 3")
    (etc / "chrony.conf").write_text("\n".join(settings) + "\n")
    (etc / "chrony.keys").write_text("")
    (etc / "chrony.keys").chmod(0o640)
    # A node shares its host's clock and must not set it: chronyd follows without stepping.
    (etc / "sysconfig/chronyd").write_text('OPTIONS="-x"\n')
    unit = tree / "usr/lib/systemd/system/chronyd.service"
    unit.write_text(
        "[Unit]\nDescription=NTP client/server\nAfter=network.target\n\n"
        "[Service]\nType=forking\nPIDFile=/run/chrony/chronyd.pid\n"
        "EnvironmentFile=-/etc/sysconfig/chronyd\n"
        "ExecStart=/usr/sbin/chronyd -u chrony -f /etc/chrony.conf $OPTIONS\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def _needed_by(name: str, packages: Sequence[rpms.Package]) -> str:
    users = sorted(package.name for package in packages if name in package.requires)
    return f"needed by {', '.join(users)}" if users else "comes with the repository"


def _measure(path: Path) -> dict[str, Any]:
    body = path.read_bytes()
    return {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}

"""The compat repository: Debian packages as signed RPMs under EL's names.

What EL and Debian call or place differently is bridged here and in `identity`, never in a role.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from provision.rehearsal import base, debs, elfiles, repodata, rpms
from provision.rehearsal.cache import remove_tree
from provision.rehearsal.debs import Deb
from provision.rehearsal.recipe import Recipe
from provision.rehearsal.repodata import Filled
from provision.rehearsal.shell import run


def fill(recipe: Recipe, release: str, folder: Path, out: Path, private: Path) -> Filled:
    """Rebuild the Debian packages in `folder` as RPMs in `out`, signed with the key in `private`.

    Raises:
        HoldfastError: a tool is missing or failed.
    """
    tree = private / "buildroot"
    tree.mkdir()
    found = [debs.read(path) for path in sorted(folder.glob("*.deb"))]
    packages = rpms.merged([_package(recipe, deb, tree) for deb in found])
    names = {package.name for package in packages}
    packages = [_within(package, names) for package in packages]
    _bridge(tree)
    elfiles.leave_out(tree, recipe)
    elfiles.lay_out(tree, [name for name in elfiles.packages() if name in names])
    elfiles.include_as_el(tree)
    built = rpms.build_rpms("repository", packages, tree, out, major=release, compress=True)
    remove_tree(tree)
    remove_tree(out / ".build")
    sign(built, private)
    by_name = {package.name: package for package in packages}
    wanted = {recipe.el_name(name): entry for name, entry in recipe.repository.items()}
    entries: list[dict[str, Any]] = []
    for path in built:
        row = repodata.entry(path, release, repodata.KEY_NAME)
        name = row["name"]
        asked = wanted.get(name)
        entries.append(
            {
                **row,
                "roles": list(asked.roles) if asked else [],
                "licence": by_name[name].licence,
                "licence_class": "open",
                "reason": asked.reason if asked else _needed_by(name, packages),
            }
        )
    return Filled(entries, {})


def sign(built: Sequence[Path], private: Path) -> None:
    """Sign RPMs with the rehearsal's key, which lies in `private`."""
    macros = {
        "_gpg_name": repodata.KEY_NAME,
        "__gpg": shutil.which("gpg"),
        "_gpg_sign_cmd_extra_args": "--batch --pinentry-mode loopback --passphrase ''",
    }
    defined = [word for name, text in macros.items() for word in ("--define", f"{name} {text}")]
    run(
        ["rpmsign", "--addsign", *defined, *built],
        env={"GNUPGHOME": os.fspath(private), "GPG_TTY": ""},
    )


def _package(recipe: Recipe, deb: Deb, tree: Path) -> rpms.Package:
    """Unpack a Debian package into the common build root and describe it as an RPM."""
    paths = debs.unpack(deb, tree, recipe.only.get(deb.name, ()))
    return rpms.Package(
        name=recipe.el_name(deb.name),
        source=deb.source,
        debian_version=deb.version,
        summary=deb.summary,
        licence=base.licence_of(tree / f"usr/share/doc/{deb.name}/copyright"),
        paths=tuple(_renamed(path) for path in paths) + _BRIDGED.get(deb.name, ()),
        requires=tuple(recipe.el_name(need) for need in deb.needs),
        post=recipe.scripts.get(deb.name, ""),
    )


def _within(package: rpms.Package, names: set[str]) -> rpms.Package:
    """The package with EL's files, requiring only what the repository itself brings."""
    requires = (name for name in package.requires if name in names and name != package.name)
    paths = package.paths + elfiles.paths_of(package.name)
    return replace(package, requires=tuple(dict.fromkeys(requires)), paths=paths)


_FIREWALL_POLICY = "org.fedoraproject.FirewallD1"

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

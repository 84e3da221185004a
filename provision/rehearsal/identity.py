"""Presents a Debian tree with EL's interfaces, and says in the tree that it is a rehearsal.

Differences between Debian and EL are bridged here and in the RPMs' contents, never in a role.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from provision.rehearsal.recipe import RELEASES
from provision.rehearsal.shell import run

USER = "rack"
"""The unprivileged account that Ansible logs in with; sudo needs no password, as with a key."""

_MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_reap.service",
    "getty@tty1.service",
    "systemd-networkd-wait-online.service",
)

_NOT_ON_EL = (
    "etc/debian_version",
    "etc/apt",
    "usr/bin/apt",
    "usr/bin/apt-cache",
    "usr/bin/apt-get",
    "usr/bin/dpkg",
    "usr/bin/dpkg-query",
    "usr/sbin/policy-rc.d",
    "var/lib/apt",
    "var/cache/apt",
)


def present_as_el(tree: Path, release: str) -> None:
    """Give `tree` the identity of a rehearsal node of major `release` ("9" or "10")."""
    version = RELEASES[release]
    name = f"Holdfast rehearsal node {version}"
    write(
        tree / "etc/os-release",
        'NAME="Holdfast Rehearsal"\n'
        f'VERSION="{version} (EL-compatible, built from Debian packages)"\n'
        'ID="holdfast-rehearsal"\n'
        'ID_LIKE="rhel centos fedora"\n'
        f'VERSION_ID="{version}"\n'
        f'PLATFORM_ID="platform:el{release}"\n'
        f'PRETTY_NAME="{name} (EL-compatible, built from Debian packages)"\n',
    )
    # ansible-core recognises an EL family by the words "Red Hat" in this file.
    write(
        tree / "etc/redhat-release",
        f"Holdfast rehearsal node (Red Hat Enterprise Linux compatible) release {version}\n",
    )
    write(tree / "etc/motd", f"{name}: a simulated node, not hardware.\n")
    write(tree / "etc/dnf/vars/releasever", f"{release}\n")
    # With a resolver that cannot be reached every dnf call waits ten seconds.
    write(tree / "etc/resolv.conf", "")
    for folder in ("etc/yum.repos.d", "etc/pki/rpm-gpg"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    _units(tree)
    add_user(tree)
    for path in _NOT_ON_EL:
        _remove(tree / path)
    write(tree / "etc/machine-id", "")
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()


def _units(tree: Path) -> None:
    """EL's unit names and locations, with Debian's as alias."""
    units = tree / "usr/lib/systemd/system"
    (units / "ssh.service").rename(units / "sshd.service")
    text = (units / "sshd.service").read_text().replace("Alias=sshd.service", "Alias=ssh.service")
    write(units / "sshd.service", text)
    enabled = tree / "etc/systemd/system"
    wants = enabled / "multi-user.target.wants"
    for stale in (wants / "ssh.service", enabled / "sshd.service", enabled / "ssh.service"):
        _remove(stale)
    wants.mkdir(parents=True, exist_ok=True)
    for unit in ("sshd.service", "systemd-networkd.service"):
        _remove(wants / unit)
        (wants / unit).symlink_to(f"/usr/lib/systemd/system/{unit}")
    # systemd would make a second unit out of a SysV script whose unit has another name.
    for script in (*(tree / "etc/init.d").glob("*"), *tree.glob("etc/rc?.d/*")):
        _remove(script)
    # A node boots into a namespace of its own; nothing to wait for.
    for unit in _MASKED:
        _remove(enabled / unit)
        (enabled / unit).symlink_to("/dev/null")
    (tree / "etc/sysconfig").mkdir(exist_ok=True)
    write(
        tree / "etc/ssh/sshd_config.d/50-redhat.conf",
        "PasswordAuthentication no\nUsePAM yes\nUseDNS no\nPrintMotd no\n",
        mode=0o600,
    )


def add_user(tree: Path) -> None:
    """Add the account that Ansible logs in with."""
    run(["chroot", tree, "groupadd", "--force", "--system", "wheel"])
    options = ("--create-home", "--groups", "wheel", "--shell", "/bin/bash")
    run(["chroot", tree, "useradd", *options, USER])
    write(tree / "etc/sudoers.d/rehearsal", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Put a file of the node base in place of whatever was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(path)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

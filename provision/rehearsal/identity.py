"""Presents a Debian tree with EL's interfaces, and says in the tree that it is a rehearsal.

Differences between Debian and EL are bridged here and in the RPMs' contents, never in a role.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from provision.rehearsal import elfiles
from provision.rehearsal.elfiles import remove
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


RELEASE_FILES = (
    "/etc/issue",
    "/etc/issue.net",
    "/etc/os-release",
    "/etc/redhat-release",
    "/etc/system-release",
    "/usr/lib/os-release",
)
"""What the RPM redhat-release has."""

_SHADOW = 42
"""Debian's group shadow, which is the same number everywhere."""

ENABLED = ("auditd", "crond", "rsyslog", "sshd", "systemd-networkd")


def present_as_el(tree: Path, release: str, names: Iterable[str]) -> None:
    """Give `tree`, which holds the RPMs `names`, the identity of a rehearsal node.

    Args:
        tree: a Debian root.
        release: the major release, "9" or "10".
        names: the RPM names of what it holds.
    """
    version = RELEASES[release]
    name = f"Holdfast rehearsal node {version}"
    elfiles.lay_out(tree, [one for one in elfiles.packages() if one in {*names, "setup"}])
    elfiles.include_as_el(tree)
    _accounts(tree, release)
    (tree / "etc/os-release").unlink(missing_ok=True)
    (tree / "etc/os-release").symlink_to("../usr/lib/os-release")
    write(
        tree / "usr/lib/os-release",
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
    (tree / "etc/system-release").unlink(missing_ok=True)
    (tree / "etc/system-release").symlink_to("redhat-release")
    write(tree / "etc/issue", "\\S\nKernel \\r on \\m\n\n")
    write(tree / "etc/issue.net", "\\S\nKernel \\r on \\m\n")
    write(tree / "etc/motd", f"{name}: a simulated node, not hardware.\n")
    write(tree / "etc/dnf/vars/releasever", f"{release}\n")
    # With a resolver that cannot be reached every dnf call waits ten seconds.
    write(tree / "etc/resolv.conf", "")
    for folder in ("etc/yum.repos.d", "etc/pki/rpm-gpg"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("proc", "sys"):
        (tree / folder).chmod(0o555)
    _units(tree)
    add_user(tree)
    _hide_passwords(tree)
    for path in _NOT_ON_EL:
        remove(tree / path)
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
    for stale in (wants / "ssh.service", enabled / "sshd.service", enabled / "ssh.service",
                  wants / "cronie.service"):  # fmt: skip
        remove(stale)
    wants.mkdir(parents=True, exist_ok=True)
    for unit in ENABLED:
        remove(wants / f"{unit}.service")
        (wants / f"{unit}.service").symlink_to(f"/usr/lib/systemd/system/{unit}.service")
    # A node boots into a namespace of its own; nothing to wait for.
    for unit in _MASKED:
        remove(enabled / unit)
        (enabled / unit).symlink_to("/dev/null")


def _accounts(tree: Path, release: str) -> None:
    """EL's way of logging in: authselect's default profile, and what belongs to it."""
    (tree / "usr/libexec").mkdir(exist_ok=True)
    if not (tree / "usr/libexec/openssh").exists():
        (tree / "usr/libexec/openssh").symlink_to("../lib/openssh")
    profiles = tree / "usr/share/authselect/default"
    if release == "9":
        # What release 10 calls local, and hashes with yescrypt.
        shutil.copytree(profiles / "local", profiles / "minimal")
        for path in (*profiles.glob("*/*-auth"), tree / "etc/login.defs"):
            text = path.read_text(encoding="utf-8")
            text = text.replace("pam_unix.so yescrypt", "pam_unix.so sha512")
            path.write_text(text.replace("YESCRYPT", "SHA512"), encoding="utf-8")
        # Its SSH server keeps host keys in a group of their own.
        run(["chroot", tree, "groupadd", "--force", "--system", "ssh_keys"])
        _load_audit_rules(tree / "usr/lib/systemd/system/auditd.service")
    for path in profiles.glob("*/postlogin"):
        # Debian has no pam_lastlog; a dash leaves a module that is not there out in silence.
        text = re.sub(r"^(?=session .*pam_lastlog\.so)", "-", path.read_text(), flags=re.MULTILINE)
        path.write_text(text, encoding="utf-8")
    chosen = "minimal" if release == "9" else "local"
    run(["chroot", tree, "authselect", "select", chosen, "--force", "--nobackup"])


def _load_audit_rules(unit: Path) -> None:
    """Let the audit daemon's own unit load the rules, as release 9 does; 10 has a second unit."""
    text = unit.read_text(encoding="utf-8").replace("Requires=audit-rules.service\n", "")
    start = "ExecStart=/usr/sbin/auditd\n"
    text = text.replace(start, start + "ExecStartPost=-/sbin/augenrules --load\n")
    unit.write_text(text.replace(" audit-rules.service\n", "\n", 1), encoding="utf-8")


def _hide_passwords(tree: Path) -> None:
    """Nobody but root may read passwords: EL has no group for it, as Debian has."""
    for name in ("shadow", "shadow-", "gshadow", "gshadow-"):
        if (tree / "etc" / name).exists():
            os.chown(tree / "etc" / name, 0, 0)
            (tree / "etc" / name).chmod(0)
    for path in (tree / "usr/bin", tree / "usr/sbin"):
        for program in path.iterdir():
            info = program.lstat()
            if (
                stat.S_ISREG(info.st_mode)
                and info.st_mode & stat.S_ISGID
                and info.st_gid == _SHADOW
            ):
                os.chown(program, 0, 0)
                program.chmod(0o4755)


def add_user(tree: Path) -> None:
    """Add the account that Ansible logs in with."""
    run(["chroot", tree, "groupadd", "--force", "--system", "wheel"])
    options = ("--create-home", "--groups", "wheel", "--shell", "/bin/bash")
    run(["chroot", tree, "useradd", *options, USER])
    write(tree / "etc/sudoers.d/rehearsal", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Put a file of the node base in place of whatever was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(path)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)

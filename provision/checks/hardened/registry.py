"""The types of resources: what each looks at, what a probe is told, and who judges it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provision.checks.hardened import access, audit, files, system
from provision.checks.hardened.declared import Control
from provision.checks.hardened.judging import CONDITIONS, Judge
from provision.checks.hardened.outcome import Resource
from provision.verdict.model import Severity

Part = tuple[str, str]
"""A probe's area and a part of it."""


@dataclass(frozen=True)
class Kind:
    """A type of resource: `asks` says, for a resource, what each part is told to look at."""

    judge: Judge
    things: str
    means: str
    asks: Callable[[Resource], dict[Part, list[Any]]]
    severity: Severity = Severity.HIGH


def _whole(*parts: Part) -> Callable[[Resource], dict[Part, list[Any]]]:
    """Nothing has to be named: the part is one thing."""
    return lambda _resource: {part: [] for part in parts}


def _key(part: Part, key: str) -> Callable[[Resource], dict[Part, list[Any]]]:
    """The part is told the names that stand in a field."""

    def asks(resource: Resource) -> dict[Part, list[Any]]:
        value = resource[key]
        return {part: value if isinstance(value, list) else [value]}

    return asks


def _file(resource: Resource) -> dict[Part, list[Any]]:
    asked = {"path": resource["path"], "recurse": bool(resource.get("recurse"))}
    return {(files.AREA, "files"): [asked]}


def _line(resource: Resource) -> dict[Part, list[Any]]:
    path = resource["path"]
    asked: dict[Part, list[Any]] = {(files.AREA, "texts"): [path]}
    if path.startswith(files.SUDOERS):
        asked[files.AREA, "views"] = ["sudoers"]
    if path.startswith(files.LIMITS):
        asked[files.AREA, "views"] = ["limits"]
    return asked


def _setting(resource: Resource) -> dict[Part, list[Any]]:
    view = files.view_of(resource["path"])
    if view:
        return {(files.AREA, "views"): [view]}
    return {(files.AREA, "texts"): [resource["path"]]}


def _umask(_resource: Resource) -> dict[Part, list[Any]]:
    return {(files.AREA, "umask"): [], (files.AREA, "texts"): ["/etc/login.defs"]}


S, F, A = system.AREA, files.AREA, access.AREA

KINDS: dict[str, Kind] = {
    "sysctl": Kind(
        system.sysctl,
        "kernel settings",
        "/proc/sys and systemd-sysctl",
        _key((S, "sysctl"), "name"),
    ),
    "sshd": Kind(access.sshd, "options of the SSH server", "sshd -T", _whole((A, "sshd"))),
    "setting": Kind(
        files.setting, "settings of programs", "the programs' own readers and files", _setting
    ),
    "line": Kind(files.line, "lines of files", "the programs' own readers and files", _line),
    "content": Kind(
        files.content, "files of its own", "their bytes and rights", _key((F, "contents"), "path")
    ),
    "file": Kind(files.file, "rights of files", "stat", _file),
    "package": Kind(system.package, "packages", "the rpm database", lambda _resource: {}),
    "service": Kind(system.service, "units", "systemctl show", _key((S, "units"), "name")),
    "module": Kind(
        system.module, "kernel modules", "modprobe and /proc/modules", _key((S, "modules"), "name")
    ),
    "mount": Kind(
        system.mount, "mount options", "/proc/self/mountinfo", _key((S, "mounts"), "path")
    ),
    "audit_rule": Kind(audit.audit_rule, "audit rules", "auditctl -l and -s", _whole((S, "audit"))),
    "audit_privileged": Kind(
        audit.audit_privileged,
        "audit rules for privileged programs",
        "auditctl -l and a walk over the file systems",
        _whole((S, "audit"), (F, "walk")),
    ),
    "pam": Kind(
        access.pam, "PAM modules", "PAM's stack with its includes", _key((A, "pam"), "service")
    ),
    "authselect": Kind(
        access.authselect,
        "features of authselect",
        "authselect current and check",
        _whole((A, "authselect")),
    ),
    "crypto_policy": Kind(
        system.crypto_policy,
        "the crypto policy",
        "update-crypto-policies and its back ends",
        _whole((S, "crypto_policy")),
    ),
    "kernel_argument": Kind(
        system.kernel_argument,
        "kernel arguments",
        "/proc/cmdline and the boot entries",
        _key((S, "kernel_arguments"), "name"),
    ),
    "account": Kind(access.account, "accounts", "getent and stat", _whole((A, "accounts"))),
    "selinux": Kind(system.selinux, "SELinux", "getenforce", _whole((S, "selinux"))),
    "umask": Kind(files.umask, "the umask", "umask in shells that are really started", _umask),
    "group": Kind(access.group, "groups", "getent", _key((A, "groups"), "name")),
    "aide_database": Kind(
        files.aide_database, "AIDE's database", "stat", _whole((F, "aide")), Severity.MEDIUM
    ),
    "aide_groups": Kind(
        files.aide_groups, "what AIDE compares", "its groups, added up", _whole((F, "aide"))
    ),
    "sweep": Kind(
        files.sweep, "files open to all", "a walk over the file systems", _whole((F, "walk"))
    ),
    "default_target": Kind(
        system.default_target,
        "the default target",
        "systemctl get-default",
        _whole((S, "default_target")),
        Severity.MEDIUM,
    ),
}
"""By the type's name in a control."""


def asked(releases: dict[str, tuple[Control, ...]]) -> dict[str, dict[str, list[Any]]]:
    """What the probes are told for controls of any release: names and paths, never a value."""
    told: dict[str, dict[str, list[Any]]] = {}
    for control in (c for controls in releases.values() for c in controls):
        for word, value in control.get("when", {}).items():
            if word in CONDITIONS:
                _add(told, (S, CONDITIONS[word]), [value])
        for resource in control["resources"]:
            for part, things in KINDS[resource["type"]].asks(resource).items():
                _add(told, part, things)
    return told


def _add(told: dict[str, dict[str, list[Any]]], part: Part, things: list[Any]) -> None:
    has = told.setdefault(part[0], {}).setdefault(part[1], [])
    has.extend(thing for thing in things if thing not in has)

# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""What must be read again after a file was changed: once, at the end, and only what is needed."""

from __future__ import annotations

from typing import Any


class Reload:
    """`words` say it, `steps` do it, `paths` are the files (or folders) that ask for it.

    `writes` are files that the steps write on their way and that come back byte for byte.
    """

    def __init__(
        self,
        words: str,
        steps: list[list[str]],
        paths: tuple[str, ...],
        writes: tuple[str, ...] = (),
    ) -> None:
        self.words = words
        self.steps = steps
        self.paths = paths
        self.writes = writes

    def record(self) -> dict[str, Any]:
        """It as plain data, for the journal."""
        return {"words": self.words, "steps": [{"run": argv} for argv in self.steps]}


def _again(unit: str, *paths: str) -> Reload:
    return Reload("reload " + unit, [["systemctl", "try-reload-or-restart", unit]], paths)


RELOADS: dict[str, Reload] = {
    "systemd": Reload(
        "let systemd read its units again",
        [["systemctl", "daemon-reload"]],
        ("/etc/systemd/system/", "/etc/fstab"),
    ),
    "audit": Reload(
        "load the audit rules",
        [["augenrules", "--load"]],
        ("/etc/audit/rules.d/",),
        ("/etc/audit/audit.rules", "/etc/audit/audit.rules.prev"),
    ),
    "auditd": Reload(
        "reload auditd.service",
        [["systemctl", "kill", "--kill-whom=main", "-s", "HUP", "auditd.service"]],
        ("/etc/audit/auditd.conf",),
    ),
    "journald": Reload(
        "restart systemd-journald.service",
        # One that wrote to memory goes on there until it is told to flush.
        [["systemctl", "try-restart", "systemd-journald.service"], ["journalctl", "--flush"]],
        ("/etc/systemd/journald.conf",),
    ),
    "logind": _again("systemd-logind.service", "/etc/systemd/logind.conf"),
    "rsyslog": Reload(
        "restart rsyslog.service",
        [["systemctl", "try-restart", "rsyslog.service"]],
        ("/etc/rsyslog.conf", "/etc/rsyslog.d/"),
    ),
    "chronyd": Reload(
        "restart chronyd.service",
        [["systemctl", "try-restart", "chronyd.service"]],
        ("/etc/chrony.conf", "/etc/chrony.d/", "/etc/sysconfig/chronyd"),
    ),
    "postfix": _again("postfix.service", "/etc/postfix/"),
    "dconf": Reload("update dconf", [["dconf", "update"]], ("/etc/dconf/",)),
    "sshd": Reload(
        "reload sshd.service",
        [["sshd", "-t"], ["systemctl", "try-reload-or-restart", "sshd.service"]],
        ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/", "/etc/crypto-policies/config"),
    ),
}
"""In the order in which they are done: sshd comes last, when all that it may read is there."""

UNITS = {"systemd-journald.service": "journald", "auditd.service": "auditd"}
"""Units for which reloading is something else than systemd's reload or restart."""

NEEDS = {"audit": "augenrules", "dconf": "dconf"}
"""Programs without which there is nothing to reload."""


def reload_of(name: str) -> Reload:
    """The reload of this name, which may be a unit's."""
    name = UNITS.get(name, name)
    return RELOADS[name] if name in RELOADS else _again(name)


def ordered(names: list[str]) -> list[str]:
    """Names without repetition, in the order in which they are done."""
    order = list(RELOADS)
    found = {UNITS.get(name, name) for name in names}
    known = [name for name in order if name in found]
    units = sorted(found - set(order))
    last = [name for name in known if name == order[-1]]
    return [name for name in known if name not in last] + units + last


def asked_by(path: str) -> list[str]:
    """The reloads that a changed file asks for."""
    return [
        name
        for name, reload in RELOADS.items()
        if any(
            path == p or path.startswith(p if p.endswith("/") else p + ".d/") for p in reload.paths
        )
    ]

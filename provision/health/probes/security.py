"""What guards the node, read where the kernel says it rather than where it is configured."""

from __future__ import annotations

import re
from typing import Any

from provision.health.probes.ask import Ask, Failed

_SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def look(ask: Ask) -> None:
    """Say what is enforced."""
    ask.see("security.selinux", lambda: _selinux(ask))
    ask.see("security.fips", lambda: ask.text("/proc/sys/crypto/fips_enabled") == "1")
    ask.see("security.secure_boot", lambda: _secure_boot(ask))
    ask.see("security.audit", lambda: _audit(ask))
    ask.see("security.crypto_policy", lambda: _policy(ask))
    ask.see("security.modules", lambda: _unsigned(ask))
    wanted = ask.declared.get("security") or {}
    settings = wanted.get("sysctl") or {}
    ask.see("security.sysctl", lambda: {
        name: ask.maybe("/proc/sys/" + name.replace(".", "/")) for name in settings
    })  # fmt: skip


def _selinux(ask: Ask) -> str:
    """enforcing, permissive or disabled."""
    text = ask.maybe("/sys/fs/selinux/enforce")
    if text in ("0", "1"):
        return ("permissive", "enforcing")[int(text)]
    modules = ask.text("/sys/kernel/security/lsm").split(",")
    if "selinux" in modules:
        raise Failed("error", "SELinux is in the kernel, but does not say whether it enforces")
    return "disabled"


def _secure_boot(ask: Ask) -> bool:
    """The firmware's own variable: four bytes of attributes, then the value."""
    path = ask.path(_SECURE_BOOT)
    if not ask.path("/sys/firmware/efi").is_dir():
        return False  # without UEFI there is nothing that checks the first program
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise Failed("missing", "the firmware has no SecureBoot variable") from error
    if len(data) != 5:
        raise Failed("truncated", f"the SecureBoot variable has {len(data)} bytes, not 5")
    return data[4] == 1


def _audit(ask: Ask) -> dict[str, Any]:
    """Auditctl's status, and how many rules are loaded."""
    told = dict(
        line.split(None, 1) for line in ask.run(["auditctl", "-s"]).splitlines() if " " in line
    )
    if "enabled" not in told:
        raise Failed("truncated", "auditctl -s does not say whether auditing is enabled")
    rules = [line for line in ask.run(["auditctl", "-l"]).splitlines() if line.startswith("-")]
    return {
        "enabled": int(told["enabled"]),
        "pid": int(told.get("pid", "0")),
        "lost": int(told.get("lost", "0")),
        "rules": len(rules),
    }


def _policy(ask: Ask) -> str:
    lines = ask.text("/etc/crypto-policies/state/current").splitlines()
    return next(x.strip() for x in [*lines, ""] if not x.startswith("#"))


def _unsigned(ask: Ask) -> dict[str, str]:
    """Modules that taint the kernel: E unsigned, O built elsewhere, P not free, F forced."""
    lines = ask.text("/proc/modules").splitlines()
    if not lines:
        raise Failed("missing", "/proc/modules names no module")
    found = {}
    for line in lines:
        flags = re.search(r"\(([A-Z]+)[+-]?\)", line)
        if flags:
            found[line.split()[0]] = flags[1]
    return found

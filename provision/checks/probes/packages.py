"""Packages: what the rpm database holds, who signed it, and whether files still match it."""

from __future__ import annotations

import platform
from typing import Any

from provision.checks.probes.common import gather, read, run

_SIGNATURE = (
    "%|DSAHEADER?{%{DSAHEADER:pgpsig}}:{%|RSAHEADER?{%{RSAHEADER:pgpsig}}:"
    "{%|SIGGPG?{%{SIGGPG:pgpsig}}:{%|SIGPGP?{%{SIGPGP:pgpsig}}:{}|}|}|}|"
)
_FORMAT = "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\t" + _SIGNATURE + "\\n"


def _installed() -> list[dict[str, Any]]:
    found = []
    for line in run(["rpm", "-qa", "--qf", _FORMAT]).splitlines():
        name, epoch, version, release, arch, signature = line.split("\t")
        nevra = f"{name}-{epoch}:{version}-{release}.{arch}"
        found.append({"name": name, "nevra": nevra, "signature": signature})
    return found


def _differs(names: list[str]) -> list[str]:
    """Lines of `rpm -V` about files that are no configuration; time stamps are not compared."""
    present = {p["name"] for p in _installed()}
    asked = sorted(present & set(names))
    if not asked:
        return []
    # rpm -V ends with 1 when something differs, and says what on standard output.
    text = run(["rpm", "-V", "--nodeps", "--noconfig", "--nomtime", *asked], (0, 1), timeout=300)
    return [line for line in text.splitlines() if line.strip()]


def _release() -> dict[str, str]:
    found = {}
    for line in read("/etc/os-release").splitlines():
        key, _, value = line.partition("=")
        found[key] = value.strip().strip("\"'")
    found["MACHINE"] = platform.machine()
    found["KERNEL"] = platform.release()
    return found


def look(ask: dict[str, Any]) -> dict[str, Any]:
    """Look at the packages; `ask` names those whose files are compared."""
    return gather(
        {
            "installed": _installed,
            "differs": lambda: _differs(ask["verify"]),
            "release": _release,
        }
    )

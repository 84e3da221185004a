"""Time: what chronyd says about its sources and its offset, and who else sets the clock."""

from __future__ import annotations

from typing import Any

from provision.checks.probes.common import gather, run, unit


def _tracking() -> dict[str, Any]:
    fields = run(["chronyc", "-c", "tracking"], timeout=15).strip().split(",")
    return {
        "reference": fields[1],
        "stratum": int(fields[2]),
        "offset_s": float(fields[4]),
        "leap": fields[-1],
    }


def _sources() -> list[dict[str, Any]]:
    found = []
    for line in run(["chronyc", "-c", "-n", "-N", "sources"], timeout=15).splitlines():
        fields = line.split(",")
        if len(fields) > 5:
            found.append({"state": fields[1], "name": fields[2], "reach": int(fields[5], 8)})
    return found


def _others() -> dict[str, str]:
    names = ("systemd-timesyncd.service", "ntpd.service", "ntpsec.service")
    return {name: unit(name).get("ActiveState", "") for name in names}


def look(_ask: dict[str, Any]) -> dict[str, Any]:
    """Look at the clock's keeper."""
    return gather(
        {
            "unit": lambda: unit("chronyd.service"),
            "tracking": _tracking,
            "sources": _sources,
            "others": _others,
        }
    )

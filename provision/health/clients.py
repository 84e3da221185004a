"""Which processes use a node's GPUs. Runs on the node, as root, on Python 3.9.

``python3 -I - <clients.py`` prints one JSON object: ``clients``, a list of pid, name and unit.

A process that computes holds a device file, and /proc shows which. nvidia-smi is asked as well,
but alone it would be blind: while library and module are of two versions, which is the state that
a killed run leaves, it answers nothing. What belongs to the driver itself does not count, nor does
Holdfast's own inference service, which ends and starts with the node.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

SERVING = "holdfast-inference.service"
OWN = (
    "nvidia-persistenced.service",
    "nvidia-fabricmanager.service",
    "nvidia-imex.service",
    "nvidia-dcgm.service",
    "nvidia-cdi-refresh.service",
    "holdfast-gpu-mig.service",
    "holdfast-health.service",
    SERVING,
)
"""System services that may hold a GPU while its unit changes."""
SMI_S = 20
_DEVICE = re.compile(r"/dev/(nvidia[0-9]+|nvidia-uvm)$")


def main(proc: Path = Path("/proc")) -> None:
    """Print what was found; a /proc that cannot be read ends with an error, not with nothing."""
    found = holders(proc)
    for pid, name in listed().items():
        found.setdefault(pid, name)
    shown = [{"pid": pid, "name": found[pid], "unit": unit_of(proc, pid)} for pid in sorted(found)]
    print(json.dumps({"clients": [one for one in shown if one["unit"] not in OWN]}))


def holders(proc: Path) -> dict[int, str]:
    """Processes that hold a device file of a GPU."""
    found = {}
    for entry in proc.iterdir():
        if entry.name.isdigit() and any(_DEVICE.match(link) for link in _open_files(entry)):
            found[int(entry.name)] = _read(entry / "comm").strip()
    return found


def _open_files(process: Path) -> list[str]:
    """What a process has open; nothing of one that has ended."""
    links = []
    try:
        for link in (process / "fd").iterdir():
            try:
                links.append(str(link.readlink()))
            except FileNotFoundError:
                continue  # closed while we looked
    except (FileNotFoundError, ProcessLookupError):
        return links
    return links


def listed() -> dict[int, str]:
    """Processes that nvidia-smi lists; none where it does not answer."""
    argv = ["nvidia-smi", "--query-compute-apps=pid,process_name", "--format=csv,noheader"]
    try:
        ran = subprocess.run(
            argv, capture_output=True, text=True, timeout=SMI_S, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return listed_in(ran.stdout) if ran.returncode == 0 else {}


def listed_in(text: str) -> dict[int, str]:
    """Processes in what nvidia-smi prints as pid,process_name."""
    found = {}
    for line in text.splitlines():
        pid, _, name = line.partition(",")
        if pid.strip().isdigit():
            found[int(pid)] = name.strip()
    return found


def unit_of(proc: Path, pid: int) -> str:
    """The system service that a process belongs to; empty for none.

    It counts only as this system's own first process sees it: a container may run services of the
    same names, below a group of its own.
    """
    above = _groups(proc / "1")
    for controllers, group in _groups(proc / str(pid)).items():
        base = re.sub(r"(^|/)init\.scope$", "", above.get(controllers, "")).rstrip("/")
        match = re.match(re.escape(base) + r"/system\.slice/([^/]+\.service)(?:/|$)", group)
        if match:
            return match.group(1)
    return ""


def _groups(process: Path) -> dict[str, str]:
    """The control groups of a process by their controllers; "" is the unified hierarchy's."""
    rows = (line.split(":", 2) for line in _read(process / "cgroup").splitlines())
    return {row[1]: row[2] for row in rows if len(row) == 3}


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(4096)
    except OSError:
        return ""


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

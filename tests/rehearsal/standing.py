"""How a node stands, in full: every file, unit, mount, setting of the kernel and account.

Unlike `likeness`, which compares the lives of two nodes, this compares one node at two times, so
nothing is left out because it is the same on every node.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.rehearsal.likeness import Allowance

if TYPE_CHECKING:
    from tests.rehearsal.conftest import SimulatedRack

ALLOWED = Path(__file__).with_name("may_remain.yml")
SECTIONS = ("files", "units", "mounts", "sysctls", "accounts")

# Runs on the node as root. Containers' storage is theirs, and large; /proc, /sys, /dev and /run
# are file systems of their own and hold nothing that outlasts a restart.
LOOK = r"""
import hashlib, json, os, stat, subprocess
LEFT_OUT = {"/var/lib/containers", "/proc", "/sys", "/dev", "/run"}
def about(path, info):
    kind = stat.S_IFMT(info.st_mode)
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    found = [kinds.get(kind, "other"),
             "%04o" % stat.S_IMODE(info.st_mode), "%d:%d" % (info.st_uid, info.st_gid)]
    if kind == stat.S_IFLNK:
        found.append(os.readlink(path))
    elif kind == stat.S_IFREG:
        with open(path, "rb") as stream:
            found.append(hashlib.file_digest(stream, "sha256").hexdigest())
    else:
        found.append("")
    names = sorted(os.listxattr(path, follow_symlinks=False))
    found.append({name: os.getxattr(path, name, follow_symlinks=False).hex() for name in names})
    return found
files = {}
def walk(folder):
    for entry in os.scandir(folder):
        try:
            info = entry.stat(follow_symlinks=False)
            files[entry.path] = about(entry.path, info)
        except FileNotFoundError:
            continue
        if entry.path not in LEFT_OUT and stat.S_ISDIR(info.st_mode):
            walk(entry.path)
walk("/")
def table(*argv):
    return [l.split() for l in subprocess.check_output(argv, text=True).splitlines() if l.strip()]
units = {row[0]: [row[1], ""] for row in table(
    "systemctl", "list-unit-files", "--no-legend", "--full", "--plain")}
for row in table("systemctl", "list-units", "--all", "--no-legend", "--full", "--plain"):
    units.setdefault(row[0], ["-", ""])[1] = row[2] + "/" + row[3]
sysctls = {}
for folder, _, names in os.walk("/proc/sys"):
    for name in names:
        path = os.path.join(folder, name)
        try:
            if os.stat(path).st_mode & 0o200 or "/net/" in path:
                with open(path, "rb") as stream:
                    text = stream.read(65536).decode("utf-8", "replace")
                sysctls[path[10:]] = " ".join(text.split())
        except OSError:
            continue
mounts = {row[1]: [row[0], row[2], row[3]] for row in table("cat", "/proc/self/mounts")}
accounts = {}
for path in ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"):
    with open(path) as stream:
        for line in stream:
            row = line.rstrip("\n").split(":")
            if path.endswith("shadow"):
                row[1] = hashlib.sha256(row[1].encode()).hexdigest()[:12]
            accounts[path[5:] + " " + row[0]] = row[1:]
packages = {}
for line in subprocess.check_output(
        ["rpm", "-qa", "--qf", "[%{=NAME} %{FILENAMES}\n]"], text=True).splitlines():
    name, _, path = line.partition(" ")
    packages.setdefault(name, []).append(path)
print(json.dumps({"files": files, "units": units, "sysctls": sysctls, "mounts": mounts,
                  "accounts": accounts, "packages": packages}))
"""


@dataclass(frozen=True)
class Standing:
    """A node as it stands: by section, what is seen under each name.

    `packages` are the installed ones with the paths that belong to them.
    """

    seen: Mapping[str, Mapping[str, Any]]
    packages: Mapping[str, frozenset[str]]


def stand(rack: SimulatedRack, name: str) -> Standing:
    """The node as it stands."""
    body = json.loads(rack.ssh(name, f"python3 - <<'PYTHON'\n{LOOK}\nPYTHON\n").out)
    packages = {package: frozenset(paths) for package, paths in body["packages"].items()}
    return Standing({section: body[section] for section in SECTIONS}, packages)


def allowances() -> dict[str, list[Allowance]]:
    """What may remain, by section, of the committed list."""
    body = yaml.safe_load(ALLOWED.read_text(encoding="utf-8"))
    return {section: [Allowance(**entry) for entry in body[section]] for section in SECTIONS}


def remains(before: Standing, after: Standing) -> list[str]:
    """What is not as it was and may not be otherwise, one line each.

    What belongs to a package that came meanwhile is the package's: packages stay, which is said
    before anything is changed.
    """
    allowed = allowances()
    came = frozenset[str]().union(
        *(after.packages[name] for name in after.packages.keys() - before.packages.keys())
    )
    lines = []
    for section in SECTIONS:
        old, new = before.seen[section], after.seen[section]
        for name in sorted(old.keys() | new.keys()):
            here, there = old.get(name), new.get(name)
            if here == there or (section == "files" and here is None and name in came):
                continue
            if section == "units" and here is None and _unit_came(name, came):
                continue
            if not _may_remain(name, here, there, allowed[section]):
                lines.append(f"{section}: {name}: {there} instead of {here}")
    return lines


def _unit_came(name: str, came: frozenset[str]) -> bool:
    stem, at, rest = name.partition("@")
    names = {name, f"{stem}@.{rest.rpartition('.')[2]}" if at else name}
    return any(path.rpartition("/")[2] in names for path in came if "/systemd/system/" in path)


def _may_remain(name: str, here: Any, there: Any, allowed: list[Allowance]) -> bool:
    fitting = [a for a in allowed if fnmatchcase(name, a.pattern)]
    if here is None or there is None:
        return any(a.presence for a in fitting)
    # Of a file the content may differ; kind, mode, owner and attributes never may.
    if isinstance(here, list) and len(here) == 5:
        return bool(fitting) and (*here[:3], here[4]) == (*there[:3], there[4])
    return bool(fitting)

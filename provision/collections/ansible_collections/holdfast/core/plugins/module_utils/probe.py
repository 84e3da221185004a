# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading a node without changing it. Every function takes the root folder to look below.

A value that cannot be read is None (or ``unknown``), never a guess.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
from typing import Any

ARGUMENTS = {"root": {"type": "path", "default": "/"}}
"""The option of every module that looks below a folder."""

_DISPLAY_CLASSES = ("0x0300", "0x0302")
_LISTEN = "0A"


def read(root: str, path: str) -> str | None:
    """A small file's text without the space around it; None when it cannot be read."""
    try:
        with open(os.path.join(root, path.lstrip("/")), encoding="utf-8", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return None


def os_release(root: str) -> dict[str, str]:
    """The fields of os-release."""
    text = read(root, "/etc/os-release") or read(root, "/usr/lib/os-release") or ""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[key.strip()] = value.strip().strip("\"'")
    return found


def memory_mib(root: str) -> int | None:
    """The machine's memory in MiB."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", read(root, "/proc/meminfo") or "", re.MULTILINE)
    return int(found.group(1)) // 1024 if found else None


def uptime(root: str) -> float | None:
    """Seconds since the first process started: in a container that is its own start."""
    whole = read(root, "/proc/uptime")
    first = read(root, "/proc/1/stat")
    try:
        ticks = int((first or "").rpartition(")")[2].split()[19])
        return round(float((whole or "").split()[0]) - ticks / os.sysconf("SC_CLK_TCK"), 2)
    except (IndexError, ValueError):
        return None


def gpus(root: str) -> list[dict[str, str]]:
    """Display controllers on the PCI bus: address, vendor and device in hexadecimal."""
    found = []
    for folder in sorted(glob.glob(os.path.join(root, "sys/bus/pci/devices/*"))):
        kind = read(folder, "class") or ""
        if not kind.startswith(_DISPLAY_CLASSES):
            continue
        vendor = (read(folder, "vendor") or "").replace("0x", "")
        device = (read(folder, "device") or "").replace("0x", "")
        found.append({"address": os.path.basename(folder), "vendor": vendor, "device": device})
    return found


def nics(root: str) -> list[dict[str, Any]]:
    """Network interfaces but the loopback; the speed is None where the driver names none."""
    found = []
    for folder in sorted(glob.glob(os.path.join(root, "sys/class/net/*"))):
        name = os.path.basename(folder)
        if name == "lo" or not os.path.isdir(folder):
            continue
        speed = read(folder, "speed") or ""
        mbps = int(speed) if speed.isdigit() and int(speed) > 0 else None
        up = read(folder, "operstate") in ("up", "unknown")
        found.append({"name": name, "speed_mbps": mbps, "up": up})
    return found


def secure_boot(root: str) -> str:
    """Whether Secure Boot is on: enabled, disabled, absent (no UEFI) or unknown."""
    if not os.path.isdir(os.path.join(root, "sys/firmware/efi")):
        return "absent"
    names = glob.glob(os.path.join(root, "sys/firmware/efi/efivars/SecureBoot-*"))
    try:
        with open(names[0], "rb") as stream:
            return "enabled" if stream.read()[4] == 1 else "disabled"
    except (OSError, IndexError):
        return "unknown"


def disk_free_mib(root: str, paths: list[str]) -> dict[str, int | None]:
    """Free space for each path in MiB; a path that is missing counts as its nearest parent."""
    found: dict[str, int | None] = {}
    for path in paths:
        place = os.path.join(root, path.lstrip("/"))
        while not os.path.isdir(place) and place != "/":
            place = os.path.dirname(place)
        try:
            found[path] = shutil.disk_usage(place).free // 2**20
        except OSError:
            found[path] = None
    return found


def listening(root: str) -> list[dict[str, Any]]:
    """TCP ports that something listens on, with the process where it can be seen."""
    sockets: dict[str, int] = {}
    for name in ("tcp", "tcp6"):
        for line in (read(root, "/proc/net/{0}".format(name)) or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                sockets[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    owners = _owners(root, set(sockets)) if sockets else {}
    ports: dict[int, str] = {}
    for inode, port in sockets.items():
        ports[port] = owners.get(inode) or ports.get(port, "")
    return [{"port": port, "process": ports[port]} for port in sorted(ports)]


def _owners(root: str, inodes: set[str]) -> dict[str, str]:
    """Names of the processes that hold sockets."""
    found: dict[str, str] = {}
    for folder in glob.glob(os.path.join(root, "proc/[0-9]*/fd")):
        try:
            links = [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder)]
        except OSError:
            continue  # it ended while we looked
        for link in links:
            inode = link[8:-1] if link.startswith("socket:[") else ""
            if inode in inodes:
                found[inode] = read(os.path.dirname(folder), "comm") or ""
    return found


def notes(root: str) -> list[str]:
    """Why the node asks for a restart."""
    found = []
    for path in sorted(glob.glob(os.path.join(root, "run/holdfast/reboot-required/*"))):
        name = os.path.basename(path)
        text = read("/", path) or ""
        found.append("{0}: {1}".format(name, "; ".join(text.splitlines())))
    return found


def node_lock(root: str) -> dict[str, Any] | None:
    """Who holds the node; None when nobody does. A lock that cannot be read is held."""
    return run_of(root, "/run/holdfast/lock.json")


def run_of(root: str, path: str) -> dict[str, Any] | None:
    """What a run wrote to say that it holds something; None where it does not.

    A file that cannot be read is of a run all the same.
    """
    text = read(root, path)
    if text is None:
        return None
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {"run": "unknown"}

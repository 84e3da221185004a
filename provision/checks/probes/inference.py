"""The inference container as the kernel and podman see it while it runs.

The secrets are read on the node to search for them elsewhere; only where they were found leaves
the node, never a secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from provision.checks.probes.common import (
    Unseen,
    children,
    gather,
    listeners,
    read,
    read_own,
    run,
    run_json,
    unit,
)

_PLACES = ("/etc/containers/systemd", "/etc/systemd/system", "/run/systemd/generator")
_FROM_STATUS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")


def _inspect(container: str) -> dict[str, Any]:
    found = run_json(["podman", "container", "inspect", container])
    if not isinstance(found, list) or len(found) != 1:
        raise Unseen(f"podman knows no container {container}")
    return dict(found[0])


def _container(container: str) -> dict[str, Any]:
    seen = _inspect(container)
    host = seen["HostConfig"]
    health = seen["State"].get("Health") or seen["State"].get("Healthcheck") or {}
    return {
        "running": bool(seen["State"]["Running"]),
        "image_digests": _digests(seen),
        "read_only": bool(host.get("ReadonlyRootfs")),
        "privileged": bool(host.get("Privileged")),
        "security": host.get("SecurityOpt") or [],
        "health": health.get("Status", ""),
        "mounts": [
            {
                "type": m.get("Type", ""),
                "source": m.get("Source", ""),
                "destination": m.get("Destination", ""),
                "writable": bool(m.get("RW")),
            }
            for m in seen.get("Mounts", [])
        ],
    }


def _digests(seen: dict[str, Any]) -> list[str]:
    """Every digest by which the running container's image is known."""
    found = {str(seen.get("ImageDigest", ""))}
    for image in run_json(["podman", "image", "inspect", seen["Image"]]):
        found.add(str(image.get("Digest", "")))
        found.update(str(d).split("@")[-1] for d in image.get("RepoDigests") or [])
    return sorted(found - {""})


def _processes(container: str) -> list[dict[str, Any]]:
    """Every process of the container, from /proc."""
    first = int(_inspect(container)["State"]["Pid"])
    if first <= 0:
        raise Unseen(f"the container {container} is not running")
    return [_process(pid) for pid in _inside(first)]


def _inside(first: int) -> list[int]:
    """Every process in the container's own process name space, whoever started it."""
    space = Path(f"/proc/{first}/ns/pid").readlink()
    if space == Path("/proc/1/ns/pid").readlink():
        return children(first)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/pid").readlink() == space:
                found.append(int(process.name))
        except OSError:  # the process ended meanwhile
            continue
    return sorted(found)


def _process(pid: int) -> dict[str, Any]:
    status: dict[str, str] = {}
    for line in read(f"/proc/{pid}/status").splitlines():
        key, _, value = line.partition(":")
        status[key] = value.strip()
    try:
        label = read(f"/proc/{pid}/attr/current").strip("\0\n")
    except Unseen:  # a kernel without a security module has no such file
        label = ""
    return {
        "pid": pid,
        "name": status["Name"],
        "uid": [int(u) for u in status["Uid"].split()],
        "label": label,
        "arguments": read(f"/proc/{pid}/cmdline").split("\0")[:-1],
        "mounts": _mounts(pid),
        **{name: status[name] for name in _FROM_STATUS},
    }


def _mounts(pid: int) -> list[dict[str, Any]]:
    """Mounts of a process: where, file system, and whether the kernel refuses writes."""
    found = []
    for line in read(f"/proc/{pid}/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        words = left.split()
        options = {*words[5].split(","), *right.split()[-1].split(",")}
        found.append({"at": words[4], "type": right.split()[0], "read_only": "ro" in options})
    return found


def _secret_values(names: list[str]) -> dict[str, list[bytes]]:
    """Each secret's telling lines, as podman holds them."""
    found: dict[str, list[bytes]] = {}
    for name in names:
        seen = run_json(["podman", "secret", "inspect", "--showsecret", name])
        lines = [line.strip() for line in str(seen[0].get("SecretData", "")).splitlines()]
        if lines and lines[0].startswith("-----BEGIN"):
            # The first line of a key in PEM is the same for many keys; the others are its own.
            lines = lines[2:-1]
        found[name] = [line.encode() for line in lines if len(line) >= 8]
        if not found[name]:
            raise Unseen(f"podman does not show the secret {name}, so it cannot be searched for")
    return found


def _leaks(container: str, names: list[str]) -> dict[str, Any]:
    """Where the secrets' values stand although they must not."""
    values = _secret_values(names)
    places = _places(container)
    found = [
        f"{name} in {place}"
        for name, lines in values.items()
        for place, data in places.items()
        if any(line in data for line in lines)
    ]
    return {"found": sorted(found), "searched": len(places), "secrets": sorted(values)}


def _places(container: str) -> dict[str, bytes]:
    """Everything that many can read: command lines, environments, units, podman's own words."""
    told = run(["podman", "container", "inspect", container])
    places: dict[str, bytes] = {"podman inspect": told.encode()}
    for process in Path("/proc").glob("[0-9]*"):
        for what in ("cmdline", "environ"):
            try:
                places[f"{process}/{what}"] = (process / what).read_bytes()
            except OSError:  # the process ended meanwhile
                continue
    for folder in _PLACES:
        for path in Path(folder).rglob("*"):
            if path.is_file():
                places[str(path)] = path.read_bytes()
    return places


def look(ask: dict[str, Any]) -> dict[str, Any]:
    """Look at the running container and the unit that keeps it."""
    container = ask["container"]
    return gather(
        {
            "unit": lambda: unit(ask["unit"]),
            "container": lambda: _container(container),
            "processes": lambda: _processes(container),
            "listeners": listeners,
            "manifest": lambda: read_own(ask["manifest"]),
            "leaks": lambda: _leaks(container, ask["secrets"]),
        }
    )

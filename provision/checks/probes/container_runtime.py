"""The container runtime: podman, its images, its unit generator and what it may pull from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from provision.checks.probes.common import Unseen, gather, read_own, run, run_json, unit

_GENERATORS = (
    "/usr/lib/systemd/system-generators/podman-system-generator",
    "/usr/libexec/podman/quadlet",
)


def _podman() -> dict[str, Any]:
    info = run_json(["podman", "info", "--format", "json"])
    return {
        "version": info["version"]["Version"],
        "rootless": info["host"]["security"]["rootless"],
        "runtime": info["host"]["ociRuntime"]["name"],
        "driver": info["store"]["graphDriverName"],
        "search": info.get("registries", {}).get("search") or [],
    }


def _images() -> list[dict[str, Any]]:
    found = []
    for image in run_json(["podman", "images", "--format", "json"]):
        named = [str(d).split("@")[-1] for d in image.get("RepoDigests") or []]
        found.append({"id": image["Id"], "digests": sorted({image.get("Digest", ""), *named})})
    return found


def _quadlet() -> dict[str, Any]:
    """What the generator makes of the container files that lie in /etc/containers/systemd."""
    generator = next((g for g in _GENERATORS if Path(g).exists()), None)
    if generator is None:
        raise Unseen("podman's unit generator is not installed")
    text = run([generator, "--dryrun"], ok=(0, 1))
    folder = Path("/etc/containers/systemd")
    files = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    made = [x[3:-3] for x in text.splitlines() if x.startswith("---") and x.endswith("---")]
    return {"files": files, "units": made}


def _policy() -> dict[str, Any]:
    """Whose images podman accepts as root; root's own file goes before that of the system."""
    own = Path("/root/.config/containers/policy.json")
    path = own if own.exists() else Path("/etc/containers/policy.json")
    return {"path": str(path), "policy": json.loads(read_own(path))}


def look(_ask: dict[str, Any]) -> dict[str, Any]:
    """Look at podman."""
    return gather(
        {
            "podman": _podman,
            "images": _images,
            "quadlet": _quadlet,
            "policy": _policy,
            "auto_update": lambda: unit("podman-auto-update.timer"),
        }
    )

"""The inventory of a rehearsal: an ordinary one, which every verb reads like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from provision.core.files import write_whole
from provision.rehearsal import identity, network
from provision.rehearsal.gpu.models import NodeModel
from provision.rehearsal.node import Node

PORT = 8443
EMULATED = 10
"""How much more patience an emulated machine gets. Measured beside its host: Python ran 10 times
slower, hashing took 4 times as long, starting programs 20 times."""
ADOPTED_DAYS = 30
"""How long the rehearsal's adoption of an overlay counts; no rehearsal lasts longer."""


def write_inventory(
    path: Path,
    name: str,
    nodes: Sequence[Node],
    kind: str = "container",
    *,
    profile: str = "none",
    waived: Mapping[str, str] | None = None,
    emulated: bool = False,
    lacks: Mapping[str, str] | None = None,
    gpus: NodeModel | None = None,
) -> None:
    """Write the inventory of `nodes` to `path`; secrets and the login key lie beside it.

    With a profile the nodes also get the overlay of hosts that serve models, since they do.
    `waived` says of controls why these nodes do without them, `gpus` which ones they all have.
    `emulated` machines are waited for longer; `lacks` says of machines what they do without, and
    why.
    """
    patience = EMULATED if emulated else 1
    hosts = {
        node.name: _host(node, index, kind, patience, lacks or {})
        for index, node in enumerate(nodes, start=1)
    }
    document = {
        "all": {
            "vars": {
                "holdfast_schema": 1,
                "holdfast_rack": name,
                "holdfast_stack": "stack.lock.json",
                "holdfast_profile": profile,
                **_adopted(profile, waived or {}),
                "holdfast_waves": {"sizes": [1, 8, 50], "failure_budget": 0},
                "holdfast_time": {"servers": [network.CONTROLLER], "max_offset_s": 1.0},
                "holdfast_api_key": "file:secrets/api-key",
                "holdfast_tls_ca": "file:secrets/ca.crt",
                "ansible_user": identity.USER,
                "ansible_ssh_private_key_file": str(path.parent / "secrets/login"),
            },
            "children": {
                "gpu_nodes": {
                    "vars": {
                        "holdfast_inference": {
                            "engine": "llama_cpp",
                            "model": "tiny",
                            "image": "llama-cpp",
                            "port": PORT,
                            "context": 2048,
                            "parallel": 2,
                            "max_tokens": 256,
                            "allow_from": ["192.0.2.0/24"],
                        },
                        **_declared(gpus),
                    },
                    "hosts": hosts,
                }
            },
        }
    }
    text = yaml.safe_dump(document, sort_keys=False, width=200)
    write_whole(path, f"# A rehearsal: simulated nodes on one machine.\n---\n{text}")


def _declared(gpus: NodeModel | None) -> dict[str, Any]:
    """The hardware of a node, and what becomes of its GPUs."""
    least: dict[str, Any] = {"memory_gib": 1, "disk_gib": 1, "cores": 1}
    if gpus is None:
        return {"holdfast_hardware": least}
    found = {"model": gpus.gpu.name, "pci_id": gpus.pci_id, "count": len(gpus.slots)}
    fabric = "nvswitch" if gpus.has_fabric else "none"
    return {
        "holdfast_hardware": {"gpus": found, **least},
        "holdfast_gpu": {"fabric": fabric, "dcgm": False},
    }


def _adopted(profile: str, waived: Mapping[str, str]) -> dict[str, Any]:
    if profile == "none":
        return {}
    until = datetime.now(UTC).date() + timedelta(days=ADOPTED_DAYS)
    by = {"owner": "rehearsal", "expires": until}
    found: dict[str, Any] = {"holdfast_overlays": [{"name": "gpu_host", **by}]}
    if waived:
        found["holdfast_waivers"] = [
            {"control": control, "reason": reason, **by} for control, reason in waived.items()
        ]
    return found


def _host(
    node: Node, unit: int, kind: str, patience: int, lacks: Mapping[str, str]
) -> dict[str, Any]:
    slow = {"holdfast_patience": patience} if patience > 1 else {}
    return {
        "ansible_host": node.address,
        **slow,
        "holdfast_kind": kind,
        **({"holdfast_lacks": dict(lacks)} if lacks else {}),
        "holdfast_position": {"unit": unit, "height": 1},
        "holdfast_host_keys": [node.host_key],
        "holdfast_tls_certificate": f"file:secrets/{node.name}.crt",
        "holdfast_tls_key": f"file:secrets/{node.name}.key",
    }

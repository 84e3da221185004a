"""Results as the real audit gives them on simulated nodes, and racks whose nodes gave them."""

from __future__ import annotations

import copy
import functools
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provision.rack.model import Node, Rack
from tests.unit.health_fixtures import FAILING
from tests.unit.health_support import Recorded, recorded

_CHANGES: dict[str, tuple[str, ...]] = {
    "healthy": (),
    "pcie": ("gpu.pcie.width-half",),
    "ecc": ("gpu.ecc.uncorrected-one",),
    "lost": ("gpu.presence.driver-gone-everywhere",),
    "hang-free-xid": ("log.xid-79",),
    "links": ("gpu.nvlink.state-down",),
    "power": ("gpu.power-lowered",),
    "two": ("gpu.pcie.width-half", "gpu.temperature.core-hot"),
    "unknown": (),
}
"""Named nodes, each with the fixtures of the table check x fixture that it has."""
KINDS = tuple(_CHANGES)


@functools.cache
def made(kind: str) -> str:
    """The result, as JSON, of the real audit of a simulated node of a kind."""
    changes = {f.id: f for f in FAILING}
    with tempfile.TemporaryDirectory() as scratch:
        node = recorded(Path(scratch) / "node")
        before = os.environ.get("HOLDFAST_GPUS_STATE")
        os.environ["HOLDFAST_GPUS_STATE"] = str(node.state_file)
        try:
            _change(node, kind, changes)
            node.lay()
            return json.dumps(node.audit().to_json())
        finally:
            if before is None:
                del os.environ["HOLDFAST_GPUS_STATE"]
            else:
                os.environ["HOLDFAST_GPUS_STATE"] = before


def _change(node: Recorded, kind: str, changes: dict[str, Any]) -> None:
    for name in _CHANGES[kind]:
        changes[name].change(node)
    if kind == "unknown":
        node.commands["chronyc"] = "!exit 1"


def result(
    kind: str = "healthy",
    node: str = "n01",
    *,
    ended: float | None = None,
    boot: str = "",
    serials: Callable[[int], str] | None = None,
) -> dict[str, Any]:
    """A result of `kind` as `node` would give it.

    Args:
        kind: one of the named nodes.
        node: its name.
        ended: when the audit ended.
        boot: the boot's id.
        serials: the serial number of each GPU.
    """  # fmt: skip
    told: dict[str, Any] = copy.deepcopy(_parsed(kind))
    took = told["ended"] - told["started"]
    told["node"] = node
    if ended is not None:
        told["ended"], told["started"] = ended, ended - took
    if boot:
        told["boot"] = boot
    for number, gpu in enumerate(told["gpus"]):
        if serials is not None:
            gpu["serial"] = serials(number)
            gpu["uuid"] = f"GPU-{node}-{number}"
    return told


@functools.cache
def _parsed(kind: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(made(kind))
    return told


def raw(told: dict[str, Any]) -> bytes:
    """A result as a node sends it."""
    return json.dumps(told).encode()


def rack(*names: str, name: str = "lab", **given: Any) -> Rack:
    """A rack with these nodes, all of them audited."""
    nodes = tuple(
        Node(name=n, address=f"192.0.2.{i % 250 + 1}", audit={"enabled": True}, **given)
        for i, n in enumerate(names)
    )
    return Rack(name=name, path=Path("/srv/lab/inventory.yml"), stack=Path("/srv/lab/lock.json"),
                nodes=nodes)  # fmt: skip

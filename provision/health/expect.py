"""What a node should be: the declaration that the controller sends, read and judged as a whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.health.places import Mistake, Placed
from provision.health.words import SEVERITIES, NotMeant

SCHEMA = "holdfast.health.expect/1"

_TEXT = {"type": "string"}
_TRUTH = {"type": "boolean"}
_TEXTS = {"type": "array", "items": _TEXT}


def _whole(least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


def _thing(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_GPUS = _thing(
    ("count",),
    count=_whole(0, 64),
    model=_TEXT,
    memory_mib=_whole(1, 10_000_000),
    buses=_TEXTS,
    uuids=_TEXTS,
    driver=_TEXT,
    vbios=_TEXTS,
    ecc=_TRUTH,
    persistence=_TRUTH,
    p2p=_TRUTH,
    mig={"type": "array", "items": _TEXTS},
    mig_enabled=_TRUTH,
    power_limit_w=_whole(50, 3000),
    pcie_width=_whole(1, 32),
    pcie_generation=_whole(1, 8),
    nvlinks=_whole(0, 36),
    switches=_whole(0, 36),
)
_PORT = _thing(("device",), device=_TEXT, port=_whole(1, 64), rate_gbps=_whole(1, 10_000))
_NIC = _thing(("name",), name=_TEXT, speed_mbps=_whole(10, 10_000_000))
_MOUNT = _thing(("path",), path=_TEXT, type=_TEXT, options=_TEXTS, source=_TEXT, writable=_TRUTH)
_SECURITY = _thing(
    selinux={"type": "string", "enum": ["enforcing", "permissive", "disabled"]},
    fips=_TRUTH,
    secure_boot=_TRUTH,
    audit=_TRUTH,
    audit_immutable=_TRUTH,
    crypto_policy=_TEXT,
    unsigned_modules=_TEXTS,
    sysctl={"type": "object", "additionalProperties": _TEXT},
    files={"type": "object", "additionalProperties": _TEXT},
)
_SLURM = _thing(
    ("drain",),
    drain=_TRUTH,
    partition=_TEXT,
    max_percent=_whole(1, 100),
    max_nodes=_whole(1, 100_000),
    least={"type": "string", "enum": list(SEVERITIES)},
)
SHAPE = _thing(
    ("schema", "node", "gpus"),
    schema={"type": "string", "enum": [SCHEMA]},
    node=_TEXT,
    kind={"type": "string", "enum": ["metal", "vm", "container"]},
    gpus=_GPUS,
    cpu=_thing(sockets=_whole(1, 64), cores=_whole(1, 4096), governor=_TEXT),
    memory=_thing(mib=_whole(1, 2**31), hugepages=_whole(0, 2**31), swap=_TRUTH),
    infiniband={"type": "array", "items": _PORT},
    ethernet={"type": "array", "items": _NIC},
    disks=_thing(count=_whole(0, 512), nvme=_whole(0, 512)),
    filesystems={"type": "array", "items": _MOUNT},
    kernel=_thing(release=_TEXT, arguments=_TEXTS),
    time=_thing(source=_TEXT),
    services=_TEXTS,
    containers=_thing(cdi=_TRUTH, toolkit=_TEXT, gpu_units=_TEXTS),
    security=_SECURITY,
    slurm=_SLURM,
    limits={"type": "object", "additionalProperties": {"type": "number"}},
)
"""The declaration as a JSON schema; only the words used here are understood by `read`."""

_PYTHON = {
    "string": str, "boolean": bool, "integer": int, "number": (int, float), "array": list,
    "object": dict,
}  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """A node's declaration. `limits` are the site's numbers, `places` says where they stand."""

    node: str = ""
    kind: str = "metal"
    declared: dict[str, Any] = field(default_factory=dict)
    places: Placed | None = None

    def section(self, name: str) -> dict[str, Any]:
        """A part of the declaration.

        Raises:
            NotMeant: the declaration says nothing of it.
        """
        found = self.declared.get(name)
        if not isinstance(found, dict):
            raise NotMeant(f"the declaration says nothing of {name}")
        return found

    def said(self, name: str, key: str) -> Any:
        """A value of a part of the declaration.

        Raises:
            NotMeant: the declaration says nothing of it.
        """
        found = self.section(name).get(key)
        if found is None:
            raise NotMeant(f"the declaration says nothing of {name}.{key}")
        return found

    def list_of(self, name: str) -> list[Any]:
        """A list of the declaration.

        Raises:
            NotMeant: the declaration does not have it, or it is empty.
        """
        found = self.declared.get(name)
        if not isinstance(found, list) or not found:
            raise NotMeant(f"the declaration names no {name}")
        return found

    @property
    def gpus(self) -> dict[str, Any]:
        """What is declared of the GPUs; with no declaration at all nothing is."""
        found = self.declared.get("gpus", {})
        return found if isinstance(found, dict) else {}


def read_file(path: Path) -> Expected:
    """The declaration in `path`.

    Raises:
        Mistake: it cannot be read or used; all mistakes at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake([f"{path}: cannot be read: {error}"]) from error
    return read(text, str(path))


def read(text: str, name: str = "the declaration") -> Expected:
    """The declaration in `text`.

    Raises:
        Mistake: it is not JSON or not a declaration; all mistakes at once.
    """
    placed = Placed(text, name)
    problems: list[str] = []
    _judge(placed, placed.value, SHAPE, (), problems)
    if problems:
        raise Mistake(problems)
    value: dict[str, Any] = placed.value
    return Expected(value["node"], value.get("kind", "metal"), value, placed)


def _judge(
    placed: Placed, value: Any, shape: dict[str, Any], path: tuple[Any, ...], found: list[str]
) -> None:
    place = placed.at(*path)
    called = ".".join(str(p) for p in path) or "the document"
    wanted = shape["type"]
    kinds: Any = _PYTHON[wanted]
    if not isinstance(value, kinds) or (isinstance(value, bool) and wanted != "boolean"):
        found.append(f"{place}: {called} must be of type {wanted}, not {json.dumps(value)[:60]}")
        return
    if "enum" in shape and value not in shape["enum"]:
        found.append(f"{place}: {called} must be one of {', '.join(shape['enum'])}")
    if "minimum" in shape and not shape["minimum"] <= value <= shape["maximum"]:
        found.append(
            f"{place}: {called} is {value}; it must be from {shape['minimum']} to"
            f" {shape['maximum']}"
        )
    if wanted == "array":
        for index, item in enumerate(value):
            _judge(placed, item, shape["items"], (*path, index), found)
    if wanted == "object":
        _judge_keys(placed, value, shape, path, found)


def _judge_keys(
    placed: Placed,
    value: dict[str, Any],
    shape: dict[str, Any],
    path: tuple[Any, ...],
    found: list[str],
) -> None:
    known = shape.get("properties", {})
    others = shape["additionalProperties"]
    called = ".".join(str(p) for p in path) or "the document"
    found.extend(
        f"{placed.at(*path)}: {called} has no {key!r}"
        for key in shape.get("required", ())
        if key not in value
    )
    for key, item in value.items():
        inner = known.get(key, others)
        if inner is False:
            found.append(
                f"{placed.at(*path, key)}: unknown key {key!r} in {called}{_near(key, known)}"
            )
        else:
            _judge(placed, item, inner, (*path, key), found)


def _near(key: str, known: dict[str, Any]) -> str:
    import difflib

    close = difflib.get_close_matches(key, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""

"""Asks nodes what lies on them: one command each, and an answer that is read as a stranger's."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from provision.checks import remote, shipping
from provision.checks.shipping import Unreachable
from provision.core.events import Event, EventSink
from provision.core.problems import HoldfastError
from provision.image.described import Described
from provision.image.drift import Drifted, Sight, drift
from provision.image.filelist import parse_files
from provision.image.ignored import Ignored
from provision.image.onnode import IMAGE, SCHEMA
from provision.rack.model import Node, Rack
from provision.rack.ssh import SshSettings
from provision.verdict.model import Status

AT_ONCE = 8
"""Nodes that read all their files at the same time; what they send is worked on here."""
LOOK_S = 600
"""Seconds that a node of patience 1 has."""
MOST_BYTES = 64 * 1024 * 1024
"""The most that a node may send."""
MOST_TEXT = 4 * MOST_BYTES
"""The most that this may be once it is unpacked: about a million paths."""


@dataclass(frozen=True)
class NodeDrift:
    """What became of a node: `why` says what is unknown as a whole, `found` the rest."""

    node: str
    why: str = ""
    hint: str = ""
    image: Described | None = None
    found: Drifted | None = None

    @property
    def status(self) -> Status:
        """Fail where it drifted; unknown where something could not be looked at."""
        if self.found is None:
            return Status.UNKNOWN
        if self.found.drifts:
            return Status.FAIL
        return Status.UNKNOWN if self.found.unseen else Status.PASS

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        body: dict[str, Any] = {"node": self.node, "status": self.status.value}
        if self.image is not None:
            body["image"] = {"name": self.image.manifest.name, "digest": self.image.manifest.digest}
        if self.found is None:
            return {**body, "why": self.why}
        ignored: dict[str, list[str]] = {}
        for path, why in self.found.ignored.items():
            ignored.setdefault(why, []).append(path)
        return {
            **body,
            "drifts": [one.to_json() for one in self.found.drifts],
            "unknown": [{"what": one.what, "why": one.why} for one in self.found.unseen],
            "ignored": [{"why": why, "paths": paths} for why, paths in ignored.items()],
        }


@dataclass(frozen=True)
class Way:
    """How nodes are reached, and what they are compared with: images by their list of files."""

    rack: Rack
    ssh: SshSettings
    images: Mapping[str, Described]
    ignored: Ignored


def look_at(way: Way, nodes: Sequence[Node], events: EventSink) -> list[NodeDrift]:
    """Compare nodes with their images; every node gets an answer. In the order of `nodes`."""
    events.emit(Event("audit.start", data={"nodes": [node.name for node in nodes]}))
    for node in nodes:
        events.emit(Event("audit.ask", node=node.name))
    with ThreadPoolExecutor(min(AT_ONCE, max(len(nodes), 1))) as pool:
        found = list(_told(pool.map(lambda node: _one(way, node), nodes), events))
    events.emit(Event("audit.end", data={"nodes": len(found)}))
    return found


def _told(answers: Iterator[NodeDrift], events: EventSink) -> Iterator[NodeDrift]:
    for one in answers:
        counts = {}
        if one.found is not None:
            counts = {"drift": len(one.found.drifts), "unknown": len(one.found.unseen)}
        events.emit(
            Event(
                "audit.answer",
                node=one.node,
                data={
                    "outcome": "fresh" if one.found is not None else "refused",
                    "status": one.status.value,
                    "why": one.why,
                    "counts": counts,
                },
            )
        )
        yield one


def _one(way: Way, node: Node) -> NodeDrift:
    known = sorted({n for image in way.images.values() for n in image.packages})
    job = {"apart": way.ignored.apart(), "packages": known}
    limit = float(LOOK_S * node.patience)
    try:
        answer = remote.call(
            way.rack, node, shipping.along("provision.image", limit - 10), ssh=way.ssh,
            limit_s=limit, most=MOST_BYTES, stdin=json.dumps(job).encode(),
        )  # fmt: skip
    except Unreachable as error:
        return NodeDrift(node.name, f"it cannot be reached: {error}", "look at the node")
    if answer.returncode:
        why = remote.said(answer) or f"it ended with {answer.returncode}"
        return NodeDrift(node.name, f"nothing could be seen: {why}", "look at the node")
    try:
        about, sight = read_answer(answer.out, own_kernel=node.kind != "container")
    except ValueError as error:
        return NodeDrift(node.name, f"what it said cannot be read: {error}", "look at the node")
    return judged(way, node.name, about, sight)


def judged(way: Way, node: str, about: Mapping[str, Any], sight: Sight) -> NodeDrift:
    """What the answer of a node comes to."""
    told = about["image"]
    if "value" not in told:
        why = told.get("absent") or told.get("error") or "it says nothing"
        hint = "only nodes that came from an image of Holdfast can be compared with it"
        return NodeDrift(node, f"it does not say which image it came from: {IMAGE}: {why}", hint)
    digest = told["value"].get("files") if isinstance(told["value"], dict) else None
    image = way.images.get(str(digest))
    if image is None:
        have = ", ".join(sorted(i.manifest.name for i in way.images.values()))
        name = told["value"].get("name") if isinstance(told["value"], dict) else "?"
        why = f"it came from another image ({str(name)[:60]!r}, files {str(digest)[:12]!r})"
        return NodeDrift(node, f"{why} than those given ({have})", "give that image's folder")
    try:
        return NodeDrift(node, image=image, found=drift(image, sight, way.ignored))
    except HoldfastError as error:
        return NodeDrift(node, f"its image cannot be read: {error.problems[0].message}")


def read_answer(raw: bytes, *, own_kernel: bool = True) -> tuple[dict[str, Any], Sight]:
    """What a node sent: what it says of itself, and what was seen.

    Raises:
        ValueError: it is no whole answer.
    """
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(raw, MOST_TEXT).decode("ascii")
    except (zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"it is not packed as it should be: {error}") from error
    if not unpacker.eof:
        raise ValueError("it is cut short, or too much")
    first, _, rest = text.partition("\n")
    lines, _, last = rest.rstrip("\n").rpartition("\n")
    try:
        about, ending = json.loads(first), json.loads(last)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if (
        not isinstance(about, dict)
        or about.get("schema") != SCHEMA
        or not isinstance(about.get("image"), dict)
    ):
        raise ValueError("it is of another version of Holdfast")
    try:
        files = parse_files(f"{lines}\n", "the node's list of files")
        packages = about["packages"].get("value")
        sight = Sight(
            files=files,
            errors={str(k): str(v) for k, v in ending["errors"].items()},
            mounted={str(k): str(v) for k, v in ending["mounted"].items()},
            packages=None if packages is None else tuple(sorted(map(str, packages))),
            owns={str(k): tuple(map(str, v)) for k, v in (packages or {}).items() if v},
            kernel=str(about["kernel"].get("value", "")),
            arguments=about["cmdline"].get("value"),
            own_kernel=own_kernel,
        )
    except (HoldfastError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(str(error)) from error
    return about, sight

"""Renders the controls of a rack's nodes once, for every ansible process of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from provision.core.files import write_whole
from provision.core.problems import fail
from provision.policy.judge import TRAITS, selection_of, target_of, targets_of
from provision.policy.load import Policy
from provision.policy.model import KINDS, RELEASES, Release
from provision.policy.resolve import NONE, Target, resolve
from provision.rack.model import Node, Rack

Rendered = list[dict[str, Any]]


def controls_of(rack: Rack, policy: Policy, node: Node, release: str) -> Rendered:
    """The controls that a node gets, as its module takes them.

    Raises:
        HoldfastError: the release has no controls.
    """
    known: tuple[Release, ...] = get_args(Release)
    chosen = next((r for r in known if r == release), None)
    if chosen is None:
        raise fail("release", f"there are no controls for {release}", where=node.name)
    return resolve(policy, selection_of(rack), target_of(node, chosen)).rendered()


def write_controls(rack: Rack, policy: Policy, folder: Path) -> dict[str, dict[str, str]]:
    """Render the controls of every node into `folder`; the files by node and release.

    Nodes that get the same share a file. A rack without a profile has none.

    Raises:
        OSError: the folder cannot be written.
    """
    if rack.profile == NONE:
        return {}
    folder.mkdir(mode=0o700, exist_ok=True)
    files = {}
    for number, (target, body) in enumerate(_rendered(rack, policy).items(), 1):
        files[target] = folder / f"{number:02d}-{target.release}-{target.kind}.json"
        write_whole(files[target], json.dumps(body, indent=1) + "\n", mode=0o600)
    return {
        node.name: {target.release: str(files[target]) for target in targets_of(node)}
        for node in rack.nodes
    }


def digest(rack: Rack, policy: Policy) -> str | None:
    """The sha256 of all that nodes can get of a rack's profile; None without one.

    It is of every kind of node, so that it stays the same for a part of the rack.
    """
    if rack.profile == NONE:
        return None
    selection = selection_of(rack)
    body = [
        resolve(policy, selection, Target(release, kind, traits)).rendered()
        for release in RELEASES
        for kind in KINDS
        for traits in (frozenset[str](), frozenset(TRAITS))
    ]
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _rendered(rack: Rack, policy: Policy) -> dict[Target, Rendered]:
    """What every target of a rack gets; which releases there are is known once nodes answer."""
    selection = selection_of(rack)
    targets = dict.fromkeys(target for node in rack.nodes for target in targets_of(node))
    return {target: resolve(policy, selection, target).rendered() for target in targets}


def variables(files: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What playbooks are told of the rendered controls."""
    return {"engine_controls": {n: dict(of) for n, of in files.items()}} if files else {}

"""Judges the security that an inventory asks for; the inventory's own room calls it."""

from __future__ import annotations

from provision.policy.load import Policy
from provision.policy.model import RELEASES, Release
from provision.policy.resolve import Selection, Target, objections
from provision.rack.known import Judge, Objection, Security
from provision.rack.model import Node, Rack

TRAITS = {
    "gpu": "the inventory declares GPUs for it",
    "containers": "it runs containers, as every node of a rack does",
    "inference": "it serves a model",
}
"""What an inventory shows of a node, as overlays call it."""


EVERY_NODE = frozenset({"containers"})
"""What every node of a rack is or does."""


def traits_of(node: Node) -> frozenset[str]:
    """What the inventory shows of a node, as overlays call it."""
    found = set(EVERY_NODE)
    if node.hardware is not None and node.hardware.gpus is not None:
        found.add("gpu")
    if node.inference is not None:
        found.add("inference")
    return frozenset(found)


def selection_of(rack: Rack) -> Selection:
    """What a rack asks for."""
    return Selection(rack.profile, rack.overlays, rack.waivers)


def target_of(node: Node, release: Release) -> Target:
    """What a node of a release is."""
    return Target(release, node.kind, traits_of(node), tuple(node.lacks.reasons.items()))


def targets_of(node: Node) -> list[Target]:
    """What a node may turn out to be: its release is known once it has been asked."""
    return [target_of(node, release) for release in RELEASES]


def judge_with(policy: Policy) -> Judge:
    """The judge that knows `policy`."""

    def judge(asked: Security) -> list[Objection]:
        selection = Selection(asked.profile, asked.overlays, asked.waivers)
        targets = [target for node in asked.nodes for target in targets_of(node)]
        return objections(policy, selection, targets)

    return judge

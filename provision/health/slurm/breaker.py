"""The breaker: how many nodes the audit may take out of service."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from provision.health.slurm import reason
from provision.health.slurm.controller import Node, Unreachable

PERCENT = 10
"""Without a number of the site's. A tenth of a partition is what a queue can miss; NVSentinel's
own breaker stands at half of a cluster, which is an outage already."""


@dataclass(frozen=True)
class Count:
    """What was counted.

    Args:
        others: nodes that are drained with our tag, this one not counted.
        nodes: how many nodes there are in the partition, or the cluster.
        allowed: how many may be drained with our tag, at least one.
        where: the partition, or the cluster, in words.
    """

    others: int
    nodes: int
    allowed: int
    where: str

    @property
    def tripped(self) -> bool:
        """Whether this node would be one too many."""
        return self.others + 1 > self.allowed

    def __str__(self) -> str:
        return (
            f"{self.others} of {self.nodes} nodes of {self.where} are drained by the audit"
            f" already, and at most {self.allowed} may be"
        )


def count(nodes: Iterable[Node], me: str, settings: dict[str, Any]) -> Count:
    """Count the drains of ours.

    A reason of ours that somebody has added to still counts: the node is out all the same.

    Raises:
        Unreachable: this node is not among the nodes that count.
    """
    partition = settings.get("partition")
    where = f"the partition {partition}" if partition else "the cluster"
    counted = [n for n in nodes if not partition or partition in n.partitions]
    if me not in {n.name for n in counted}:
        raise Unreachable(f"the node {me} is not in {where}, so drains cannot be counted")
    others = sum(n.drained and reason.tagged(n.reason) for n in counted if n.name != me)
    share = math.floor(len(counted) * settings.get("max_percent", PERCENT) / 100)
    return Count(others, len(counted), max(1, settings.get("max_nodes", share)), where)

"""Which nodes are handled together, and when a run must stop. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wave:
    """Nodes that are handled together; `number` counts from 1."""

    number: int
    nodes: tuple[str, ...]


def split(nodes: Sequence[str], sizes: Sequence[int]) -> tuple[Wave, ...]:
    """Nodes in waves of these sizes, in their order; the last size repeats.

    Raises:
        ValueError: a size is not positive, or there is none.
    """
    if not sizes or any(size < 1 for size in sizes):
        raise ValueError(f"wave sizes must be positive numbers, not {list(sizes)}")
    waves: list[Wave] = []
    start = 0
    while start < len(nodes):
        size = sizes[min(len(waves), len(sizes) - 1)]
        waves.append(Wave(len(waves) + 1, tuple(nodes[start : start + size])))
        start += size
    return tuple(waves)


def over_budget(failed: int, budget: int) -> bool:
    """Whether so many failed nodes are more than a run tolerates."""
    return failed > budget

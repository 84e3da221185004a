"""Which nodes are handled together, and when a run must stop. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wave:
    """Nodes that are handled together; `number` counts from 1.

    `unit` says that their GPU unit changes, so that they are drained first and checked after.
    """

    number: int
    nodes: tuple[str, ...]
    unit: bool = False


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


def ordered(
    changing: Sequence[str], units: Collection[str], sizes: Sequence[int], unit_sizes: Sequence[int]
) -> tuple[Wave, ...]:
    """All waves of a run: first nodes whose GPU unit stays, then the others by `unit_sizes`.

    Raises:
        ValueError: a size is not positive, or there is none.
    """
    plain = split([n for n in changing if n not in units], sizes)
    later = split([n for n in changing if n in units], unit_sizes)
    return (*plain, *(Wave(len(plain) + w.number, w.nodes, unit=True) for w in later))


def over_budget(failed: int, budget: int) -> bool:
    """Whether so many failed nodes are more than a run tolerates."""
    return failed > budget

"""Where each node sits when the rack is drawn. Places only; the template draws.

The drawing never invents a place: nodes whose position is not declared stand in columns of
their own, in the order of the inventory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from provision.verdict.model import NodeSummary

RACK_UNITS = 42
"""A full rack. A node declared above it makes its column taller."""
_SMALLEST = 8
"""Units of the smallest drawing, so that two nodes still look like a rack."""


@dataclass(frozen=True)
class Slot:
    """One node in a column: `unit` is its lowest unit, counted from 1 at the bottom."""

    node: NodeSummary
    unit: int
    height: int


@dataclass(frozen=True)
class Column:
    """One drawing: the units from `first` to `last`, both included, and what stands in them.

    `declared` is false where the places are only the order of the inventory; such units have no
    numbers to show.
    """

    title: str
    first: int
    last: int
    slots: tuple[Slot, ...]
    declared: bool = True

    @property
    def units(self) -> int:
        """How many units are drawn."""
        return self.last - self.first + 1


def columns(rack: str, nodes: Iterable[NodeSummary]) -> tuple[Column, ...]:
    """The columns to draw for `nodes`.

    Nodes that declare the same units, as those of several racks in one inventory do, go into
    as many columns as it takes.
    """
    every = tuple(nodes)
    placed = _declared(n for n in every if n.position is not None)
    loose = _in_order([n for n in every if n.position is None])
    found = [_cropped(slots) for slots in placed] + [_packed(slots) for slots in loose]
    names = _titles(rack, len(placed), len(loose))
    return tuple(
        Column(name, c.first, c.last, c.slots, c.declared)
        for name, c in zip(names, found, strict=True)
    )


def _declared(nodes: Iterable[NodeSummary]) -> list[list[Slot]]:
    racks: list[dict[int, Slot]] = []
    for node in nodes:
        unit, height = max(node.position or 1, 1), max(node.height, 1)
        wanted = range(unit, unit + height)
        rack = next((r for r in racks if not any(u in r for u in wanted)), None)
        if rack is None:
            rack = {}
            racks.append(rack)
        rack.update(dict.fromkeys(wanted, Slot(node, unit, height)))
    return [list({id(slot): slot for slot in rack.values()}.values()) for rack in racks]


def _in_order(nodes: list[NodeSummary]) -> list[list[Slot]]:
    """Fill columns from the top down, as a list is read; units are set by `_packed`."""
    racks: list[list[Slot]] = []
    room = 0
    for node in nodes:
        height = max(node.height, 1)
        if height > room:
            racks.append([])
            room = max(RACK_UNITS, height)
        racks[-1].append(Slot(node, 0, height))
        room -= height
    return racks


def _cropped(slots: list[Slot]) -> Column:
    """The units in use with one to spare; a rack that is nearly full is drawn whole."""
    top = max(s.unit + s.height - 1 for s in slots)
    low = min(s.unit for s in slots)
    first = 1 if low <= _SMALLEST else low - 1
    last = max(top + 1, first + _SMALLEST - 1)
    if top <= RACK_UNITS:
        last = RACK_UNITS if last > RACK_UNITS - _SMALLEST else last
    return Column("", first, last, tuple(slots))


def _packed(slots: list[Slot]) -> Column:
    used = sum(s.height for s in slots)
    total = max(used, _SMALLEST)
    placed: list[Slot] = []
    unit = total + 1
    for slot in slots:
        unit -= slot.height
        placed.append(Slot(slot.node, unit, slot.height))
    return Column("", 1, total, tuple(placed), declared=False)


def _titles(rack: str, placed: int, loose: int) -> list[str]:
    names = [rack] if placed == 1 else [f"{rack} · {n}" for n in range(1, placed + 1)]
    if not loose:
        return names
    if loose == 1:
        return [*names, "no position declared"]
    return [*names, *(f"no position declared · {n}" for n in range(1, loose + 1))]

"""The data that ships beside the code: models, XID and SXid codes."""

from __future__ import annotations

import functools
import json
import pkgutil
from dataclasses import dataclass
from typing import Any


def text(name: str) -> str:
    """What a data file holds."""
    found = pkgutil.get_data("provision.health.data", name)
    if found is None:
        raise FileNotFoundError(name)
    return found.decode("utf-8")


@dataclass(frozen=True)
class Model:
    """What a GPU model is, as far as checks need it.

    Args:
        id: how limits and declarations name it.
        names: what NVML calls it.
        nvlinks: NVLink links to expect, 0 for none.
        switched: whether its NVLinks go through NVSwitches, which need a fabric manager.
        width: PCIe lanes.
        generation: PCIe generation.
        watts: default power limit, None where boards differ.
        memory_mib: least memory that NVML shows.
        traits: what it can say: ecc, remap, retired_pages, memory_temperature, mig, sram, gsp,
            repair, fabric (from Hopper on, where NVLinks are switched).
        switches: NVSwitches on the PCI bus of a baseboard with eight of them, 0 where not known.
    """

    id: str
    names: tuple[str, ...]
    nvlinks: int
    switched: bool
    width: int
    generation: int
    watts: int | None
    memory_mib: int
    traits: frozenset[str]
    switches: int = 0

    def can(self, trait: str) -> bool:
        """Whether GPUs of this model say `trait`."""
        return trait in self.traits


@functools.cache
def models() -> tuple[Model, ...]:
    """Every known model."""
    found = []
    for told in json.loads(text("models.json"))["models"]:
        fields: dict[str, Any] = {**told, "names": tuple(told["names"])}
        fields["traits"] = frozenset(told["traits"])
        found.append(Model(**fields))
    return tuple(found)


def model_of(name: str) -> Model | None:
    """The model that NVML calls `name`, or that a declaration names by its id."""
    wanted = name.lower().removeprefix("nvidia ").strip()
    for model in models():
        called = {n.lower().removeprefix("nvidia ") for n in model.names}
        if wanted == model.id or wanted in called:
            return model
    return None

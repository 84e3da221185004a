"""The names that an inventory may refer to and that other rooms own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from provision.rack.model import Adoption, Node, Waiver


@dataclass(frozen=True)
class Objection:
    """Something wrong with what an inventory asks for.

    `at` begins with the variable without its prefix and leads into its value; `node` is whose
    variable it is, None the rack's.
    """

    code: str
    message: str
    at: tuple[str | int, ...]
    value: str | None = None
    hint: str | None = None
    node: str | None = None


@dataclass(frozen=True)
class Security:
    """What an inventory asks for: a profile, overlays, waivers, and the nodes that shall get it."""

    profile: str
    overlays: tuple[Adoption, ...]
    waivers: tuple[Waiver, ...]
    nodes: Sequence[Node]


Judge = Callable[[Security], Iterable[Objection]]
"""What another room has to say about what an inventory asks for."""


@dataclass(frozen=True)
class KnownNames:
    """Models, images and engines that exist, and who judges what is asked for.

    `limits` are those of the audit by name, each with the least and the most that a site may set.
    `security` judges profile, overlays and waivers, `stack` what the lock has for nodes and
    profile. None where the names could not be found out (the stack lock is missing); they are then
    not checked, and whoever passes None has a problem of their own to report. `unkeyed` nodes are
    yet to be enrolled: they need no host key.
    """

    models: frozenset[str] | None = None
    images: frozenset[str] | None = None
    engines: frozenset[str] | None = None
    limits: Mapping[str, tuple[float, float]] | None = None
    security: Judge | None = None
    stack: Judge | None = None
    unkeyed: bool = False

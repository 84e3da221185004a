"""A node while it is read: what could be used of it, and the definitions that it came from."""

from __future__ import annotations

from dataclasses import dataclass

from provision.rack.model import Node
from provision.rack.tree import Definition, Host


@dataclass(frozen=True)
class Draft:
    """A node with the definitions that made it; values that could not be used are left out."""

    host: Host
    node: Node
    won: dict[str, Definition]

"""`--limit`: which nodes of a rack a pattern names."""

from __future__ import annotations

import fnmatch

from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.problems import HoldfastError, Problem
from provision.rack.model import Rack


def limited(rack: Rack, pattern: str) -> frozenset[str]:
    """The names of the nodes that `pattern` leaves; see `Rack.limit`.

    Raises:
        HoldfastError: a name fits nothing, or nothing is left.
    """
    members = _members(rack)
    kept: set[str] = set()
    dropped: set[str] = set()
    problems: list[Problem] = []
    words = [word for word in (part.strip() for part in pattern.split(",")) if word]
    for word in words:
        name = word.removeprefix("!")
        found = {
            n for key, nodes in members.items() if fnmatch.fnmatchcase(key, name) for n in nodes
        }
        if not found:
            message = f"no node and no group is called {name!r}"
            hint = suggest(name, members)
            problems.append(Problem("unknown-node", message, None, name, hint, where="--limit"))
        (dropped if word.startswith("!") else kept).update(found)
    if words and all(word.startswith("!") for word in words):
        kept = set(members["all"])
    left = frozenset(kept - dropped)
    if not left and not problems:
        hint = "name a node or a group"
        problems.append(
            Problem("no-nodes", "no node is left", None, pattern, hint, where="--limit")
        )
    if problems:
        raise HoldfastError(problems, ExitCode.USAGE)
    return left


def _members(rack: Rack) -> dict[str, set[str]]:
    """Nodes by every name that a pattern may use."""
    members: dict[str, set[str]] = {"all": {n.name for n in rack.nodes}}
    for node in rack.nodes:
        members.setdefault(node.name, set()).add(node.name)
        for group in node.groups:
            members.setdefault(group, set()).add(node.name)
    return members

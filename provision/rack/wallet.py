"""Whether every secret that a rack refers to can be read on this controller, before it is used."""

from __future__ import annotations

from provision.core.problems import HoldfastError, Problem
from provision.rack.model import Rack
from provision.rack.secrets import SecretRef, read_secret

PUBLIC = frozenset({"tls_certificate", "tls_ca"})
"""Secrets by form only: everybody who connects is shown them."""


def unreadable_secrets(rack: Rack) -> list[Problem]:
    """A problem for every reference that cannot be read now, said once for all its nodes.

    Values are read and dropped. `vault:` references run `ansible-vault`, about a second each.
    """
    nodes: dict[tuple[SecretRef, bool], list[str]] = {}
    for node in rack.nodes:
        for field, ref in node.secrets.items():
            nodes.setdefault((ref, field not in PUBLIC), []).append(node.name)
    return [
        problem
        for (ref, private), names in nodes.items()
        for problem in _unreadable(rack, ref, private, names)
    ]


def _unreadable(rack: Rack, ref: SecretRef, private: bool, names: list[str]) -> list[Problem]:
    try:
        read_secret(ref, rack.folder, private=private)
    except HoldfastError as error:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return [
            Problem(p.code, f"{p.message} (needed by {names[0]}{more})", hint=p.hint, where=p.where)
            for p in error.problems
        ]
    return []

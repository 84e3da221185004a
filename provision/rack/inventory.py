"""Loads an inventory: from files to a `Rack`, or to everything that is wrong with them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.core.problems import Problem, by_position
from provision.rack.crosschecks import cross_check
from provision.rack.declaration import Declaration, open_inventory
from provision.rack.draft import Draft
from provision.rack.known import KnownNames
from provision.rack.model import SECRETS, Node, Rack
from provision.rack.tree import Definition, Host
from provision.rack.values import INVALID
from provision.rack.variables import ALIASES, PREFIX, VARIABLES

__all__ = [
    "KnownNames",
    "folders_of",
    "load_inventory",
    "open_inventory",
    "stack_path",
    "to_rack",
]


def load_inventory(path: Path, known: KnownNames) -> tuple[Rack | None, list[Problem]]:
    """Read, resolve and check an inventory. Contacts nothing and starts nothing.

    Args:
        path: the inventory file; group_vars/ and host_vars/ beside it belong to it.
        known: the names that may be referred to.

    Returns:
        The rack and no problems, or None and all problems in reading order.
    """
    declaration, problems = open_inventory(path)
    if declaration is None:
        return None, by_position(problems)
    return to_rack(declaration, known)


def stack_path(declaration: Declaration) -> Path | None:
    """The absolute path of the stack lock that the inventory names, if it names one."""
    value = declaration.rack_value("stack")
    return _absolute(declaration, value) if isinstance(value, str) else None


def folders_of(declaration: Declaration, short: str) -> tuple[Path, ...]:
    """The absolute paths of the folders that a variable names."""
    value = declaration.rack_value(short)
    folders = value if isinstance(value, tuple) else ()
    return tuple(_absolute(declaration, folder) for folder in folders)


def to_rack(declaration: Declaration, known: KnownNames) -> tuple[Rack | None, list[Problem]]:
    """Resolve and cross-check an opened inventory; see `load_inventory`."""
    if not declaration.tree.usable:
        return None, _once(declaration.problems)
    drafts = [_draft(declaration, host) for host in declaration.tree.hosts.values()]
    problems = declaration.problems + cross_check(declaration, drafts, known)
    problems = _once(problems)
    if problems:
        return None, problems
    return _rack(declaration, [draft.node for draft in drafts]), []


def _rack(declaration: Declaration, nodes: list[Node]) -> Rack:
    given: dict[str, Any] = {}
    for short in ("profile", "overlays", "waivers", "waves", "origin", "full_scan_days"):
        value = declaration.rack_value(short)
        if value is not None:
            given[short] = value
    known_hosts = declaration.rack_value("known_hosts")
    if isinstance(known_hosts, str):
        given["known_hosts"] = _absolute(declaration, known_hosts)
    given["controls"] = folders_of(declaration, "controls")
    given["baselines"] = folders_of(declaration, "baselines")
    return Rack(
        name=str(declaration.rack_value("rack")),
        path=declaration.sources.path.absolute(),
        stack=_absolute(declaration, str(declaration.rack_value("stack"))),
        groups=tuple(sorted(declaration.tree.groups)),
        nodes=tuple(nodes),
        sha256=declaration.sources.sha256,
        **given,
    )


def _absolute(declaration: Declaration, value: str) -> Path:
    return declaration.folder.absolute() / Path(value).expanduser()


@dataclass
class _Connection:
    """How Ansible reaches a host, from its variables."""

    declaration: Declaration
    host: Host
    won: dict[str, Definition]

    def value(self, name: str) -> Any:
        """The value of one variable or its alias, or None."""
        definition = self.definition(name)
        value = None if definition is None else self.declaration.value(definition)
        return None if value is INVALID else value

    def definition(self, name: str) -> Definition | None:
        aliases = [alias for alias, meant in ALIASES.items() if meant == name]
        return next((self.won[n] for n in (*aliases, name) if n in self.won), None)

    @property
    def port(self) -> int:
        definition = self.definition("ansible_port")
        # `gpu-01:2222` is a variable of the host for Ansible, and so before those of groups.
        if self.host.port and (definition is None or definition.scope != "host"):
            return self.host.port
        return self.value("ansible_port") or 22

    @property
    def private_key(self) -> Path | None:
        given = self.value("ansible_ssh_private_key_file")
        return Path(given).expanduser() if given else None

    @property
    def arguments(self) -> tuple[str, ...]:
        words: list[str] = []
        for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
            try:
                words += shlex.split(self.value(name) or "")
            except ValueError:
                continue  # said by the cross-check, with its place
        return tuple(words)


def _draft(declaration: Declaration, host: Host) -> Draft:
    """A node as far as its variables can be used; what cannot is left out and already noted."""
    won = declaration.effective(host)
    connection = _Connection(declaration, host, won)
    given: dict[str, Any] = {}
    for variable in VARIABLES:
        definition = won.get(variable.name)
        if variable.level != "node" or definition is None:
            continue
        value = declaration.value(definition)
        if value is not INVALID:
            given[variable.short] = value
    groups = declaration.tree.ancestors(host.groups) - {"all"}
    node = Node(
        name=host.name,
        address=connection.value("ansible_host") or host.name,
        port=connection.port,
        user=connection.value("ansible_user"),
        connect_timeout_s=connection.value("ansible_ssh_timeout"),
        private_key=connection.private_key,
        ssh_args=connection.arguments,
        groups=tuple(sorted(groups)),
        **given,
    )
    return Draft(host, node, won)


def _once(problems: list[Problem]) -> list[Problem]:
    """Problems in reading order, each said once."""
    seen: dict[tuple[object, ...], Problem] = {}
    for problem in by_position(problems):
        seen.setdefault((problem.code, problem.position, problem.message), problem)
    return list(seen.values())


assert all(PREFIX + secret in {v.name for v in VARIABLES} for secret in SECRETS)

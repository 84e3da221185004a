"""Groups and hosts of an inventory, by Ansible's own rules, with every mistake noted."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic_core import PydanticCustomError

from provision.core.names import suggest
from provision.core.problems import Position, Problem
from provision.core.yamlpos import KeyPath, Tagged, YamlDocument, shown
from provision.rack import formats
from provision.rack.ranges import MAX_NODES, expand
from provision.rack.variables import ALIASES, BY_NAME, CONNECTION, PREFIX

MAX_GROUPS = 2000
SECTIONS = ("vars", "hosts", "children")
Scope = Literal["all", "group", "host"]


@dataclass(frozen=True)
class Definition:
    """One place where a variable gets a value."""

    name: str
    value: object = field(repr=False)
    document: YamlDocument = field(repr=False)
    path: KeyPath
    scope: Scope
    owner: str

    def problem(
        self,
        code: str,
        message: str,
        inner: KeyPath = (),
        *,
        key: bool = False,
        value: str | None = None,
        hint: str | None = None,
    ) -> Problem:
        """A problem with the value, or with what is at `inner` in it."""
        path = (*self.path, *inner)
        found = self.document.problem(code, message, path, key=key, value=value, hint=hint)
        return replace(found, source=None) if code == "literal-secret" else found

    @property
    def position(self) -> Position:
        """Where the value stands."""
        return self.document.at(self.path)


@dataclass
class Group:
    """A group: its place, its members and its own variables."""

    name: str
    path: KeyPath
    parents: set[str] = field(default_factory=set)
    hosts: list[str] = field(default_factory=list)
    variables: dict[str, Definition] = field(default_factory=dict)
    priority: int = 1
    depth: int = 0


@dataclass
class Host:
    """A host: its place, the groups it is listed in, and its own variables."""

    name: str
    path: KeyPath
    port: int | None = None
    groups: set[str] = field(default_factory=set)
    variables: dict[str, Definition] = field(default_factory=dict)


class Tree:
    """All groups and hosts of one inventory document.

    `usable` is False when the document is no inventory at all; nothing else is worth saying then.
    """

    def __init__(self, document: YamlDocument) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.groups: dict[str, Group] = {
            name: Group(name, (name,)) for name in ("all", "ungrouped")
        }
        self.hosts: dict[str, Host] = {}
        self.usable = self._is_inventory()
        if self.usable:
            assert isinstance(document.data, dict)
            for name, body in document.data.items():
                self._group(name, body, (name,), None)
        self._finish()

    def ancestors(self, names: Iterable[str]) -> set[str]:
        """The groups `names` and every group above them."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self.groups[name].parents)
        return found

    def sorted_groups(self, host: Host) -> list[Group]:
        """A host's groups in the order in which Ansible applies their variables."""
        own = [self.groups[name] for name in self.ancestors(host.groups)]
        return sorted(own, key=lambda g: (g.depth, g.priority, g.name))

    def complain(
        self, code: str, message: str, path: KeyPath, hint: str | None = None, *, key: bool = True
    ) -> None:
        """Note a problem with the key at `path`, or with its value."""
        value = str(path[-1]) if path and key else None
        self.problems.append(
            self.document.problem(code, message, path, key=key, value=value, hint=hint)
        )

    def _is_inventory(self) -> bool:
        data = self.document.data
        if isinstance(data, dict) and data and "plugin" not in data:
            return True
        if isinstance(data, dict) and data:
            message, hint = (
                "this configures an inventory plugin",
                "`ansible-inventory --list --yaml`",
            )
            hint += " prints what it finds as an inventory"
        elif data is None or data == {}:
            message, hint = "the inventory is empty", "begin with `all:`; see inventory.example.yml"
        else:
            message = f"an inventory is a mapping of groups, not {shown(data)}"
            hint = "begin with `all:`; INI inventories are converted by `ansible-inventory -i FILE"
            hint += " --list --yaml`"
        self.complain("not-an-inventory", message, (), hint, key=False)
        return False

    def _name_ok(self, name: Hashable, path: KeyPath, what: str) -> bool:
        if not isinstance(name, str):
            hint = "put it in quotes if it is meant as a name"
            message = f"a {what}'s name is text, not {shown(name)}"
            self.complain("bad-name", message, path, hint)
            return False
        if name.startswith(PREFIX):
            hint = f"put it below `all:` → `vars:`, as in `all: vars: {name}: ...`"
            self.complain(
                "wrong-level", f"the variable {name} stands where a {what} is", path, hint
            )
            return False
        return True

    def _declare(self, name: Hashable, path: KeyPath) -> Group | None:
        """The group of that name, made when it is new; None when it cannot be one."""
        if not self._name_ok(name, path, "group"):
            return None
        assert isinstance(name, str)
        try:
            formats.group_name(name)
        except PydanticCustomError as error:
            self.complain(error.type, error.message(), path, _hint(error))
            return None
        if name not in self.groups:
            if len(self.groups) >= MAX_GROUPS:
                self.complain("too-many", f"more than {MAX_GROUPS} groups", path)
                return None
            self.groups[name] = Group(name, path)
        return self.groups[name]

    def _group(self, name: Hashable, body: object, path: KeyPath, parent: Group | None) -> None:
        """Take one group and what is below it."""
        group = self._declare(name, path)
        if group is None:
            return
        if parent is not None:
            # Before its members, so that a cycle is found where it closes in reading order.
            self._adopt(parent, group.name, path)
        for section, content in self._mapping(body, path, f"the group {name!r}").items():
            self._section(group, section, content, (*path, section))

    def _section(self, group: Group, section: Hashable, content: object, path: KeyPath) -> None:
        if section not in SECTIONS:
            hint = suggest(str(section), SECTIONS)
            if isinstance(section, str) and section.startswith(("holdfast_", "ansible_")):
                hint = f"variables of a group stand below `vars:` of {group.name!r}"
            message = f"a group has vars, hosts and children, not {shown(section)}"
            self.complain("unknown-key", message, path, hint)
            return
        if isinstance(content, str):
            content = {content: None}  # Ansible takes one name for a mapping of one
        entries = self._mapping(content, path, f"`{section}` of group {group.name!r}")
        if section == "vars":
            scope: Scope = "all" if group.name == "all" else "group"
            self._variables(group.variables, entries, path, scope, group.name)
            return
        for key, body in entries.items():
            if section == "hosts":
                self._hosts(group, key, body, (*path, key))
            else:
                self._group(key, body, (*path, key), group)

    def _mapping(self, value: object, path: KeyPath, what: str) -> dict[Hashable, object]:
        if isinstance(value, dict):
            return value
        if value is not None:
            hint = "write `name:` lines below it, without `- `" if isinstance(value, list) else None
            message = f"{what} is a mapping, not {shown(value)}"
            self.complain("wrong-type", message, path, hint, key=False)
        return {}

    def _adopt(self, group: Group, child: str, path: KeyPath) -> None:
        if child == "all" or child in self.ancestors([group.name]):
            message = f"group {child!r} is above {group.name!r} and cannot also be below it"
            self.complain("group-cycle", message, path, "remove one of the two")
            return
        self.groups[child].parents.add(group.name)

    def _hosts(self, group: Group, pattern: Hashable, body: object, path: KeyPath) -> None:
        if not self._name_ok(pattern, path, "node"):
            return
        assert isinstance(pattern, str)
        try:
            names, port = expand(pattern)
            for name in names:
                formats.node_name(name)
        except PydanticCustomError as error:
            self.complain(error.type, error.message(), path, _hint(error))
            return
        except ValueError as error:
            message = f"{shown(pattern)} is not a host pattern: {error}"
            self.complain("bad-range", message, path, "as in gpu-[01:08]")
            return
        entries = self._mapping(body, path, f"node {pattern!r}")
        for name in names:
            if name not in self.hosts:
                if len(self.hosts) >= MAX_NODES:
                    self.complain("too-many", f"more than {MAX_NODES} nodes", path)
                    return
                self.hosts[name] = Host(name, path)
            host = self.hosts[name]
            host.port = port or host.port
            if group.name not in host.groups:
                host.groups.add(group.name)
                group.hosts.append(name)
        self._host_variables(names, entries, path)

    def _host_variables(
        self, names: list[str], entries: dict[Hashable, object], path: KeyPath
    ) -> None:
        for section in [k for k in SECTIONS if k in entries]:
            hint = "a node's variables stand directly below its name"
            message = f"`{section}:` belongs to a group, not to a node"
            self.complain("wrong-level", message, (*path, section), hint)
        rest = {k: v for k, v in entries.items() if k not in SECTIONS}
        for number, name in enumerate(names):
            # A range shares its variables: their own mistakes are said once.
            silent = number > 0
            self._variables(self.hosts[name].variables, rest, path, "host", name, silent=silent)

    def _variables(
        self,
        into: dict[str, Definition],
        entries: dict[Hashable, object],
        path: KeyPath,
        scope: Scope,
        owner: str,
        *,
        silent: bool = False,
    ) -> None:
        problems = add_variables(into, entries, self.document, path, scope=scope, owner=owner)
        if not silent:
            self.problems.extend(problems)

    def _finish(self) -> None:
        """What Ansible does after reading: parents, `ungrouped`, depths, priorities."""
        for name, group in self.groups.items():
            if name != "all" and not group.parents:
                group.parents.add("all")
        for host in self.hosts.values():
            if not host.groups - {"all"}:
                host.groups.add("ungrouped")
            if host.name in self.groups:
                message = f"{host.name!r} is the name of a node and of a group"
                self.complain("same-name", message, host.path, "rename one of them")
        self._depths()
        for group in self.groups.values():
            self._priority(group)

    def _depths(self) -> None:
        children: dict[str, list[str]] = {name: [] for name in self.groups}
        missing = {name: len(group.parents) for name, group in self.groups.items()}
        for name, group in self.groups.items():
            for parent in group.parents:
                children[parent].append(name)
        ready = [name for name, count in missing.items() if not count]
        while ready:
            name = ready.pop()
            for child in children[name]:
                own = self.groups[child]
                own.depth = max(own.depth, self.groups[name].depth + 1)
                missing[child] -= 1
                if not missing[child]:
                    ready.append(child)

    def _priority(self, group: Group) -> None:
        found = group.variables.get("ansible_group_priority")
        if found is None:
            return
        if isinstance(found.value, int) and not isinstance(found.value, bool):
            group.priority = found.value
        else:
            message = f"ansible_group_priority is a whole number, not {shown(found.value)}"
            self.problems.append(found.problem("wrong-type", message))


def add_variables(
    into: dict[str, Definition],
    entries: dict[Hashable, object],
    document: YamlDocument,
    path: KeyPath,
    *,
    scope: Scope,
    owner: str,
) -> list[Problem]:
    """Add the variables of one mapping; a second, different value of one is a problem."""
    problems: list[Problem] = []
    for name, value in entries.items():
        here = (*path, name)
        if not isinstance(name, str):
            message = f"a variable's name is text, not {shown(name)}"
            problems.append(document.problem("bad-name", message, here, key=True))
            continue
        new = Definition(name, value, document, here, scope, owner)
        old = into.get(name)
        watched = name in BY_NAME or name in CONNECTION or name in ALIASES
        if old is not None and watched and not _same(old.value, value):
            place = old.document.key_at(old.path)
            message = f"{name} of {owner!r} has another value at {place}; only this one counts"
            problems.append(
                new.problem("set-twice", message, key=True, value=name, hint="keep one")
            )
        into[name] = new
    return problems


def _same(first: object, second: object) -> bool:
    if isinstance(first, Tagged) or isinstance(second, Tagged):
        return first is second
    return type(first) is type(second) and first == second


def _hint(error: PydanticCustomError) -> str | None:
    return str((error.context or {}).get("hint") or "") or None

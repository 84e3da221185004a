"""All definitions of an inventory, judged, and which of them counts for which node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from provision.core.problems import Problem
from provision.core.yamlpos import KeyPath, shown
from provision.rack.literals import literal_secrets, weak_ssh
from provision.rack.secrets import SecretRef
from provision.rack.sources import (
    FOLDERS,
    Owner,
    Reader,
    Sources,
    VarsFile,
    find_strays,
    read_inventory,
    read_variables,
)
from provision.rack.tree import Definition, Host, Scope, Tree, add_variables
from provision.rack.values import INVALID, JINJA, judge, misspelt, validate
from provision.rack.variables import ALIASES, CONNECTION, PREFIX


class Declaration:
    """One inventory with its variable files, every value judged once.

    `problems` holds what was found so far; cross-checks add to it.
    """

    def __init__(self, tree: Tree, sources: Sources, reader: Reader) -> None:
        self.tree = tree
        self.sources = sources
        self.reader = reader
        self.problems: list[Problem] = list(tree.problems)
        self._values: dict[tuple[str, KeyPath], object] = {}
        self.by_file: dict[tuple[Owner, str], dict[str, Definition]] = {}
        for file in sources.files:
            self._add_file(file)
        self.judged = [d for d in self._unique() if self._judge(d)]
        find_strays(sources, reader, _names(tree), self._referred())
        self.problems.extend(reader.problems)

    def value(self, definition: Definition) -> object:
        """What a judged definition says, or `INVALID`."""
        return self._values[definition.document.file, definition.path]

    def rack_variable(self, short: str) -> Definition | None:
        """The definition of a rack-wide variable that counts: group_vars/all before the rest."""
        name = PREFIX + short
        beside = self.by_file.get(("group", "all"), {})
        return beside.get(name) or self.tree.groups["all"].variables.get(name)

    def rack_value(self, short: str) -> object:
        """What a rack-wide variable says, or None when it says nothing usable."""
        definition = self.rack_variable(short)
        value = None if definition is None else self.value(definition)
        return None if value is INVALID else value

    def effective(self, host: Host) -> dict[str, Definition]:
        """The definition of each variable that counts for `host`, by Ansible's precedence."""
        found: dict[str, Definition] = {}
        groups = self.tree.sorted_groups(host)
        everyone, rest = groups[:1], groups[1:]
        # Ansible's own order: the inventory's groups all come before any group_vars file.
        found.update(everyone[0].variables)
        for group in rest:
            found.update(group.variables)
        for group in groups:
            found.update(self.by_file.get(("group", group.name), {}))
        found.update(host.variables)
        found.update(self.by_file.get(("host", host.name), {}))
        return found

    @property
    def folder(self) -> Path:
        """The inventory's folder."""
        return self.sources.folder

    def _add_file(self, file: VarsFile) -> None:
        document = file.document
        if document is None or document.data is None:
            return
        if not isinstance(document.data, dict):
            message = f"this file is a mapping of variables, not {shown(document.data)}"
            self.problems.append(
                document.problem("wrong-type", message, hint="write `name: value`")
            )
            return
        scope: Scope = "host" if file.owner == "host" else "group"
        if (file.owner, file.name) == ("group", "all"):
            scope = "all"
        into = self.by_file.setdefault((file.owner, file.name), {})
        new = add_variables(into, document.data, document, (), scope=scope, owner=file.name)
        self.problems.extend(new)
        found = into.get("ansible_group_priority")
        if found is not None and found.document is document:
            hint = "put it in `vars` of the group in the inventory file"
            message = "Ansible reads ansible_group_priority only in the inventory file"
            self.problems.append(found.problem("no-effect", message, key=True, hint=hint))

    def _unique(self) -> Iterator[Definition]:
        """Every definition, once for each place where one stands."""
        tables = [g.variables for g in self.tree.groups.values()]
        tables += [h.variables for h in self.tree.hosts.values()]
        tables += list(self.by_file.values())
        seen: set[tuple[str, KeyPath]] = set()
        for table in tables:
            for definition in table.values():
                place = (definition.document.file, definition.path)
                if place not in seen:
                    seen.add(place)
                    yield definition

    def _judge(self, definition: Definition) -> bool:
        """Judge one definition; whether it is one that Holdfast reads."""
        name, place = definition.name, (definition.document.file, definition.path)
        if name.startswith(PREFIX):
            self._values[place] = judge(definition, self.problems)
            return True
        self.problems.extend(literal_secrets(definition))
        self.problems.extend(weak_ssh(definition))
        connection = CONNECTION.get(ALIASES.get(name, name))
        if connection is not None:
            self._values[place] = self._connection(definition)
            return True
        meant = misspelt(name)
        if meant is not None:
            hint = f"did you mean {meant!r}?"
            message = f"{name!r} looks like a variable of Holdfast and is none"
            self.problems.append(
                definition.problem("unknown-variable", message, key=True, value=name, hint=hint)
            )
        return False

    def _connection(self, definition: Definition) -> object:
        connection = CONNECTION[ALIASES.get(definition.name, definition.name)]
        value = definition.value
        if isinstance(value, str) and value.startswith(_HERE):
            value = str(self.folder.absolute() / value.removeprefix(_HERE))
        if isinstance(value, str) and JINJA.search(value):
            hint = "write the value itself; verify connects without Ansible"
            message = f"{definition.name} is literal; Holdfast reads it too"
            self.problems.append(
                definition.problem("template", message, value=shown(value), hint=hint)
            )
            return INVALID
        given = Definition(
            definition.name,
            value,
            definition.document,
            definition.path,
            definition.scope,
            definition.owner,
        )
        return validate(given, connection.adapter, connection.type, self.problems)

    def _referred(self) -> frozenset[str]:
        """Files that references to secrets name."""
        found: set[str] = set()
        for definition in self.judged:
            value = self.value(definition)
            path = value.path(self.folder) if isinstance(value, SecretRef) else None
            if path is not None:
                found.add(os.path.realpath(path))
        return frozenset(found)


_HERE = "{{ inventory_dir }}/"
"""The one template that is read in connection variables: a file beside the inventory."""


def _names(tree: Tree) -> dict[Owner, list[str]]:
    names = {"group_vars": list(tree.groups), "host_vars": list(tree.hosts)}
    return {owner: names[folder] for owner, folder in FOLDERS.items()}


def open_inventory(path: Path) -> tuple[Declaration | None, list[Problem]]:
    """Read an inventory and judge every value; names that others own are not checked yet.

    Returns:
        The declaration with its problems inside, or None and what kept it from being read.
    """
    document, reader = read_inventory(path)
    if document is None:
        return None, reader.problems
    tree = Tree(document)
    sources = read_variables(path, document, reader, _names(tree))
    return Declaration(tree, sources, reader), []

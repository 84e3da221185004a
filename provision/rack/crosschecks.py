"""What is wrong although every single value is right: clashes, gaps, unknown names."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from provision.core.names import suggest
from provision.core.problems import Problem
from provision.core.yamlpos import KeyPath, read_text, shown
from provision.rack.declaration import Declaration
from provision.rack.draft import Draft
from provision.rack.hostkeys import has_key
from provision.rack.known import KnownNames
from provision.rack.model import SECRETS, Audit, Inference, Node
from provision.rack.objections import objected
from provision.rack.tree import Definition
from provision.rack.values import INVALID
from provision.rack.variables import (
    ALIASES,
    PREFIX,
    READABLE,
    VARIABLES,
)


def cross_check(declaration: Declaration, drafts: list[Draft], known: KnownNames) -> list[Problem]:
    """Everything that can only be seen with all values at hand."""
    return [
        *_rack_variables(declaration),
        *_some_node(declaration, drafts),
        *_addresses(declaration, drafts),
        *_positions(declaration, drafts),
        *_shared_host_keys(declaration, drafts),
        *_macs(declaration, drafts),
        *(() if known.unkeyed else _host_keys(declaration, drafts)),
        *_secrets(drafts),
        *_ports(drafts),
        *_gpus(drafts),
        *_limits(declaration, known),
        *_lacks(drafts),
        *_connections(declaration, drafts),
        *_names(declaration, known),
        *objected(declaration, drafts, known),
    ]


def _rack_variables(declaration: Declaration) -> Iterator[Problem]:
    document = declaration.tree.document
    place: KeyPath = ("all", "vars") if ("all", "vars") in document.keys else ("all",)
    missing = [v for v in VARIABLES if v.required and declaration.rack_variable(v.short) is None]
    for variable in missing:
        # Said at a wrong level, it is there and already complained about.
        if any(d.name == variable.name for d in declaration.judged):
            continue
        message = f"{variable.name} is missing"
        hint = f"add `{variable.name}: {variable.example}` to `vars` of group `all`"
        yield document.problem(
            "missing-variable", message, place, key=True, value=variable.name, hint=hint
        )
    version = declaration.rack_variable("schema")
    value = declaration.rack_value("schema")
    if version is not None and value is not None and value not in READABLE:
        hint = "this Holdfast reads version " + ", ".join(map(str, READABLE))
        message = f"version {value} of the inventory's variables is not known here"
        yield version.problem("unknown-version", message, value=str(value), hint=hint)


def _some_node(declaration: Declaration, drafts: list[Draft]) -> Iterator[Problem]:
    data = declaration.tree.document.data
    if not drafts and isinstance(data, dict) and data and not declaration.tree.problems:
        hint = "add nodes below `hosts:` of a group"
        path = (next(iter(data)),)
        yield declaration.tree.document.problem(
            "no-nodes", "the rack has no nodes", path, key=True, hint=hint
        )


def _addresses(declaration: Declaration, drafts: list[Draft]) -> Iterator[Problem]:
    def address(draft: Draft) -> Iterator[Hashable]:
        definition = _won(draft, "ansible_host")
        if definition is None or declaration.value(definition) is not INVALID:
            yield (draft.node.address.lower(), draft.node.port)

    for first, second, _ in _clashes(drafts, address):
        message = f"{_node(second)} has the same address as {_node(first)}: {second.node.address}"
        hint = "every node has an address (or a port) of its own"
        yield _at(declaration, second, _Clash("duplicate-address", "ansible_host", message, hint))


def _positions(declaration: Declaration, drafts: list[Draft]) -> Iterator[Problem]:
    def units(draft: Draft) -> Iterator[Hashable]:
        yield from draft.node.position.units if draft.node.position else ()

    for first, second, unit in _clashes(drafts, units):
        message = f"{_node(second)} and {_node(first)} both occupy rack unit {unit}"
        hint = "unit is the lowest one; height counts upwards from it"
        yield _at(declaration, second, _Clash("position-clash", PREFIX + "position", message, hint))


def _shared_host_keys(declaration: Declaration, drafts: list[Draft]) -> Iterator[Problem]:
    for first, second, _ in _clashes(drafts, lambda draft: iter(draft.node.host_keys)):
        message = f"{_node(second)} has the same host key as {_node(first)}"
        hint = "cloned machines need new host keys: ssh-keygen -A after removing the old ones"
        yield _at(
            declaration, second, _Clash("duplicate-host-key", PREFIX + "host_keys", message, hint)
        )


def _macs(declaration: Declaration, drafts: list[Draft]) -> Iterator[Problem]:
    for first, second, mac in _clashes(drafts, lambda d: iter((d.node.mac,) if d.node.mac else ())):
        message = f"{_node(second)} has the same network card as {_node(first)}: {mac}"
        hint = "every machine has an address of its own on the card that it starts from"
        yield _at(declaration, second, _Clash("duplicate-mac", PREFIX + "mac", message, hint))


def _host_keys(declaration: Declaration, drafts: list[Draft]) -> Iterator[Problem]:
    text, problem = _known_hosts(declaration)
    if problem is not None:
        yield problem
    for path, group in _by_place(d for d in drafts if PREFIX + "host_keys" not in d.won).items():
        missing = [d for d in group if not has_key(text or "", d.node.address, d.node.port)]
        if missing and problem is None:
            where = "" if text is None else ", and holdfast_known_hosts has none either"
            message = f"{_listed(missing)} has no host key{where}"
            hint = "add holdfast_host_keys with the line of /etc/ssh/ssh_host_ed25519_key.pub,"
            hint += " read at the node's console"
            yield declaration.tree.document.problem(
                "missing-host-key", message, path, key=True, value=str(path[-1]), hint=hint
            )


def _known_hosts(declaration: Declaration) -> tuple[str | None, Problem | None]:
    definition, value = declaration.rack_variable("known_hosts"), None
    if definition is not None:
        value = declaration.value(definition)
    if definition is None or not isinstance(value, str):
        return None, None
    path = declaration.folder / Path(value).expanduser()
    text, problem = read_text(path, str(path))
    if problem is not None:
        message = f"the file {value!r} cannot be used: {problem.message}"
        hint = "the path is relative to the inventory's folder"
        return None, definition.problem(problem.code, message, value=value, hint=hint)
    return text, None


def _secrets(drafts: list[Draft]) -> Iterator[Problem]:
    for short in SECRETS:
        name = PREFIX + short
        lacking: dict[tuple[str, KeyPath], list[Draft]] = {}
        for draft in drafts:
            if draft.node.inference is not None and name not in draft.won:
                found = draft.won[PREFIX + "inference"]
                lacking.setdefault((found.document.file, found.path), []).append(draft)
        for group in lacking.values():
            message = f"{_listed(group)} serves a model and has no {name}"
            hint = f"add `{name}: file:secrets/{short.replace('_', '-')}`; a reference, no value"
            problem = (
                group[0]
                .won[PREFIX + "inference"]
                .problem("missing-secret", message, key=True, value=name, hint=hint)
            )
            yield problem


def _ports(drafts: list[Draft]) -> Iterator[Problem]:
    for draft in drafts:
        inference = draft.node.inference
        if inference is not None and inference.port == draft.node.port:
            message = f"port {inference.port} of {_node(draft)} is the one that SSH uses"
            hint = "give the endpoint another port, for example 8443"
            definition = draft.won[PREFIX + "inference"]
            yield definition.problem(
                "port-clash", message, ("port",), value=str(inference.port), hint=hint
            )


def _gpus(drafts: list[Draft]) -> Iterator[Problem]:
    """GPUs that are driven are declared, and only those are divided, each once."""
    said: set[tuple[str, KeyPath, KeyPath]] = set()
    for draft in drafts:
        gpu, definition = draft.node.gpu, draft.won.get(PREFIX + "gpu")
        if gpu is None or definition is None:
            continue
        for code, message, inner, hint in _gpu_mistakes(draft.node):
            place = (definition.document.file, definition.path, inner)
            if place not in said:
                said.add(place)
                yield definition.problem(code, message, inner, key=not inner, hint=hint)


def _lacks(drafts: list[Draft]) -> Iterator[Problem]:
    """Only a machine that somebody put together may do without a part of the system."""
    said: set[tuple[str, KeyPath]] = set()
    for draft in drafts:
        definition = draft.won.get(PREFIX + "lacks")
        if definition is None or not draft.node.lacks.reasons or draft.node.kind == "vm":
            continue
        place = (definition.document.file, definition.path)
        if place not in said:
            said.add(place)
            message = f"{draft.node.name!r} is of kind {draft.node.kind}; only a vm lacks anything"
            hint = "remove it; a control that a node does without is waived in holdfast_waivers"
            yield definition.problem("not-a-vm", message, key=True, hint=hint)


def _gpu_mistakes(node: Node) -> Iterator[tuple[str, str, KeyPath, str]]:
    """Code, message, place within the variable, and hint of each mistake."""
    declared = node.hardware.gpus if node.hardware else None
    if declared is None:
        hint = "declare them in holdfast_hardware.gpus, or remove holdfast_gpu"
        yield "no-gpus", f"{node.name!r} declares no GPUs", (), hint
        return
    taken: set[int] = set()
    for i, part in enumerate(node.gpu.mig if node.gpu else ()):
        for j, index in enumerate(part.gpus):
            if index >= declared.count:
                message = f"{node.name!r} has {declared.count} GPUs; there is none with number"
                hint = f"GPUs are counted from 0 to {declared.count - 1}"
                yield "out-of-range", f"{message} {index}", ("mig", i, "gpus", j), hint
        here = set(part.gpus or range(declared.count))
        if here & taken:
            message = f"GPU {min(here & taken)} is divided twice"
            yield "set-twice", message, ("mig", i), "name each GPU in one entry"
        taken |= here


def _limits(declaration: Declaration, known: KnownNames) -> Iterator[Problem]:
    """Limits of the audit, in every definition, also one that another overrides."""
    for definition in declaration.judged:
        value = declaration.value(definition)
        if not isinstance(value, Audit) or known.limits is None:
            continue
        for name, number in value.limits.items():
            at = ("limits", name)
            if name not in known.limits:
                message, hint = f"there is no limit {shown(name)}", suggest(name, known.limits)
                yield definition.problem("unknown-limit", message, at, key=True, hint=hint)
                continue
            least, most = known.limits[name]
            if not least <= number <= most:
                message = f"{name} is from {least:g} to {most:g}, not {number:g}"
                yield definition.problem("out-of-range", message, at, value=f"{number:g}")


def _connections(declaration: Declaration, drafts: list[Draft]) -> Iterator[Problem]:
    for draft in drafts:
        for alias, name in ALIASES.items():
            if alias in draft.won and name in draft.won:
                message = f"{alias} and {name} are both set for {_node(draft)}"
                hint = f"keep {name}"
                yield draft.won[alias].problem("set-twice", message, key=True, hint=hint)
    for definition in declaration.judged:
        value = declaration.value(definition)
        if isinstance(value, str):
            yield from _connection(definition, value)


def _connection(definition: Definition, value: str) -> Iterator[Problem]:
    name = ALIASES.get(definition.name, definition.name)
    if name == "ansible_connection" and value not in ("ssh", "ansible.builtin.ssh"):
        message = f"nodes are reached by ssh, not by {shown(value)}"
        yield definition.problem("unknown-value", message, value=value, hint="remove it")
    if name == "ansible_ssh_private_key_file" and not value.startswith(("/", "~")):
        hint = "write an absolute path, ~/..., or {{ inventory_dir }}/..."
        message = f"{shown(value)} would be looked for in whatever folder a command starts in"
        yield definition.problem("relative-path", message, value=value, hint=hint)
    if name in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        try:
            shlex.split(value)
        except ValueError as error:
            message = f"{name} cannot be split into words: {error}"
            yield definition.problem("bad-value", message, hint="close the quotes")


def _names(declaration: Declaration, known: KnownNames) -> Iterator[Problem]:
    """Names that other rooms own, in every definition, also one that another overrides."""
    for definition in declaration.judged:
        value = declaration.value(definition)
        if definition.name == PREFIX + "inference":
            for field, names, kind in (
                ("engine", known.engines, "inference engine"),
                ("model", known.models, "model in the stack lock"),
                ("image", known.images, "image in the stack lock"),
            ):
                # Another field may be wrong; that must not hide what is wrong here. A template
                # is no name, and has been complained about.
                written = value if isinstance(value, Inference) else definition.value
                name = _field(written, field)
                if isinstance(name, str) and "{" not in name:
                    yield from _name(definition, (field,), name, names, kind)


def _field(value: object, field: str) -> object:
    return value.get(field) if isinstance(value, dict) else getattr(value, field, None)


def _name(
    definition: Definition, inner: KeyPath, name: str, known: frozenset[str] | None, kind: str
) -> Iterator[Problem]:
    if known is not None and name not in known:
        message = f"there is no {kind} called {shown(name)}"
        code = "unknown-" + kind.split(" ", maxsplit=1)[0].replace("inference", "engine")
        yield definition.problem(code, message, inner, value=name, hint=suggest(name, known))


def _clashes(
    drafts: list[Draft], keys: Callable[[Draft], Iterator[Hashable]]
) -> Iterator[tuple[Draft, Draft, Hashable]]:
    """Pairs of drafts that share a key: each later draft once, with the first that has it."""
    owners: dict[Hashable, Draft] = {}
    for draft in drafts:
        clash: tuple[Draft, Draft, Hashable] | None = None
        for key in keys(draft):
            owner = owners.setdefault(key, draft)
            if owner is not draft and clash is None:
                clash = (owner, draft, key)
        if clash is not None:
            yield clash


@dataclass(frozen=True)
class _Clash:
    code: str
    variable: str
    message: str
    hint: str


def _at(declaration: Declaration, draft: Draft, clash: _Clash) -> Problem:
    """A clash at the variable that made it; at the node's name where that is not set."""
    code, hint, name = clash.code, clash.hint, draft.host.name
    definition = _won(draft, clash.variable)
    if definition is not None:
        value = None if isinstance(definition.value, dict | list) else shown(definition.value)
        return definition.problem(code, clash.message, value=value, hint=hint)
    return declaration.tree.document.problem(
        code, clash.message, draft.host.path, key=True, value=name, hint=hint
    )


def _won(draft: Draft, name: str) -> Definition | None:
    aliases = [alias for alias, meant in ALIASES.items() if meant == name]
    return next((draft.won[n] for n in (*aliases, name) if n in draft.won), None)


def _by_place(drafts: Iterable[Draft]) -> dict[KeyPath, list[Draft]]:
    found: dict[KeyPath, list[Draft]] = {}
    for draft in drafts:
        found.setdefault(draft.host.path, []).append(draft)
    return found


def _node(draft: Draft) -> str:
    return repr(draft.node.name)


def _listed(drafts: list[Draft]) -> str:
    """One node by name; of several the first and how many more."""
    more = len(drafts) - 1
    return _node(drafts[0]) + (f" (and {more} more)" if more else "")

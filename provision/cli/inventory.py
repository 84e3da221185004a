"""`holdfast inventory`: check an inventory, or show what each node ends up with.

Contacts nothing: it reads the inventory, the variable files beside it, and the stack lock.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provision.cli.inputs import Inputs, load_rack
from provision.cli.output import print_document, style, table
from provision.core.exitcodes import ExitCode
from provision.rack.model import Node, Rack
from provision.supply.lock import lock_sha256

CHECK_SCHEMA = "holdfast.inventory-check/1"
SHOW_SCHEMA = "holdfast.inventory/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `check` and `show`."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = verbs.add_parser(
        "check",
        help="say everything that is wrong with an inventory",
        description="Check an inventory, its group_vars and host_vars, and its stack lock."
        " Contacts nothing; exits 2 with the place of every mistake.",
    )
    show = verbs.add_parser(
        "show",
        help="print what each node ends up with",
        description="Print every node with its resolved values. Secrets appear as references.",
    )
    show.add_argument("--limit", metavar="PATTERN", help="only these nodes or groups")
    for verb in (check, show):
        verb.add_argument("inventory", metavar="INVENTORY", type=Path, help="the inventory file")


def run(args: argparse.Namespace) -> ExitCode:
    """Check or show.

    Raises:
        HoldfastError: the inventory has mistakes (exit code 2).
    """
    inputs = load_rack(args.inventory)
    if args.action == "check":
        _check(inputs, args.json)
    else:
        rack = inputs.rack.limit(args.limit) if args.limit else inputs.rack
        _show(inputs, rack, args.json)
    return ExitCode.OK


def _check(inputs: Inputs, as_json: bool) -> None:
    rack = inputs.rack
    if as_json:
        print_document(
            {
                "schema": CHECK_SCHEMA,
                "inventory": str(rack.path),
                "rack": rack.name,
                "nodes": len(rack.nodes),
                "serving": sum(node.inference is not None for node in rack.nodes),
                "stack": str(inputs.lock_path),
                "inputs": _digests(inputs),
                "problems": [],
            }
        )
        return
    serving = sum(node.inference is not None for node in rack.nodes)
    print(
        f"{style('✔', 'good')} rack {style(rack.name, 'bold')}: {_count(len(rack.nodes), 'node')},"
        f" {serving} serving a model, stack {inputs.lock.name}; nothing is wrong"
    )


def _show(inputs: Inputs, rack: Rack, as_json: bool) -> None:
    if as_json:
        print_document(document(inputs, rack))
        return
    for line in text(inputs, rack):
        print(line)


def document(inputs: Inputs, rack: Rack) -> dict[str, Any]:
    """The rack as plain data; secrets as references."""
    body = rack.model_dump(mode="json", exclude={"sha256"})
    return {"schema": SHOW_SCHEMA, **body, "inputs": _digests(inputs)}


def text(inputs: Inputs, rack: Rack) -> Iterator[str]:
    """The rack as lines for a person."""
    waves = ", ".join(map(str, rack.waves.sizes))
    yield f"{style('rack', 'dim')}     {style(rack.name, 'bold')}  {rack.path}"
    yield f"{style('stack', 'dim')}    {inputs.lock.name}  {rack.stack}"
    yield f"{style('profile', 'dim')}  {rack.profile}"
    for overlay in rack.overlays:
        yield f"{style('overlay', 'dim')}  {overlay.name}: {overlay.owner}, until {overlay.expires}"
    for waiver in rack.waivers:
        yield f"{style('waiver', 'dim')}   {waiver.control}: {waiver.owner}, until {waiver.expires}"
    yield f"{style('waves', 'dim')}    {waves}; {_budget(rack.waves.failure_budget)}"
    if rack.origin:
        yield f"{style('origin', 'dim')}   {rack.origin}"
    yield ""
    yield from table(
        ("node", "address", "kind", "units", "groups", "serves"),
        [_row(node) for node in rack.nodes],
    )
    for node in rack.nodes:
        yield ""
        yield style(node.name, "bold")
        yield from (f"  {label:<16} {value}" for label, value in _details(node) if value)


def _row(node: Node) -> tuple[str, ...]:
    units = node.position.units if node.position else None
    return (
        node.name,
        f"{node.address}:{node.port}" if node.port != 22 else node.address,
        node.kind,
        "-" if units is None else str(units[0]) if len(units) == 1 else f"{units[0]}-{units[-1]}",
        ",".join(node.groups),
        node.inference.model if node.inference else "-",
    )


def _details(node: Node) -> Iterator[tuple[str, str]]:
    yield (
        "login",
        f"{node.user or 'as ssh decides'}"
        + (f" with {node.private_key}" if node.private_key else ""),
    )
    yield "host keys", ", ".join(key.split(" ")[0] for key in node.host_keys) or "from known_hosts"
    hardware = node.hardware
    if hardware is not None:
        gpus = hardware.gpus
        yield "GPUs", f"{gpus.count} x {gpus.model} ({gpus.pci_id})" if gpus else ""
        amounts = (("memory", hardware.memory_gib), ("disk", hardware.disk_gib))
        for label, gib in amounts:
            yield label, f"at least {gib} GiB" if gib else ""
        yield "cores", f"at least {hardware.cores}" if hardware.cores else ""
        yield "interfaces", ", ".join(f"{n.name} ({n.speed_gbps:g} Gbit/s)" for n in hardware.nics)
    servers = ", ".join(node.time.servers) or "as found"
    yield "time", f"{servers}; at most {node.time.max_offset_s:g} s off"
    yield "firewall", "on" if node.firewall.enabled else "off"
    serves = node.inference
    if serves is not None:
        yield "serves", f"{serves.model} with {serves.engine} ({serves.image}), port {serves.port}"
        yield (
            "requests",
            (
                f"{serves.parallel} together, {serves.context} tokens of context,"
                f" at most {serves.max_tokens} in an answer"
            ),
        )
        yield "reachable from", ", ".join(serves.allow_from)
    for name, reference in node.secrets.items():
        yield name.replace("_", " "), str(reference)


def _digests(inputs: Inputs) -> dict[str, str]:
    return {"inventory": inputs.rack.sha256, "stack": lock_sha256(inputs.lock_path)}


def _budget(failures: int) -> str:
    return f"stops when more than {_count(failures, 'node')} failed"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

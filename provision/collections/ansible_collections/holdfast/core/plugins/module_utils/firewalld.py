# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""What a firewalld zone lets in, as a set of entries. Runs nothing."""

from __future__ import annotations

import ipaddress
from typing import Any

KINDS = {
    "services": "service",
    "ports": "port",
    "protocols": "protocol",
    "source-ports": "source-port",
    "forward-ports": "forward-port",
    "rich rules": "rich-rule",
}
"""Titles in ``firewall-cmd --list-all``, and the word in the option that adds such an entry."""


def parse_zone(text: str) -> set[tuple[str, str]]:
    """The entries in the output of ``firewall-cmd --list-all``."""
    found: set[tuple[str, str]] = set()
    kind = ""
    for line in text.splitlines():
        title, colon, rest = line.strip().partition(":")
        if colon and title in KINDS and not line.startswith("\t"):
            kind = KINDS[title]
            if kind in ("service", "port", "protocol", "source-port"):
                found |= {(kind, word) for word in rest.split()}
            continue
        if line.startswith("\t") and kind in ("rich-rule", "forward-port") and line.strip():
            found.add((kind, line.strip()))
            continue
        kind = ""
    return found


def rule(port: int, protocol: str, source: str) -> str:
    """A rich rule that lets one source network reach one port, as firewalld writes it.

    Raises:
        ValueError: the source is no network.
    """
    network = ipaddress.ip_network(source, strict=False)
    single = network.num_addresses == 1
    return 'rule family="ipv{0}" source address="{1}" port port="{2}" protocol="{3}" accept'.format(
        network.version, network.network_address if single else network, port, protocol
    )


def wanted(params: dict[str, Any]) -> set[tuple[str, str]]:
    """The entries that the module's options ask for."""
    found = {("service", name) for name in params["services"]}
    found |= {("port", port) for port in params["ports"]}
    for item in params["rules"]:
        for source in item["sources"]:
            found.add(("rich-rule", rule(item["port"], item["protocol"], source)))
    return found


def plan(
    have: set[tuple[str, str]],
    want: set[tuple[str, str]],
    owned: set[tuple[str, str]],
    others: set[tuple[str, str]],
    exclusive: bool,
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What to add and what to remove.

    `owned` is what the same owner asked for last time, `others` what further owners ask for.
    An exclusive owner also removes what nobody asked for.
    """
    removable = have if exclusive else have & owned
    return sorted(want - have), sorted(removable - want - others)


def words(entry: tuple[str, str]) -> str:
    """An entry in words."""
    return "{0} {1}".format(*entry)


def options(verb: str, entries: list[tuple[str, str]], offline: bool = False) -> list[list[str]]:
    """firewall-cmd's options that add or remove entries; kinds are kept apart.

    Args:
        verb: ``add`` or ``remove``.
        entries: what is let in, or no longer.
        offline: for firewall-offline-cmd, where a service that is removed has another option: the
            usual one is of an older tool there, and is refused beside a zone.
    """
    groups: dict[str, list[str]] = {}
    for kind, value in entries:
        name = "{0}-{1}".format(verb, kind)
        if offline and name == "remove-service":
            name = "remove-service-from-zone"
        groups.setdefault(kind, []).append("--{0}={1}".format(name, value))
    return list(groups.values())


def announce(plans: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]]) -> list[str]:
    """The changes in words; a configuration is named where only one of several changes."""
    lines: list[str] = []
    for position, verb in enumerate(("let in", "no longer let in")):
        for entry in sorted({e for found in plans.values() for e in found[position]}):
            labels = [label for label, found in plans.items() if entry in found[position]]
            note = "" if len(labels) == len(plans) else " ({0} only)".format(labels[0])
            lines.append("{0} {1}{2}".format(verb, words(entry), note))
    return lines

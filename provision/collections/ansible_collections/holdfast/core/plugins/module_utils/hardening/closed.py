# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a firewall that would be started lets in who logs in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Node

UNIT = "firewalld.service"
CONFIG = "/etc/firewalld/firewalld.conf"
FOLDERS = ("/etc/firewalld", "/usr/lib/firewalld")
"""The first that has a zone or a service says what it is."""

_DEFAULT = re.compile(r"^\s*DefaultZone\s*=\s*(\S+)\s*$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_ACCEPTS = re.compile(r"""<zone\b[^>]*\btarget=["']ACCEPT["']""")
_MEMBER = re.compile(r"<(?:interface|source)\s+(?:name|address|mac|ipset)=")
_SERVICE = re.compile(r"""<service\s+name=["']([^"']+)["']""")
_PORT = re.compile(r"<port\s+([^>]*)>")
_WORD = re.compile(r"""(port|protocol)=["']([^"']+)["']""")


def starts(node: Node) -> bool:
    """Whether what is staged starts the firewall."""
    return any(
        step.get("run", [])[:2] == ["systemctl", "start"] and UNIT in step["run"]
        for act in node.acts
        for step in act.do
    )


def shut(node: Node, ports: list[int]) -> list[int]:
    """Those of `ports` that no zone lets in to which something comes.

    What comes in belongs to the default zone, or to one that names interfaces or sources.
    """
    zones = [text for text in _zones(node) if text]
    return [port for port in ports if not any(_lets_in(node, text, port) for text in zones)]


def _zones(node: Node) -> Iterator[str]:
    said = _DEFAULT.search(node.text(CONFIG) or "")
    yield _text(node, "zones", said.group(1) if said else "public")
    for path in node.files(FOLDERS[0] + "/zones", ".xml"):
        text = _COMMENT.sub("", node.text(path) or "")
        if _MEMBER.search(text):
            yield text


def _text(node: Node, kind: str, name: str) -> str:
    texts = (node.text("{0}/{1}/{2}.xml".format(folder, kind, name)) for folder in FOLDERS)
    return _COMMENT.sub("", next((text for text in texts if text is not None), ""))


def _lets_in(node: Node, zone: str, port: int) -> bool:
    if _ACCEPTS.search(zone) or _has(zone, port):
        return True
    return any(_has(_text(node, "services", name), port) for name in _SERVICE.findall(zone))


def _has(text: str, port: int) -> bool:
    """Whether a zone or a service names a port, alone or in a range."""
    for found in _PORT.findall(text):
        words = dict(_WORD.findall(found))
        first, _, last = words.get("port", "").partition("-")
        known = words.get("protocol") == "tcp" and first.isdigit() and (last or first).isdigit()
        if known and int(first) <= port <= int(last or first):
            return True
    return False

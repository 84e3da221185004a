"""Names and numbers of one machine."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

IDENTITIES = (
    "/etc/iscsi/initiatorname.iscsi",
    "/etc/nvme/hostid",
    "/etc/nvme/hostnqn",
    "/etc/udev/rules.d/70-persistent-net.rules",
    "/etc/udev/rules.d/70-persistent-cd.rules",
    "/var/lib/NetworkManager/secret_key",
)
STATES = ("/var/lib/cloud/instances", "/var/lib/cloud/data", "/var/lib/dhclient")
UNNAMED = ("", "localhost", "localhost.localdomain", "(none)")


@check(
    "host-identity",
    title="Nothing that names one machine is in the image",
    why="Two machines of one name, one storage initiator or one address disturb each other.",
    fix="remove it in the seal stage; a node gets its own at the first start",
    severity=Severity.HIGH,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """A host name, identities of storage and network, and leases."""
    name = (tree.text("/etc/hostname") or "").strip()
    if name not in UNNAMED:
        yield Found("/etc/hostname", f"says {name!r}")
    for path in IDENTITIES:
        if path in tree.entries and tree.entries[path].size:
            yield Found(path, "is one machine's")
    for entry in tree.below(*STATES):
        if entry.kind == "file":
            yield Found(entry.path, "is one machine's state")
    for entry in tree.fitting("/var/lib/NetworkManager/*.lease"):
        yield Found(entry.path, "is one machine's lease")

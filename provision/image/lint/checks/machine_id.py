"""The machine's id: one that is in an image is every machine's."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

NONE = ("", "uninitialized")


@check(
    "machine-id",
    title="No machine id is in the image",
    why="Machines with one id get each other's DHCP leases, and nobody tells their journals apart."
    " Without one, systemd makes it at the first start.",
    fix="empty /etc/machine-id, or write `uninitialized` into it",
    severity=Severity.HIGH,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """Both files that hold it."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        text = (tree.text(path) or "").strip()
        if text not in NONE:
            yield Found(path, f"holds {text[:8]}…")

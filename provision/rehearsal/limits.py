"""Limits of the host's kernel that many nodes on one machine run into."""

from __future__ import annotations

from pathlib import Path

from provision.core.events import Event, EventSink
from provision.core.problems import fail

INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
PER_NODE = 32
"""Inotify instances that a provisioned node may hold (about 20 were counted); all nodes are root's
and share one limit, 128 by default, so that the seventh node's message bus would not start."""
OTHERS = 128
"""What the rest of the host keeps for itself."""


def make_room(nodes: int, events: EventSink, setting: Path = INSTANCES) -> None:
    """Raise the host's limit on inotify instances to what `nodes` need; never lower it.

    It stays raised until the host restarts, since another rehearsal may count on it by then.

    Raises:
        HoldfastError: the kernel does not let this process raise it.
    """
    needed = OTHERS + PER_NODE * nodes
    before = int(setting.read_text())
    if before >= needed:
        return
    try:
        setting.write_text(f"{needed}\n")
    except OSError as error:
        raise fail(
            "kernel-limit",
            f"{nodes} nodes need {needed} inotify instances, the host allows {before}: {error}",
            where=str(setting),
            hint=f"run `sysctl fs.inotify.max_user_instances={needed}` on the host",
        ) from error
    says = f"raised the host's fs.inotify.max_user_instances from {before} to {needed}"
    events.emit(Event("rehearsal.limit", data={"says": says, "before": before, "after": needed}))

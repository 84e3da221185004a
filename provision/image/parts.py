"""Parts of the sealed tree by digest, for a stage that reads no more than one of them.

What such a stage makes stays what it is when a role's option changes a file that it never sees.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from provision.image.filelist import Entry, written

FILE = "parts.json"
"""In an output: the digest of each of its parts, by name."""

BOOT = "boot"
"""What an initial RAM disk is made of: programs, kernel, and what is configured for both."""
BOOT_FOLDERS = ("usr", "boot")
"""Folders of the tree that are in that part whole."""
NOT_AT_BOOT = frozenset({
    "aide.conf", "audit", "authselect", "chrony.conf", "chrony.d", "chrony.keys", "cni",
    "containers", "cron.allow", "cron.d", "cron.daily", "cron.deny", "cron.hourly",
    "cron.monthly", "cron.weekly", "crontab", "firewalld", "holdfast", "issue", "issue.net",
    "logrotate.conf", "logrotate.d", "motd", "pam.d", "rsyslog.conf", "rsyslog.d", "security",
    "skel", "ssh", "sudo.conf", "sudoers", "sudoers.d",
})  # fmt: skip
"""Names below /etc that are in no initial RAM disk of ours, and that no module of dracut's in one
reads: what services, log-in and the record of a node are configured by. All else of /etc is in."""


def at_boot(path: str, kind: str) -> bool:
    """Whether a path of the tree, with its leading slash, is in the part `BOOT`."""
    top, _, rest = path[1:].partition("/")
    if not rest:
        # The links at the top lead into /usr; of its folders only what they hold counts.
        return kind == "l"
    if top == "etc":
        return rest.partition("/")[0] not in NOT_AT_BOOT
    return top in BOOT_FOLDERS


def digests(root: Path, entries: Iterable[Entry]) -> dict[str, str]:
    """The digest of each part: of every path's line in the list of files, and of its time.

    Args:
        root: the sealed tree, where owners are true.
        entries: what is in it.
    """
    kept = [entry for entry in entries if at_boot(entry.path, entry.type)]
    total = hashlib.sha256("".join(written(kept)).encode())
    for path in sorted(entry.path for entry in kept):
        total.update(f"{int((root / path[1:]).lstat().st_mtime)}\n".encode())
    return {BOOT: total.hexdigest()}


def read(out: Path) -> dict[str, str]:
    """The parts of an output by their digests; none where it has no parts."""
    place = out / FILE
    return dict(json.loads(place.read_text(encoding="ascii"))) if place.is_file() else {}

"""What makes one machine different from the next, and so has no place in an image.

Each row says what is done with the paths that a pattern names. Patterns are those of a shell, below
the root, without a leading slash; ``**/`` is any number of folders.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Treatment = Literal["remove", "files", "empty", "clear"]
"""remove: it goes, with what is in it; files: it goes unless it is a folder; empty: a file stays,
without content; clear: a folder stays, without anything in it."""


class Row(NamedTuple):
    """What is done with the paths that `pattern` names, and why."""

    pattern: str
    treatment: Treatment
    why: str


ROWS = (
    Row("etc/ssh/ssh_host_*", "remove", "every node makes host keys of its own"),
    Row("var/lib/dbus/machine-id", "remove", "it follows /etc/machine-id"),
    Row("var/lib/systemd/random-seed", "remove", "a seed that many have is none"),
    Row("var/lib/random-seed", "remove", "a seed that many have is none"),
    Row("boot/efi/loader/random-seed", "remove", "a seed that many have is none"),
    Row("var/lib/systemd/credential.secret", "remove", "it encrypts this node's credentials"),
    Row("etc/hostname", "remove", "a node is named when it is handed its identity"),
    Row("etc/resolv.conf", "remove", "name servers belong to the site"),
    Row("etc/krb5.keytab", "remove", "it proves who a node is"),
    Row("etc/iscsi/initiatorname.iscsi", "remove", "every node has its own name"),
    Row("etc/nvme/hostid", "remove", "every node has its own name"),
    Row("etc/nvme/hostnqn", "remove", "every node has its own name"),
    Row("etc/lvm/devices/system.devices", "remove", "it names this machine's disks"),
    Row("etc/lvm/archive/*", "remove", "it names this machine's disks"),
    Row("etc/lvm/backup/*", "remove", "it names this machine's disks"),
    Row("etc/udev/rules.d/70-persistent-net.rules", "remove", "it names this machine's cards"),
    Row("etc/.pwd.lock", "remove", "a lock of the build"),
    Row("etc/.updated", "remove", "the first start makes it"),
    Row("var/.updated", "remove", "the first start makes it"),
    Row("var/lib/cloud/*", "remove", "what a first start did must happen again"),
    Row("var/lib/NetworkManager/*", "remove", "leases and a key of its own"),
    Row("var/lib/dhclient/*", "remove", "leases"),
    Row("var/lib/dhcp/*", "remove", "leases"),
    Row("var/lib/chrony/*", "remove", "the drift of another clock"),
    Row("var/lib/systemd/timers/*", "remove", "when something ran last"),
    Row("var/lib/systemd/timesync/clock", "remove", "another clock"),
    Row("var/lib/systemd/coredump/*", "remove", "memory of another machine"),
    Row("var/lib/rsyslog/*", "remove", "how far another journal was read"),
    Row("var/lib/aide/*", "remove", "it describes another tree; the first start makes it"),
    Row("var/lib/holdfast/*", "remove", "the record of what changed a node, and its undo"),
    Row("var/lib/authselect/backups/*", "remove", "named after the time of the build"),
    Row("var/lib/dnf/*", "remove", "when what was installed, and from where"),
    Row("var/lib/yum/*", "remove", "when what was installed, and from where"),
    Row("var/lib/rpm/.rpm.lock", "remove", "a lock of the build"),
    Row("usr/lib/sysimage/rpm/.rpm.lock", "remove", "a lock of the build"),
    Row("var/lib/rpm/__db.*", "remove", "a region file of the build"),
    Row("var/log/**/*", "empty", "what happened during the build"),
    Row("var/log/journal/*", "remove", "named after the machine that wrote it"),
    Row("var/log/dnf*", "remove", "what happened during the build"),
    Row("var/log/hawkey*", "remove", "what happened during the build"),
    Row("var/log/*-[0-9]*", "remove", "an older log"),
    Row("var/log/*.[0-9]*", "remove", "an older log"),
    Row("var/cache/**/*", "files", "it can be made again"),
    Row("var/spool/mail/*", "empty", "letters of the build"),
    Row("var/tmp", "clear", "left by the build"),
    Row("tmp", "clear", "left by the build"),
    Row("run", "clear", "it lives in memory"),
    Row("dev", "clear", "the kernel fills it"),
    Row("proc", "clear", "the kernel fills it"),
    Row("sys", "clear", "the kernel fills it"),
    Row("root/.ansible", "remove", "left by the build"),
    Row("root/.cache", "remove", "left by the build"),
    Row("root/.rpmdb", "remove", "left by the build"),
    Row("root/.ssh/known_hosts*", "remove", "left by the build"),
    Row("root/.*_history", "remove", "left by the build"),
    Row("root/.lesshst", "remove", "left by the build"),
    Row("root/.viminfo", "remove", "left by the build"),
    Row("home/*/.ansible", "remove", "left by the build"),
    Row("home/*/.cache", "remove", "left by the build"),
    Row("home/*/.*_history", "remove", "left by the build"),
)

MACHINE_ID = "uninitialized\n"
"""What says that the next start is the first; systemd 247 and newer."""

BACKUPS = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
"""Files in /etc whose former content stands beside them with a dash."""


def matcher(pattern: str) -> re.Pattern[str]:
    """What a pattern of a `Row` means."""
    parts = re.split(r"(\*\*/|\*|\[[^]]*\])", pattern)
    words = {"**/": "(?:[^/]+/)*", "*": "[^/]*"}
    text = "".join(
        words.get(part, part if part.startswith("[") else re.escape(part)) for part in parts
    )
    return re.compile(text)

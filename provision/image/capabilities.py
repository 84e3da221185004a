"""What the attribute ``security.capability`` of a file says: the kernel's vfs_cap_data.

Source of form and numbers: include/uapi/linux/capability.h.
"""

from __future__ import annotations

import struct

_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable"
    " net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio"
    " sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time"
    " sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog"
    " wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)
MOST = 64
"""So many capabilities have room in the attribute."""


def name_of(number: int) -> str:
    """The name of a capability without ``cap_``; one that is not known is called by its number."""
    names = _NAMES.split()
    return names[number] if number < len(names) else str(number)


def sets(data: bytes) -> tuple[int, int]:
    """Permitted and inheritable capabilities, each with a bit for each capability.

    Args:
        data: what follows the revision and the flags: 16 bytes, low words first.

    Raises:
        struct.error: it is not as long.
    """
    low, low_inherited, high, high_inherited = struct.unpack("<4I", data)
    return low | high << 32, low_inherited | high_inherited << 32

"""A rehearsal node that is a virtual machine: the same base, with a kernel of its own.

It shows what a container cannot: the kernel's own settings, auditd, modules, and mounts. The
kernel is the one in the node base, started directly. Its disk controller is NVMe because that
driver is built into Debian's kernels, so no initial RAM disk is needed.
"""

from __future__ import annotations

import os
from pathlib import Path

from provision.core import emulator
from provision.core.emulator import Accelerator
from provision.core.problems import fail
from provision.rehearsal import disk, network, node
from provision.rehearsal.node import Node
from provision.rehearsal.shell import run

MEMORY_MIB = 2048
START_S = 600.0
"""How long an emulated machine may take to start on a host that has other work too."""

_DISK = "/dev/nvme0n1"


def accelerator(base: Path) -> Accelerator:
    """KVM where a guest really runs under it, else emulation.

    Decided by starting one: the device can be there and every guest hang or be refused.

    Raises:
        HoldfastError: the emulator is not installed.
    """
    return emulator.accelerator(kernel(base))


def kernel(base: Path) -> Path:
    """The newest kernel in a node base.

    Raises:
        HoldfastError: it has none.
    """
    found = sorted((base / "root/boot").glob("vmlinuz-*"))
    if not found:
        raise fail("no-kernel", "the node base has no kernel to start a machine with",
                   where=str(base), hint="use --base compat")  # fmt: skip
    return found[-1]


def lacks(base: str) -> dict[str, str]:
    """What a machine does without, of what Enterprise Linux has, and why.

    Args:
        base: ``el`` or ``compat``; see `provision.rehearsal.choice`.
    """
    missing = {"boot_loader": "The emulator starts its kernel itself, with arguments of its own."}
    if base == "compat":
        missing["selinux"] = "Debian has no policy that knows the names of Enterprise Linux."
    return missing


WAIVED = {
    "stig": {
        "fapolicyd-enforcing": "Debian's fapolicyd trusts what dpkg's database lists; a node has"
        " rpm's alone, so that nothing on it would start.",
        "usbguard": "Debian gives usbguard's configuration the mode that its daemon asks for only"
        " when dpkg sets the package up; as an RPM it does not start.",
    },
}
"""Controls, by profile, that want what Debian does not have, of those that no container gets."""


def create(machine: Node, base: Path, peers: dict[str, str], login_key: str) -> None:
    """Lay out the machine's own files as any node's, and write its disk.

    The arguments are those of `node.create`.
    """
    node.create(machine, base, peers, login_key)
    upper = machine.folder / "upper"
    own = {
        "etc/fstab": disk.fstab(_DISK),
        # The name that a container's interface has, so that nothing else differs.
        "etc/systemd/network/10-host0.link": f"[Match]\nMACAddress={_hardware_address(machine)}\n\n"
        "[Link]\nName=host0\n",
        # It has a clock of its own, which a container has not, and may set it.
        "etc/systemd/system/chronyd.service.d/10-machine.conf": "[Service]\nExecStart=\n"
        "ExecStart=/usr/sbin/chronyd -u chrony -f /etc/chrony.conf\n",
    }
    for path, text in own.items():
        (upper / path).parent.mkdir(parents=True, exist_ok=True)
        (upper / path).write_text(text, encoding="utf-8")
    disk.fill(machine.folder / "disk.img", base / "root", upper, machine.folder / "filling")


def start(machine: Node, base: Path, *, outlive: bool) -> int:
    """Start the machine; returns the process id of what keeps it running.

    The arguments are those of `node.start`.
    """
    # One of a killed start may be left; the network that it is in is this rack's own.
    tap = f"vm{machine.index}"
    words = ["ip", "-netns", machine.namespace]
    if tap not in run([*words, "-brief", "link", "show"]):
        run([*words, "tuntap", "add", "mode", "tap", "name", tap])
        run([*words, "link", "set", tap, "master", network.bridge(), "up"])
    chosen = accelerator(base)
    argv = [
        "nice", "-n", "5", emulator.emulator(), *chosen.words, "-m", str(MEMORY_MIB),
        *emulator.QUIET,
        "-name", machine.name, "-pidfile", node.mark(machine), "-serial", "stdio",
        "-kernel", os.fspath(kernel(base)),
        # After a panic it starts again, as a node in a rack does.
        "-append", f"root={_DISK}p1 rw console={emulator.console()} panic=5 quiet",
        # What a machine that goes away at the end wrote last need not be on the host's disk.
        "-drive", f"if=none,id=disk,format=raw,cache=unsafe,file={machine.folder}/disk.img",
        "-device", f"nvme,serial={machine.namespace}-{machine.index},drive=disk",
        "-netdev", f"tap,id=rack,ifname={tap},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=rack,mac={_hardware_address(machine)}",
        "-device", "virtio-rng-pci",
    ]  # fmt: skip
    return node.keep_running(machine, argv, outlive=outlive)


def _hardware_address(one: Node) -> str:
    return f"52:54:00:00:02:{one.index:02x}"

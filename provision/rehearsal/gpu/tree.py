"""The trees that a GPU and its driver show: PCI sysfs, /sys/module, /proc/driver and /dev.

They are laid into one folder, from which a node mounts them. Laying again changes only what
differs, so that a GPU can leave the bus of a running node.
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from provision.rehearsal.gpu.state import Count, Gpu, Rising, State, Switch

NVIDIA = 0x10DE
CONTROL_MINOR = 255
FRONTEND_MAJOR = 195
UVM_MAJOR = 235
SWITCH_MAJOR = 236

_SPEEDS = {1: "2.5", 2: "5.0", 3: "8.0", 4: "16.0", 5: "32.0", 6: "64.0"}
_CORRECTABLE = ("RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout", "NonFatalErr",
                "CorrIntErr", "HeaderOF")  # fmt: skip
_UNCORRECTABLE = ("Undefined", "DLP", "SDES", "TLP", "FCP", "CmpltTO", "CmpltAbrt", "UnxCmplt",
                  "RxOF", "MalfTLP", "ECRC", "UnsupReq", "ACSViol", "UncorrIntErr", "BlockedTLP",
                  "AtomicOpBlocked", "TLPBlockedErr", "PoisonTLPBlocked")  # fmt: skip


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Device:
    """A character device's number."""

    major: int
    minor: int


Entry = str | bytes | Link | Device
Tree = dict[str, Entry]
"""Relative path to what is there; folders follow from the paths."""


def entries(state: State) -> Tree:
    """Everything that the trees hold."""
    found: Tree = {}
    for gpu in state.gpus:
        if gpu.on_bus:
            found |= _below(f"pci/{gpu.pci.address}", _gpu(gpu, bound=state.module.loaded))
    for switch in state.switches:
        if switch.on_bus:
            found |= _below(f"pci/{switch.address}", _switch(switch, bound=state.module.loaded))
    if state.module.loaded:
        found |= _below("module", _modules(state))
        found |= _below("driver", _driver(state))
        found |= _below("dev", _devices(state))
    return found


def lay(state: State, folder: Path) -> None:
    """Make `folder` hold exactly the trees of `state`.

    Raises:
        OSError: it cannot be written, or devices cannot be made (which needs root).
    """
    wanted = entries(state)
    for top in ("pci", "module", "driver", "dev"):
        (folder / top).mkdir(parents=True, exist_ok=True)
        _clear(folder, folder / top, wanted)
    for path, entry in wanted.items():
        _put(folder / path, entry)


def _below(top: str, tree: Tree) -> Tree:
    return {f"{top}/{path}": entry for path, entry in tree.items()}


def _gpu(gpu: Gpu, *, bound: bool) -> Tree:
    pci = gpu.pci
    identity = _Identity(pci.device, pci.subsystem, pci.class_, pci.numa)
    return {
        **_device(identity, "nvidia" if bound else None),
        "current_link_width": f"{_now(pci.width)}\n",
        "max_link_width": f"{_now(pci.max_width)}\n",
        "current_link_speed": f"{_speed(pci.generation)} GT/s PCIe\n",
        "max_link_speed": f"{_speed(pci.max_generation)} GT/s PCIe\n",
        "aer_dev_correctable": _errors(_CORRECTABLE, "COR", pci.aer.correctable),
        "aer_dev_nonfatal": _errors(_UNCORRECTABLE, "NONFATAL", pci.aer.nonfatal),
        "aer_dev_fatal": _errors(_UNCORRECTABLE, "FATAL", pci.aer.fatal),
    }


def _switch(switch: Switch, *, bound: bool) -> Tree:
    identity = _Identity(switch.device, switch.device, 0x068000, switch.numa)
    return _device(identity, "nvidia-nvswitch" if bound else None)


@dataclass(frozen=True)
class _Identity:
    device: int
    subsystem: int
    kind: int
    numa: int

    def config(self) -> bytes:
        """The standard header of its configuration space."""
        head = struct.pack("<HHHHB", NVIDIA, self.device, 0x0007, 0x0010, 0xA1)
        head += self.kind.to_bytes(3, "little")
        return (head.ljust(0x2C, b"\0") + struct.pack("<HH", NVIDIA, self.subsystem)).ljust(
            64, b"\0"
        )


def _device(identity: _Identity, driver: str | None) -> Tree:
    bound: Tree = {"driver": Link(f"../../drivers/{driver}")} if driver else {}
    return {
        "vendor": f"0x{NVIDIA:04x}\n",
        "device": f"0x{identity.device:04x}\n",
        "subsystem_vendor": f"0x{NVIDIA:04x}\n",
        "subsystem_device": f"0x{identity.subsystem:04x}\n",
        "class": f"0x{identity.kind:06x}\n",
        "revision": "0xa1\n",
        "enable": "1\n" if driver else "0\n",
        "numa_node": f"{identity.numa}\n",
        "config": identity.config(),
        **bound,
    }


def _errors(names: tuple[str, ...], total: str, count: int) -> str:
    """AER's table. All errors are of the first kind."""
    lines = [f"{name} {count if index == 0 else 0}" for index, name in enumerate(names)]
    return "\n".join([*lines, f"TOTAL_ERR_{total} {count}"]) + "\n"


def _now(count: Count) -> int:
    """A link's width or generation. sysfs shows the last value that it read."""
    return count.start if isinstance(count, Rising) else count or 0


def _speed(generation: Count) -> str:
    return _SPEEDS.get(_now(generation), "Unknown")


def _modules(state: State) -> Tree:
    found: Tree = {}
    for name in ("nvidia", *state.module.others):
        found[f"{name}/version"] = f"{state.module.version}\n"
        found[f"{name}/initstate"] = "live\n"
        found[f"{name}/refcnt"] = "0\n"
        found[f"{name}/taint"] = "OE\n" if state.module.open else "POE\n"
    return found


def _driver(state: State) -> Tree:
    version, machine = state.module.version, os.uname().machine
    if state.module.open:
        kind = (
            f"NVIDIA UNIX Open Kernel Module for {machine}  {version}  Release Build  (simulated)"
        )
    else:
        kind = f"NVIDIA UNIX {machine} Kernel Module  {version}  (simulated)"
    found: Tree = {
        "nvidia/version": f"NVRM version: {kind}\nGCC version:  (simulated)\n",
        "nvidia/params": "ResmanDebugLevel: 4294967295\nDeviceFileUID: 0\nDeviceFileGID: 0\n"
        "DeviceFileMode: 438\nModifyDeviceFiles: 1\n",
        "nvidia/registry": 'Binary: ""\n',
    }
    for gpu in state.gpus:
        if gpu.enumerated:
            found[f"nvidia/gpus/{gpu.pci.address}/information"] = _information(gpu)
    for switch in state.switches:
        found[f"nvidia-nvswitch/devices/{switch.address}"] = "BIOS Version: simulated\n"
    if state.switches:
        found["nvidia-nvswitch/version"] = found["nvidia/version"]
    return found


def _information(gpu: Gpu) -> str:
    rows = {
        "Model": gpu.name or "Unknown",
        "IRQ": 100 + _now(gpu.minor),
        "GPU UUID": gpu.uuid or "GPU-????????-????-????-????-????????????",
        "Video BIOS": gpu.firmware.vbios or "??.??.??.??.??",
        "Bus Type": "PCIe",
        "DMA Size": "52 bits",
        "DMA Mask": "0xfffffffffffff",
        "Bus Location": gpu.pci.address,
        "Device Minor": _now(gpu.minor),
        "GPU Firmware": gpu.firmware.gsp or "N/A",
        "GPU Excluded": "No",
    }
    return "".join(f"{name}:\t {value}\n" for name, value in rows.items())


def _devices(state: State) -> Tree:
    found: Tree = {"nvidiactl": Device(FRONTEND_MAJOR, CONTROL_MINOR)}
    if "nvidia_uvm" in state.module.others:
        found["nvidia-uvm"] = Device(UVM_MAJOR, 0)
        found["nvidia-uvm-tools"] = Device(UVM_MAJOR, 1)
    for gpu in state.gpus:
        if gpu.device_node and gpu.enumerated:
            minor = _now(gpu.minor)
            found[f"nvidia{minor}"] = Device(FRONTEND_MAJOR, minor)
    for index, _ in enumerate(state.switches):
        found[f"nvidia-nvswitch{index}"] = Device(SWITCH_MAJOR, index)
    if state.switches:
        found["nvidia-nvswitchctl"] = Device(SWITCH_MAJOR, CONTROL_MINOR)
    return found


def _clear(folder: Path, top: Path, wanted: Tree) -> None:
    """Remove what nobody wants below `top`; a folder goes as a whole."""
    kept = set(wanted)
    for name in wanted:
        kept |= {str(parent) for parent in Path(name).parents}
    for here, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = Path(here) / name
            if str(path.relative_to(folder)) in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
                folders.remove(name)
            else:
                path.unlink()


def _put(path: Path, entry: Entry) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(entry, Link):
        if not (path.is_symlink() and str(path.readlink()) == entry.target):
            path.unlink(missing_ok=True)
            path.symlink_to(entry.target)
    elif isinstance(entry, Device):
        _put_device(path, entry)
    else:
        data = entry.encode() if isinstance(entry, str) else entry
        if not path.exists() or path.read_bytes() != data:
            # Whole, so that a reader never sees half; but nothing here must outlive a power cut.
            fresh = path.with_name(f".{path.name}.new")
            fresh.write_bytes(data)
            fresh.chmod(0o444)
            fresh.rename(path)


def _put_device(path: Path, device: Device) -> None:
    number = os.makedev(device.major, device.minor)
    if path.exists():
        info = path.lstat()
        if stat.S_ISCHR(info.st_mode) and info.st_rdev == number:
            return
        path.unlink()
    os.mknod(path, stat.S_IFCHR | 0o666, number)
    path.chmod(0o666)

"""Faults of GPU nodes by name: what to change, on which surface, and what an audit should say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.problems import fail
from provision.rehearsal.gpu.state import Fault, LogLine, State, changed, struck

Surface = Literal["pci", "module", "library", "nvml", "fabric", "log"]
Action = Literal["none", "restart application", "reset GPU", "reboot", "drain", "inspect"]

EVER: dict[str, Any] = {"hang": "sleep"}


@dataclass(frozen=True)
class Named:
    """A fault by name.

    `changes` are paths of the state, with ``{gpu}`` for the GPU's place in its list; `strikes` are
    faults of calls; `log` are lines of the kernel's log, with ``{bus}`` as the driver writes it.
    `surface` is where it shows first and `action` what an audit should ask for.
    """

    id: str
    says: str
    surface: Surface
    action: Action
    changes: Mapping[str, Any] = field(default_factory=dict)
    strikes: tuple[Mapping[str, Any], ...] = ()
    log: tuple[str, ...] = ()
    of_gpu: bool = True


def rising(per_s: float) -> Callable[[float], dict[str, float]]:
    """A counter that grows from when the fault is put in."""
    return lambda now: {"start": 0, "per_s": per_s, "since": now}


def xid(code: int, says: str) -> str:
    """The driver's line in the kernel's log for an XID."""
    return f"NVRM: Xid (PCI:{{bus}}): {code}, pid='<unknown>', name=<unknown>, {says}"


def sxid(switch: int, bus: str, code: int, says: str) -> str:
    """The NVSwitch driver's line in the kernel's log for an SXid."""
    return f"nvidia-nvswitch{switch}: SXid (PCI:{bus}): {code}, {says}"


_LISTED = (
    # The PCI bus
    Named("pci-gone", "a GPU is off the PCI bus while the driver still lists it", "pci", "inspect",
          {"gpus.{gpu}.on_bus": False}),
    Named("pci-narrow", "a GPU's PCIe link runs at half its width", "pci", "inspect",
          {"gpus.{gpu}.pci.width": 8}),
    Named("pci-slow", "a GPU's PCIe link cannot go beyond generation 3", "pci", "inspect",
          {"gpus.{gpu}.pci.generation": 3, "gpus.{gpu}.pci.max_generation": 3}),
    Named("pci-replays", "a GPU's PCIe link replays 60 packets a second", "pci", "inspect",
          {"gpus.{gpu}.pci.counters.replays": rising(60)}),
    Named("pci-errors", "the kernel counted fatal PCIe errors", "pci", "inspect",
          {"gpus.{gpu}.pci.aer.nonfatal": 3, "gpus.{gpu}.pci.aer.fatal": 1}),
    Named("switch-gone", "an NVSwitch is off the PCI bus", "pci", "inspect",
          {"switches.0.on_bus": False}, of_gpu=False),
    # The kernel module and the library
    Named("module-not-loaded", "the driver's kernel module is not loaded", "module", "reboot",
          {"module.loaded": False}, of_gpu=False),
    Named("module-older", "the kernel still runs the module of before an update", "module",
          "reboot", {"module.version": "580.95.05"}, of_gpu=False),
    Named("library-older", "the library is of another version than the module", "library",
          "reboot", {"library.version": "575.57.08"}, of_gpu=False),
    Named("device-node-missing", "a GPU has no device file", "module", "reboot",
          {"gpus.{gpu}.device_node": False}),
    # NVML
    Named("gpu-missing", "a GPU is on the bus and the driver does not list it", "nvml", "inspect",
          {"gpus.{gpu}.enumerated": False}),
    Named("gpu-lost", "a GPU is listed and every call to it says that it is lost", "nvml",
          "reboot", strikes=({"call": "nvmlDevice*", "answer": 15},
                             {"call": "field:*", "answer": 15})),
    Named("gpu-needs-reset", "every call to a GPU asks for a reset", "nvml", "reset GPU",
          strikes=({"call": "nvmlDeviceGet[!HIUP]*", "answer": 16},)),
    Named("init-fails", "NVML cannot be initialised for an unknown reason", "nvml", "reboot",
          strikes=({"call": "nvmlInit*", "answer": 999},), of_gpu=False),
    Named("init-hangs", "initialising NVML never comes back", "nvml", "reboot",
          strikes=({"call": "nvmlInit*", **EVER},), of_gpu=False),
    Named("call-hangs", "reading a GPU's ECC errors never comes back", "nvml", "reboot",
          strikes=({"call": "nvmlDeviceGetTotalEccErrors", **EVER},)),
    Named("call-slow", "reading a GPU's name takes three seconds", "nvml", "inspect",
          strikes=({"call": "nvmlDeviceGetName", "hang": "sleep", "hang_s": 3},)),
    Named("call-unkillable", "a process that reads a GPU's temperature cannot be killed", "nvml",
          "reboot", strikes=({"call": "nvmlDeviceGetTemperature*", "hang": "unkillable"},)),
    Named("call-crashes", "the library crashes when a GPU's power is read", "library", "reboot",
          strikes=({"call": "nvmlDeviceGetPowerUsage", "signal": 11},)),
    Named("text-cut", "a GPU's UUID comes back cut short", "nvml", "inspect",
          strikes=({"call": "nvmlDeviceGetUUID", "truncate": 7},)),
    Named("text-garbage", "a GPU's name comes back as bytes that are no text", "nvml", "inspect",
          strikes=({"call": "nvmlDeviceGetName", "bytes": "fffe80ff"},)),
    Named("no-permission", "SRAM errors may not be read", "nvml", "none",
          strikes=({"call": "nvmlDeviceGetSramEccErrorStatus", "answer": 4},)),
    Named("third-call-fails", "a GPU's clocks can be read twice and then no more", "nvml",
          "inspect", strikes=({"call": "nvmlDeviceGetClockInfo", "answer": 999, "after": 2},)),
    Named("recovery-reset", "the driver asks for a reset of a GPU", "nvml", "reset GPU",
          {"gpus.{gpu}.recovery_action": 1}),
    Named("recovery-reboot", "the driver asks for a reboot", "nvml", "reboot",
          {"gpus.{gpu}.recovery_action": 2}),
    Named("recovery-drain", "the driver asks to drain a GPU and to reset it", "nvml", "drain",
          {"gpus.{gpu}.recovery_action": 4}),
    # Memory
    Named("ecc-uncorrected", "a GPU's memory had two errors that could not be corrected", "nvml",
          "reset GPU", {"gpus.{gpu}.ecc.volatile.uncorrected.dram": 2}),
    Named("ecc-corrected-rate", "a GPU corrects 5,000 memory errors a second", "nvml", "inspect",
          {"gpus.{gpu}.ecc.volatile.corrected.dram": rising(5000)}),
    Named("ecc-off", "ECC is off", "nvml", "reset GPU",
          {"gpus.{gpu}.modes.ecc": False, "gpus.{gpu}.modes.ecc_pending": False}),
    Named("ecc-pending", "ECC will be off after the next reset", "nvml", "inspect",
          {"gpus.{gpu}.modes.ecc_pending": False}),
    Named("remap-pending", "a row of memory is to be remapped", "nvml", "reset GPU",
          {"gpus.{gpu}.remapped.uncorrected": 1, "gpus.{gpu}.remapped.pending": True}),
    Named("remap-failed", "a row of memory could not be remapped", "nvml", "inspect",
          {"gpus.{gpu}.remapped.uncorrected": 8, "gpus.{gpu}.remapped.failed": True}),
    Named("banks-spent", "banks of memory have no spare rows left", "nvml", "inspect",
          {"gpus.{gpu}.remapped.banks": [2552, 4, 2, 1, 1]}),
    Named("sram-threshold", "SRAM had more errors than the maker allows", "nvml", "inspect",
          {"gpus.{gpu}.sram.threshold_exceeded": True, "gpus.{gpu}.sram.aggregate_parity": 11}),
    Named("repair-pending", "a repair waits for a reset", "nvml", "reset GPU",
          {"gpus.{gpu}.repair.channel_pending": True}),
    # Heat, clocks, power
    Named("hot", "a GPU is close to its slowdown", "nvml", "inspect",
          {"gpus.{gpu}.temperature.gpu": 88, "gpus.{gpu}.temperature.margin": -1}),
    Named("slowed-by-heat", "a GPU is slowed down by heat", "nvml", "inspect",
          {"gpus.{gpu}.clocks.reasons": 0x48, "gpus.{gpu}.clocks.current.sm": 1005,
           "gpus.{gpu}.violations.hw_thermal": rising(1e9)}),
    Named("power-brake", "a GPU is slowed down by the power supply's brake", "nvml", "inspect",
          {"gpus.{gpu}.clocks.reasons": 0x88, "gpus.{gpu}.violations.power_brake": rising(1e9)}),
    Named("power-unreadable", "a GPU's power draw cannot be read", "nvml", "inspect",
          {"gpus.{gpu}.power.draw_mw": None}),
    Named("power-limited", "a GPU's power limit is half of what is usual", "nvml", "inspect",
          {"gpus.{gpu}.power.enforced_mw": 200000, "gpus.{gpu}.power.limit_mw": 200000}),
    # Links and fabric
    Named("link-down", "one of a GPU's NVLinks is down", "nvml", "reset GPU",
          {"gpus.{gpu}.nvlink.links.3.state": 0}),
    Named("link-errors", "an NVLink recovers four times a second", "nvml", "inspect",
          {"gpus.{gpu}.nvlink.links.3.replay": rising(20),
           "gpus.{gpu}.nvlink.links.3.recovery": rising(4)}),
    Named("link-flaps", "an NVLink is down for 3 of every 10 seconds", "nvml", "inspect",
          strikes=({"path": "nvlink.links.3.state", "value": 0, "every_s": 10, "on_s": 3},)),
    Named("peers-apart", "links are up and two GPUs do not reach each other", "fabric",
          "reset GPU", {"peers.exceptions": [{"a": 0, "b": 1, "capability": 2, "status": 5}]},
          of_gpu=False),
    Named("fabric-not-started", "no GPU has begun to register with the fabric", "fabric",
          "reboot", {"gpus.*.fabric.state": 1}, of_gpu=False),
    Named("fabric-in-progress", "a GPU's registration with the fabric does not end", "fabric",
          "reboot", {"gpus.{gpu}.fabric.state": 2}),
    Named("fabric-failed", "a GPU's registration with the fabric failed", "fabric", "reboot",
          {"gpus.{gpu}.fabric.status": 999}),
    Named("fabric-degraded", "the fabric has less bandwidth than it should", "fabric", "inspect",
          {"gpus.{gpu}.fabric.health": 0x01A9, "gpus.{gpu}.fabric.summary": 3}),
    # Configuration
    Named("persistence-off", "persistence mode is off", "nvml", "none",
          {"gpus.{gpu}.modes.persistence": False}),
    Named("mig-on", "MIG is on where nobody declared it", "nvml", "inspect",
          {"gpus.{gpu}.modes.mig": True, "gpus.{gpu}.modes.mig_pending": True}),
    Named("mig-pending", "MIG will be on after the next reset", "nvml", "reset GPU",
          {"gpus.{gpu}.modes.mig_pending": True}),
    Named("vbios-differs", "one GPU has another VBIOS than its neighbours", "nvml", "inspect",
          {"gpus.{gpu}.firmware.vbios": "96.00.30.00.01"}),
    Named("gsp-differs", "one GPU runs another GSP firmware than its neighbours", "nvml", "reboot",
          {"gpus.{gpu}.firmware.gsp": "570.86.15"}),
    Named("inforom-corrupt", "a GPU's InfoROM is corrupt", "nvml", "inspect",
          {"gpus.{gpu}.firmware.inforom_valid": False}),
    # The kernel's log
    Named("xid-13", "an application made an exception", "log", "restart application",
          log=(xid(13, "Graphics SM Warp Exception on (GPC 2, TPC 1, SM 0)"),)),
    Named("xid-48", "an error of memory could not be corrected", "log", "reset GPU",
          log=(xid(48, "An uncorrectable double bit error (DBE) has been detected on GPU in the "
                   "framebuffer at partition 4, subpartition 0."),)),
    Named("xid-79", "a GPU has fallen off the bus: the log and NVML say so", "log", "reboot",
          strikes=({"call": "nvmlDevice*", "answer": 15}, {"call": "field:*", "answer": 15}),
          log=(xid(79, "GPU has fallen off the bus."),
               "NVRM: GPU at PCI:{bus}: fallen off the bus and is not responding to commands.")),
    Named("xid-119", "the GPU's firmware does not answer", "log", "reset GPU",
          log=(xid(119, "Timeout after 6s of waiting for RPC response from GPU3 GSP! Expected "
                   "function 76 (GSP_RM_CONTROL) (0x2080a028 0x4)."),)),
    Named("xid-unknown", "the driver writes a code that no table has", "log", "inspect",
          log=(xid(9998, "Unlisted event"),)),
    Named("sxid", "an NVSwitch reports a fatal error", "log", "reset GPU",
          log=(sxid(0, "0000:05:00.0", 20034, "Fatal, Link 30 LTSSM Fault Up"),), of_gpu=False),
    Named("sxid-non-fatal", "an NVSwitch reports an error that does no harm", "log", "none",
          log=(sxid(3, "0000:08:00.0", 12028, "Non-fatal, Link 32 egress non-posted PRIV error"),),
          of_gpu=False),
)  # fmt: skip

FAULTS = {one.id: one for one in _LISTED}
"""Every fault by name."""


def named(name: str) -> Named:
    """The fault of this name.

    Raises:
        HoldfastError: there is none.
    """
    if name not in FAULTS:
        raise fail("unknown-fault", f"there is no fault {name!r}", hint=suggest(name, list(FAULTS)),
                   exit_code=ExitCode.USAGE)  # fmt: skip
    return FAULTS[name]


def inject(state: State, name: str, gpu: int = 0, *, now: float) -> State:
    """The state with a fault in it.

    Args:
        state: the state as it is.
        name: of `FAULTS`.
        gpu: which GPU, by its place in the list; for a fault of one.
        now: seconds since the epoch; counters begin and log lines stand there.

    Raises:
        HoldfastError: there is no such fault or GPU, or this model lacks what would fail.
    """
    fault = named(name)
    if fault.of_gpu and not 0 <= gpu < len(state.gpus):
        raise fail("no-such-gpu", f"there is no GPU {gpu}", hint=f"0 to {len(state.gpus) - 1}",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    place = gpu if fault.of_gpu else None
    found = changed(state, {
        path.format(gpu=gpu): value(now) if callable(value) else value
        for path, value in fault.changes.items()
    })  # fmt: skip
    strikes = (
        Fault(id=f"{name}/{place}/{number}", gpu=place, **strike)
        for number, strike in enumerate(fault.strikes)
    )
    bus = state.gpus[gpu].pci.address.rpartition(".")[0]
    lines = (
        LogLine(text=text.format(bus=bus), at=now + number / 1000)
        for number, text in enumerate(fault.log)
    )
    return struck(found, *strikes).model_copy(update={"log": (*found.log, *lines)})

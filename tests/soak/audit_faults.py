"""The fault campaign's list: what is done to a node, and exactly what the audit has to say of it.

`found` names every check that may not pass, with its status and action. A check that is not named
has to say what it says of the healthy node: so a fault on one surface is not blamed on another,
and a check that lost its evidence cannot pass unnoticed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provision.health.checks.all import checks
from provision.rehearsal.gpu import faults, state
from provision.rehearsal.gpu.state import Fault
from tests.unit.health_fixtures import (
    address,
    call,
    command,
    file,
    gpu,
    log,
    service,
    several,
)
from tests.unit.health_support import SXID, UNIT, XID, Recorded, specification

Change = Callable[[Recorded], object]
Found = dict[str, str]

UNSEEN = "unknown inspect"
PRESENCE = "gpu.presence.driver"
KERNEL = ("gpu.presence.pci", "gpu.switches", "gpu.driver.agreement", "gpu.driver.version",
          "gpu.driver.modules", "gpu.pcie.aer")  # fmt: skip
"""Checks of GPUs that ask the kernel and not the GPU."""
READINGS = tuple(
    c.id for c in checks()
    if c.id.startswith("gpu.") and c.id not in (*KERNEL, PRESENCE, "gpu.pages")
)  # fmt: skip
"""Checks that judge what NVML says of each GPU. The model of the campaign retires no pages."""


@dataclass(frozen=True)
class Step:
    """A change, and what the next audit has to find."""

    change: Change
    found: Found


@dataclass(frozen=True)
class Injected:
    """A fault.

    Args:
        id: its name in the table.
        surface: where it is: pci, module, library, nvml, fabric, log, host, network, container,
            security, or several of them.
        done: what was done to the node, in words.
        change: does it.
        found: what the audit has to find.
        says: a word of the leading finding's evidence.
        primed: whether a healthy node was audited a minute before.
        then: further changes, each with an audit a minute later on the same kept state.
        more: further options of the program.
        asked: the action that the simulation's author asked for, and why ours is another.
        shown: an entity of a check that is shown though nothing gates.
    """

    id: str
    surface: str
    done: str
    change: Change
    found: Found
    says: str = ""
    primed: bool = False
    then: tuple[Step, ...] = ()
    more: tuple[str, ...] = ()
    asked: str = ""
    shown: tuple[str, str] | None = None


def fail(check: str, action: str) -> Found:
    """A check that fails."""
    return {check: f"fail {action}"}


def unseen(*names: str) -> Found:
    """Checks that cannot judge."""
    return dict.fromkeys(names, UNSEEN)


def blind(*but: str) -> Found:
    """Every reading of a GPU is missing, but those of these checks."""
    return unseen(*(c for c in READINGS if c not in but))


def after(last: str) -> Found:
    """Readings that come, in the order of the calls, after the last check that still judges."""
    order = list(_ORDER)
    return unseen(*order[order.index(last) + 1 :])


_ORDER = (
    "gpu.identity", "gpu.vbios", "gpu.gsp", "gpu.persistence", "gpu.ecc.mode",
    "gpu.ecc.uncorrected", "gpu.ecc.corrected", "gpu.rows.pending", "gpu.rows.failure",
    "gpu.rows.spares", "gpu.repair", "gpu.pages", "gpu.temperature.core", "gpu.clocks",
    "gpu.power", "gpu.pcie.width", "gpu.pcie.speed", "gpu.pcie.replay", "gpu.ecc.sram",
    "gpu.temperature.memory", "gpu.recovery", "gpu.mig", "gpu.nvlink.state", "gpu.nvlink.errors",
    "gpu.fabric", "gpu.nvlink.p2p",
)  # fmt: skip
"""Checks in the order in which the probe makes the calls that they need."""

NO_DRIVER = {
    **fail(PRESENCE, "reboot"), **blind(), **unseen("gpu.pages", "gpu.driver.agreement"),
}  # fmt: skip
"""The library does not start; the kernel module runs."""
UNSTARTED = {**NO_DRIVER, PRESENCE: UNSEEN}
LOST = {**fail(PRESENCE, "reboot"), **blind()}
IMPATIENT = ("--patience", "1")
_PATIENCE = {
    **dict.fromkeys(("init-hangs", "call-hangs", "call-unkillable"), IMPATIENT),
    "call-slow": ("--patience", "0.4"),
}
"""How long the audit waits where a named fault makes it wait."""

_MODULES_GONE = file("proc/modules", "xfs 2048 2 - Live 0x0\n")
_NAMED: dict[str, Any] = {
    "pci-gone": fail("gpu.presence.pci", "inspect"),
    "pci-narrow": fail("gpu.pcie.width", "inspect"),
    "pci-slow": fail("gpu.pcie.speed", "inspect"),
    "pci-replays": fail("gpu.pcie.replay", "inspect"),
    "pci-errors": fail("gpu.pcie.aer", "inspect"),
    "switch-gone": fail("gpu.switches", "inspect"),
    "module-not-loaded": {
        **NO_DRIVER,
        **fail("gpu.driver.modules", "reboot"),
        **fail("container.cdi", "none"),
        **unseen("gpu.driver.version", "container.gpu"),
    },
    "module-older": {
        **NO_DRIVER,
        **fail("gpu.driver.agreement", "reboot"),
        **fail("gpu.driver.version", "reboot"),
        **fail("container.cdi", "none"),
        **fail("container.gpu", "restart_application"),
    },
    "library-older": {**NO_DRIVER, **fail("gpu.driver.agreement", "reboot")},
    "device-node-missing": {
        **fail("gpu.driver.modules", "reboot"),
        **fail("container.cdi", "none"),
    },
    "gpu-missing": {**LOST, **fail("container.cdi", "none")},
    "gpu-lost": LOST,
    "gpu-needs-reset": {
        **fail(PRESENCE, "reset_gpu"),
        **blind("gpu.persistence", "gpu.nvlink.p2p"),
        **unseen("gpu.pages"),
    },
    "init-fails": UNSTARTED,
    "init-hangs": NO_DRIVER,
    "call-hangs": {**fail(PRESENCE, "reboot"), **after("gpu.ecc.mode")},
    "call-slow": {**LOST, **unseen("gpu.pages")},
    "call-unkillable": {**fail(PRESENCE, "reboot"), **after("gpu.pages")},
    "call-crashes": {**fail(PRESENCE, "reboot"), **after("gpu.clocks")},
    "text-cut": unseen("gpu.identity"),
    "text-garbage": unseen("gpu.identity"),
    "no-permission": unseen("gpu.ecc.sram"),
    "third-call-fails": {},
    "recovery-reset": fail("gpu.recovery", "reset_gpu"),
    "recovery-reboot": fail("gpu.recovery", "reboot"),
    "recovery-drain": fail("gpu.recovery", "reset_gpu"),
    "ecc-uncorrected": fail("gpu.ecc.uncorrected", "reset_gpu"),
    "ecc-corrected-rate": fail("gpu.ecc.corrected", "inspect"),
    "ecc-off": {
        **fail("gpu.ecc.mode", "reboot"),
        **unseen("gpu.ecc.uncorrected", "gpu.ecc.corrected"),
    },
    "ecc-pending": fail("gpu.ecc.mode", "reboot"),
    "remap-pending": fail("gpu.rows.pending", "reset_gpu"),
    "remap-failed": fail("gpu.rows.failure", "return"),
    "banks-spent": fail("gpu.rows.spares", "inspect"),
    "sram-threshold": fail("gpu.ecc.sram", "return"),
    "repair-pending": fail("gpu.repair", "reset_gpu"),
    "hot": fail("gpu.temperature.core", "inspect"),
    "slowed-by-heat": fail("gpu.clocks", "inspect"),
    "power-brake": fail("gpu.clocks", "inspect"),
    "power-unreadable": unseen("gpu.power"),
    "power-limited": fail("gpu.power", "inspect"),
    "link-down": fail("gpu.nvlink.state", "reset_gpu"),
    "link-errors": fail("gpu.nvlink.errors", "inspect"),
    "link-flaps": fail("gpu.nvlink.state", "reset_gpu"),
    "peers-apart": fail("gpu.nvlink.p2p", "reset_gpu"),
    "fabric-not-started": fail("gpu.fabric", "drain"),
    "fabric-in-progress": fail("gpu.fabric", "drain"),
    "fabric-failed": fail("gpu.fabric", "drain"),
    "fabric-degraded": fail("gpu.fabric", "drain"),
    "persistence-off": fail("gpu.persistence", "none"),
    "mig-on": fail("gpu.mig", "drain"),
    "mig-pending": fail("gpu.mig", "drain"),
    "vbios-differs": fail("gpu.vbios", "inspect"),
    "gsp-differs": fail("gpu.gsp", "reboot"),
    "inforom-corrupt": {},
    "xid-13": {},
    "xid-48": fail("log.xid", "reset_gpu"),
    "xid-79": {**LOST, **fail("log.xid", "reboot")},
    "xid-119": fail("log.xid", "reset_gpu"),
    "xid-unknown": unseen("log.xid"),
    "sxid": fail("log.sxid", "reset_gpu"),
    "sxid-non-fatal": {},
}
"""What each named fault of the simulation has to lead to."""
_RATES = ("pci-replays", "ecc-corrected-rate", "link-errors")
_SHOWN = {"xid-13": ("log.xid", "0000:4e:00.0"), "sxid-non-fatal": ("log.sxid", "nvswitch3")}
NOT_ASKED = {
    "third-call-fails": "no check reads clocks by kind: the reasons that hold them down are read",
    "inforom-corrupt": "validating an InfoROM reads the board's flash, which a passive audit does"
    " not; code 14 of any call is seen",
}
"""Faults that a passive audit does not look for, with the reason."""
_WHY = {
    "gpu-missing": "a restart comes before hands on the machine",
    "recovery-drain": "the advice drains first, then resets as the driver asks",
    "no-permission": "unknown gates, and the look has to be mended",
    "init-fails": "999 says nothing; it is unknown until somebody looked",
    "ecc-off": "the mode changes with a restart, which resets every GPU",
    "ecc-pending": "the mode that was left pending takes effect with the next restart",
    "remap-failed": "the field diagnostics decide about the return; nothing else clears it",
    "sram-threshold": "the maker's threshold is the ground for a return",
    "call-slow": "longer than a call may take is taken for a hang",
    "text-cut": "", "fabric-not-started": "the fabric manager's service is looked at before",
    "fabric-in-progress": "the fabric manager's service is looked at before",
    "fabric-failed": "the fabric manager's service is looked at before",
    "fabric-degraded": "jobs over all GPUs run slower until it is mended",
    "mig-on": "the declared layout is applied on a drained node",
    "mig-pending": "the declared layout is applied on a drained node",
    "xid-79": "", "device-node-missing": "",
}  # fmt: skip


def struck(**fault: Any) -> Change:
    """Let calls of the simulated driver go wrong."""
    return lambda n: n.strike(Fault(id=json.dumps(fault, sort_keys=True), **fault))


def _inject(name: str) -> Change:
    def change(node: Recorded) -> None:
        which = 3 if faults.named(name).of_gpu else 0
        node.gpus = faults.inject(node.gpus, name, which, now=time.time() - 60)
        node.log += [line.text for line in node.gpus.log]
        if name == "module-not-loaded":
            _MODULES_GONE(node)
        if name == "link-flaps":
            _flapping(down=True)(node)

    return change


def _flapping(*, down: bool) -> Change:
    """A link that is down for every other hour, at a moment when it is down, or up."""

    def change(node: Recorded) -> None:
        since = time.time() - (100 if down else 3700)
        node.strike(Fault(id="link-flaps/3/0", gpu=3, path="nvlink.links.3.state", value=0,
                          every_s=7200, on_s=3600, since=since))  # fmt: skip

    return change


def _named() -> list[Injected]:
    made = []
    for name, told in faults.FAULTS.items():
        asked = told.action.replace(" ", "_").replace("GPU", "gpu")
        why = _WHY.get(name) or NOT_ASKED.get(name, "")
        made.append(Injected(
            name, told.surface, told.says, _inject(name), _NAMED[name], primed=name in _RATES,
            more=_PATIENCE.get(name, ()), asked=f"{asked}: {why}" if why else asked,
            shown=_SHOWN.get(name),
            then=(Step(_flapping(down=False), {}), Step(_flapping(down=True), _NAMED[name]))
            if name == "link-flaps" else (),
        ))  # fmt: skip
    return made


def _mended(node: Recorded) -> None:
    node.gpus = state.mended(node.gpus)


_BUS3 = "0000:4e:00.0"
_ANSWERLESS = several(
    struck(call="nvmlDeviceGet[!HP]*", gpu=3, answer=999),
    struck(call="nvmlDeviceGetP[!c]*", gpu=3, answer=999),
    struck(call="nvmlDeviceGetPcie*", gpu=3, answer=999),
    struck(call="field:*", gpu=3, answer=999),
)
_NVML = (
    Injected("init-999-then-well", "nvml", "the driver does not start, and works a minute later",
             call("nvmlInit*", 999), UNSTARTED, "NVML 999",
             then=(Step(_mended, {}),)),
    Injected("init-no-permission", "nvml", "nvmlInit: 4", call("nvmlInit*", 4), UNSTARTED,
             "NVML 4"),
    Injected("init-not-ready", "nvml", "nvmlInit: 27", call("nvmlInit*", 27), UNSTARTED,
             "NVML 27"),
    Injected("init-crashes", "library", "nvmlInit ends in signal 11",
             struck(call="nvmlInit*", signal=11), NO_DRIVER, "by signal 11"),
    Injected("library-absent", "library", "there is no libnvidia-ml.so.1",
             lambda n: setattr(n, "nvml", "/none/libnvidia-ml.so.1"), NO_DRIVER, "cannot open"),
    Injected("library-is-text", "library", "libnvidia-ml.so.1 is a text file",
             lambda n: setattr(n, "nvml", str(n.root / "proc/cmdline")), NO_DRIVER, "nvmlInit"),
    Injected("count-999", "nvml", "nvmlDeviceGetCount: 999", call("nvmlDeviceGetCount*", 999),
             {**unseen(PRESENCE, "gpu.pages"), **blind()}, "NVML 999"),
    Injected("handle-999", "nvml", "a GPU's handle: 999",
             call("nvmlDeviceGetHandleByIndex*", 999, 3),
             {**fail(PRESENCE, "reset_gpu"), **blind()}, "NVML 999"),
    Injected("handle-no-permission", "nvml", "a GPU's handle: 4",
             call("nvmlDeviceGetHandleByIndex*", 4, 3), {**unseen(PRESENCE), **blind()}, "NVML 4"),
    Injected("handle-power-cable", "nvml", "a GPU's handle: 8",
             call("nvmlDeviceGetHandleByIndex*", 8, 3),
             {**fail(PRESENCE, "inspect"), **blind()}, "power cable"),
    Injected("every-handle-lost", "nvml", "all eight handles: 15",
             call("nvmlDeviceGetHandleByIndex*", 15),
             {**LOST, **unseen("gpu.pages")}, "GPU 7: NVML 15"),
    Injected("answerless", "nvml", "a GPU answers every reading with 999", _ANSWERLESS,
             {**unseen(PRESENCE, "gpu.pages"), **blind()}, "answers no question"),
    Injected("shutdown-hangs", "library", "nvmlShutdown never comes back",
             struck(call="nvmlShutdown", hang="sleep"), unseen(PRESENCE), "nvmlShutdown",
             more=IMPATIENT),
    Injected("shutdown-crashes", "library", "nvmlShutdown ends in signal 6",
             struck(call="nvmlShutdown", signal=6), unseen(PRESENCE), "by signal 6"),
    Injected("one-address-twice", "nvml", "two GPUs say the same bus address",
             address(3, "0000:1b:00.0"), {**fail(PRESENCE, "reboot"), **blind()}, "one address"),
    Injected("another-address", "nvml", "a GPU says an address that no device has",
             address(3, "0000:ee:00.0"), fail(PRESENCE, "reboot"), "not on the bus"),
    Injected("address-no-text", "nvml", "a GPU's address comes back as bytes that are no text",
             struck(call="nvmlDeviceGetPciInfo*", gpu=3, bytes="fffe80"),
             {**fail(PRESENCE, "reboot"), **blind()}, "no text"),
    Injected("driver-version-cut", "library", "the driver's version comes back cut short",
             struck(call="nvmlSystemGetDriverVersion", truncate=3),
             {**fail("gpu.driver.agreement", "reboot"), **fail("gpu.gsp", "reboot")},
             "library 580"),
    Injected("driver-version-999", "library", "nvmlSystemGetDriverVersion: 999",
             call("nvmlSystemGetDriverVersion", 999), unseen("gpu.driver.agreement", "gpu.gsp"),
             "NVML 999"),
    Injected("two-gpus-lost", "nvml", "two GPUs are lost",
             several(call("nvmlDeviceGetHandleByIndex*", 15, 1),
                     struck(call="nvmlDeviceGetHandleByIndex*", answer=15, gpu=6)), LOST, "GPU 6"),
    Injected("two-gpus-hang", "nvml", "two GPUs hang in different calls",
             several(struck(call="nvmlDeviceGetPowerUsage", gpu=2, hang="sleep"),
                     struck(call="nvmlDeviceGetMigMode", gpu=5, hang="sleep")),
             {**fail(PRESENCE, "reboot"), **after("gpu.clocks")}, "nvmlDeviceGetMigMode",
             more=IMPATIENT),
    Injected("three-gpus-crash", "library", "the library crashes on three GPUs",
             several(*(struck(call="nvmlDeviceGetPowerUsage", gpu=g, signal=11)
                       for g in (0, 4, 7))),
             {**fail(PRESENCE, "reboot"), **after("gpu.clocks")}, "0000:cb:00.0"),
    Injected("links-hang", "nvml", "reading an NVLink's state never comes back",
             struck(call="nvmlDeviceGetNvLinkState", gpu=3, hang="sleep"),
             {**fail(PRESENCE, "reboot"), **after("gpu.mig")}, "NvLinkState link 0",
             more=IMPATIENT),
    Injected("peers-hang", "fabric", "asking whether two GPUs reach each other never comes back",
             struck(call="nvmlDeviceGetP2PStatus", gpu=3, hang="sleep"),
             {**fail(PRESENCE, "reboot"), **unseen("gpu.nvlink.p2p")}, "P2PStatus", more=IMPATIENT),
    Injected("fields-999", "nvml", "one field of a GPU: 999", call("field:230", 999, 3),
             unseen("gpu.recovery"), "field 230"),
    Injected("fields-fail", "nvml", "nvmlDeviceGetFieldValues: 999",
             call("nvmlDeviceGetFieldValues", 999, 3),
             unseen("gpu.recovery", "gpu.temperature.memory"), "FieldValues"),
    Injected("links-not-supported", "nvml", "no link of a GPU can be asked: 3",
             call("nvmlDeviceGetNvLinkState", 3, 3),
             unseen("gpu.nvlink.state", "gpu.nvlink.errors"), "NVML 3"),
    Injected("link-counters-partly", "nvml", "a link's counters are refused, one field fails too",
             several(call("nvmlDeviceGetNvLinkErrorCounter", 3, 3), call("field:161", 999, 3)),
             unseen("gpu.nvlink.errors"), "field 161"),
    Injected("remap-not-supported", "nvml", "row remapping: 3 on a model that has it",
             call("nvmlDeviceGetRemappedRows", 3, 3),
             unseen("gpu.rows.pending", "gpu.rows.failure"), "NVML 3"),
    Injected("old-library", "library", "the library does not know a call: 13",
             call("nvmlDeviceGetTemperatureV", 13), unseen("gpu.temperature.core"), "NVML 13"),
    Injected("inforom-code", "nvml", "a reading says that the InfoROM is corrupt: 14",
             call("nvmlDeviceGetEccMode", 14, 3),
             {**fail(PRESENCE, "inspect"), **unseen("gpu.ecc.mode")}, "InfoROM"),
    Injected("interrupt-code", "nvml", "a reading says that the interrupt fails: 11",
             call("nvmlDeviceGetEccMode", 11, 3),
             {**fail(PRESENCE, "reboot"), **unseen("gpu.ecc.mode")}, "interrupt"),
    Injected("recovery-unknown-number", "nvml", "the driver asks for an action with a new number",
             gpu(gpus__3__recovery_action=42), fail("gpu.recovery", "inspect"), "42"),
    Injected("reason-unknown", "nvml", "the clocks are held down for a reason with a new number",
             gpu(gpus__3__clocks__reasons=0x1000), unseen("gpu.clocks"), "0x1000"),
    Injected("crc-storm", "nvml", "an NVLink counts 200 CRC errors a second",
             gpu(gpus__3__nvlink__links__0__crc_flit=12000), fail("gpu.nvlink.errors", "inspect"),
             "CRC", primed=True),
    Injected("counter-goes-back", "nvml", "a replay counter falls, and is not zero",
             gpu(gpus__3__pci__counters__replays=500), fail("gpu.pcie.replay", "inspect"),
             primed=True,
             then=(Step(gpu(gpus__3__pci__counters__replays=20), unseen("gpu.pcie.replay")),
                   Step(gpu(gpus__3__pci__counters__replays=21), {}))),
    Injected("gpu-comes-and-goes", "nvml", "a GPU is lost, back, and lost again",
             call("nvmlDeviceGetHandleByIndex*", 15, 3), LOST,
             then=(Step(_mended, {}),
                   Step(call("nvmlDeviceGetHandleByIndex*", 15, 3), LOST))),
)  # fmt: skip

_HEADS = (
    "nvidia_uvm 4096 0 - Live 0x0 (O)\nnvidia 9999 1 nvidia_uvm, Live 0x0 (O)\nnouveau 1 0 - Live"
    " 0x0\n"
)
_BUS = (
    Injected("all-gpus-off-the-bus", "pci", "no GPU is on the bus, the driver lists none",
             gpu(**{f"gpus__{i}__on_bus": False for i in range(8)},
                 **{f"gpus__{i}__enumerated": False for i in range(8)}),
             {**fail("gpu.presence.pci", "inspect"), **fail(PRESENCE, "inspect"),
              **fail("container.cdi", "none"), **unseen("gpu.pages", "gpu.pcie.aer"), **blind()},
             "0 GPUs"),
    Injected("gone-on-both", "pci", "a GPU is off the bus and away from the driver",
             gpu(gpus__3__on_bus=False, gpus__3__enumerated=False),
             {**fail("gpu.presence.pci", "inspect"), **fail(PRESENCE, "inspect"),
              **fail("container.cdi", "none"), **blind()}, "7 GPUs"),
    Injected("aer-cut", "pci", "a device's table of errors ends before its sum",
             file(f"sys/bus/pci/devices/{_BUS3}/aer_dev_fatal", "Undefined 0\nDLP 0\n"),
             unseen("gpu.presence.pci", "gpu.switches", "gpu.pcie.aer"), "before its sum"),
    Injected("aer-off", "pci", "the kernel keeps no PCIe errors of one GPU",
             file(f"sys/bus/pci/devices/{_BUS3}/aer_dev_fatal", None), unseen("gpu.pcie.aer"),
             "AER is off"),
    Injected("aer-often", "pci", "16 corrected PCIe errors a second",
             gpu(gpus__3__pci__aer__correctable=1000), fail("gpu.pcie.aer", "inspect"),
             "1000 corrected", primed=True),
    Injected("nouveau", "module", "nouveau is loaded too", file("proc/modules", _HEADS),
             fail("gpu.driver.modules", "reboot"), "nouveau"),
    Injected("no-uvm", "module", "nvidia_uvm is not loaded",
             file("proc/modules", "nvidia 9999 0 - Live 0x0 (O)\n"),
             fail("gpu.driver.modules", "reboot"), "nvidia_uvm"),
    Injected("modules-unsigned", "security", "the driver's module is unsigned",
             file("proc/modules", "nvidia_uvm 9 0 - Live 0x0 (OE)\nnvidia 9 1 - Live 0x0 (OE)\n"),
             fail("security.modules", "inspect"), "unsigned"),
    Injected("waits-for-restart", "module", "a newer module lies on disk",
             command("modinfo", "590.44.01"), fail("gpu.driver.agreement", "reboot"),
             "waits for a restart"),
    Injected("modinfo-silent", "module", "modinfo ends well and says nothing",
             command("modinfo", ""), unseen("gpu.driver.agreement"), "says no version"),
    Injected("proc-version-cut", "module", "/proc/driver/nvidia/version is cut short",
             file("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX"),
             unseen("gpu.driver.agreement", "gpu.driver.version", "container.cdi",
                    "container.gpu"), "cannot be read"),
)  # fmt: skip


_BANNER = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.105.08"
_LOGS = ("log.xid", "log.sxid", "log.kernel", "log.storage", "log.memory")


def _many(node: Recorded) -> None:
    node.log += [f"NVRM: Xid (PCI:0000:1b:00): {code}, x" for code in range(1000, 1600)]


_CODES: tuple[tuple[str, int, str, Found], ...] = (
    ("a microcontroller halted", 62, "x", fail("log.xid", "reset_gpu")),
    ("a remapping failed", 64, "x", fail("log.xid", "inspect")),
    ("a link failed", 74, "x", fail("log.xid", "reset_gpu")),
    ("uncontained memory error", 95, "x", fail("log.xid", "reset_gpu")),
    ("unrecovered ECC error", 140, "x", fail("log.xid", "reset_gpu")),
    ("link training failed", 136, "x", fail("log.xid", "reset_gpu")),
    (
        "NVLink 5, fatal",
        149,
        "NETIR_LINK_EVT  Fatal   XC0 i0 Link 01",
        fail("log.xid", "reset_gpu"),
    ),
    ("NVLink 5, not fatal", 149, "NETIR_LINK_EVT  Non-fatal   XC0 i0 Link 01", {}),
    (
        "a program's address",
        31,
        "pid=4711, name=python3, Ch 00000008, intr 00000000. MMU Fault",
        {},
    ),
    ("preemptive cleanup", 45, "pid=4711, name=python3, Ch 00000008", {}),
    ("a program stopped", 43, "pid=4711, name=python3, Ch 00000008", {}),
    ("contained memory error", 94, "pid=4711, name=python3, Contained: CE User Channel", {}),
)
_LOG = (
    *(Injected(f"xid-{code}-{index}", "log", f"XID {code}: {done}", log(f"{XID}{code}, {rest}"),
               found, f"XID {code}" if found else "",
               shown=None if found else ("log.xid", "0000:1b:00.0"))
      for index, (done, code, rest, found) in enumerate(_CODES)),
    Injected("off-the-bus-without-xid", "log", "the log calls a GPU fallen off the bus, no XID",
             log(f"NVRM: GPU {_BUS3}: GPU has fallen off the bus."), fail("log.xid", "reboot"),
             _BUS3),
    Injected("xid-then-reload", "log", "XID 95, then the driver is loaded again",
             log(XID + "95, x", _BANNER),
             {}),
    Injected("xid-79-then-reload", "log", "XID 79, then the driver is loaded again",
             log(XID + "79, x", _BANNER),
             fail("log.xid", "reboot"), "XID 79"),
    Injected("xid-45-storm", "log", "XID 45 two thousand times",
             log(*[XID + "45, pid=1, name=a, Ch 00000008"] * 2000), {},
             shown=("log.xid", "0000:1b:00.0")),
    Injected("xid-95-storm", "log", "XID 95 two thousand times",
             log(*[XID + "95, x"] * 2000), fail("log.xid", "reset_gpu"), "2000 times"),
    Injected("six-hundred-new-codes", "log", "six hundred codes that no table has", _many,
             unseen(*_LOGS), "more kinds of events"),
    Injected("xid-unreadable", "log", "a line that looks like an XID and is none",
             log("NVRM: Xid (invalid): x"), unseen("log.xid"), "cannot be read"),
    Injected("lines-lost", "log", "the journal says that it missed lines",
             log("systemd-journald[1]: Missed 12 kernel messages"),
             unseen(*_LOGS), "lost lines"),
    Injected("log-empty", "log", "there is no file with the log",
             lambda n: setattr(n, "log", []), unseen(*_LOGS), "no line"),
    Injected("sxid-always", "log", "an SXid that is always fatal, without the word",
             log(SXID + "12020, egress sequence"), fail("log.sxid", "reset_gpu"), "12020"),
    Injected("sxid-unknown", "log", "an SXid that no table has", log(SXID + "99999, Fatal, x"),
             unseen("log.sxid"), "99999"),
    Injected("oops", "log", "the kernel faults",
             log("BUG: kernel NULL pointer dereference, address: 00"),
             fail("log.kernel", "reboot"), "kernel fault"),
    Injected("io-error", "log", "a disk's sector cannot be read",
             log("blk_update_request: I/O error, dev sda, sector 5 op 0x0"),
             fail("log.storage", "inspect"), "sda"),
    Injected("killed-for-memory", "log", "a process is killed for lack of memory",
             log("Out of memory: Killed process 99 (python)"),
             fail("log.memory", "restart_application"), "killed"),
)  # fmt: skip

_IB = "sys/class/infiniband/mlx5_1/ports/1"
_HOST = (
    Injected("ib-down", "network", "an InfiniBand port is down", file(f"{_IB}/state", "1: DOWN"),
             fail("net.infiniband.state", "inspect"), "DOWN"),
    Injected("ib-flaps", "network", "a port is up at each look and was lost in between",
             file(f"{_IB}/counters/link_downed", "7"), fail("net.infiniband.flaps", "inspect"),
             "losses", primed=True,
             then=(Step(lambda _: None, {}),
                   Step(file(f"{_IB}/counters/link_downed", "9"),
                        fail("net.infiniband.flaps", "inspect")))),
    Injected("ib-cut", "network", "a port's rate is an empty file", file(f"{_IB}/rate", ""),
             unseen("net.infiniband.state", "net.infiniband.flaps"), "error"),
    Injected("ethernet-slow", "network", "an interface came up at 1 Gb/s",
             file("sys/class/net/eno1/speed", "1000"), fail("net.ethernet", "inspect"), "1000"),
    Injected("meminfo-cut", "host", "/proc/meminfo ends after two lines",
             file("proc/meminfo", "MemTotal: 2113929216 kB\nMemAvailable: 2000000000 kB\n"),
             unseen("host.memory"), "does not say"),
    Injected("memory-module-lost", "host", "a quarter of the memory is gone",
             file("proc/meminfo", "MemTotal: 1585446912 kB\nMemAvailable: 1500000000 kB\n"
                  "SwapTotal: 0 kB\nHugePages_Total: 0\nHardwareCorrupted: 0 kB\n"),
             fail("host.memory", "inspect"), "1548288 MiB"),
    Injected("edac-uncorrected", "host", "the node's memory had an uncorrected error",
             file("sys/devices/system/edac/mc/mc1/ue_count", "1"), fail("host.edac", "inspect"),
             "1 uncorrected"),
    Injected("disk-dead", "host", "an NVMe disk is dead",
             file("sys/block/nvme1n1/device/state", "dead"), fail("host.disks", "inspect"), "dead"),
    Injected("mount-gone", "host", "the models' filesystem is not mounted",
             file("proc/mounts", "/dev/nvme0n1p2 / xfs rw,relatime 0 0\n"),
             fail("host.mounts", "inspect"), "not mounted"),
    Injected("disk-full", "host", "the models' filesystem is full",
             file("@space/srv/models/space", "1000 1 1000 900"), fail("host.space", "inspect"),
             "/srv/models"),
    Injected("space-unreadable", "host", "a filesystem's space cannot be read",
             file("@space/srv/models/space", "x"), unseen("host.space"), "/srv/models"),
    Injected("chrony-hangs", "host", "chronyc never comes back", command("chronyc", "!sleep 600"),
             unseen("host.time"), "did not end"),
    Injected("chrony-cut", "host", "chronyc's answer is cut short",
             command("chronyc", "C0A80001,192.168.0.1,3"), unseen("host.time"), "3 parts"),
    Injected("clock-off", "host", "the clock is 900 ms off",
             command("chronyc", "A,10.0.0.1,3,1.0,0.9,0,0,0,0,0,0.001,0.001,1,Normal"),
             fail("host.time", "none"), "within 901"),
    Injected("service-failed", "host", "chronyd has failed",
             service("chronyd.service", "ActiveState=active", "ActiveState=failed"),
             fail("host.services", "restart_application"), "failed"),
    Injected("service-flaps", "host", "a service restarts thirty times a minute",
             service("chronyd.service", "NRestarts=0", "NRestarts=30"),
             {}, then=(Step(service("chronyd.service", "NRestarts=30", "NRestarts=60"),
                            fail("host.services", "restart_application")),)),
    Injected("systemd-silent", "host", "systemctl show speaks of one unit of three",
             command("systemctl show", "Id=a.service\nLoadState=loaded\nActiveState=active\n"),
             unseen("host.services"), "1 units"),
    Injected("systemd-killed", "host", "systemctl is killed",
             command("systemctl list-units", "!kill -9 $$"), unseen("host.units"), "-9"),
    Injected("cdi-cut", "container", "the CDI specification is cut in the middle",
             file("var/run/cdi/nvidia.yaml", specification().split("    mounts:")[0]),
             fail("container.cdi", "none"), "no library"),
    Injected("cdi-two", "container", "there are two CDI specifications",
             file("etc/cdi/nvidia.yaml", specification()), fail("container.cdi", "none"), "2 spec"),
    Injected("container-lost-gpus", "container", "a container sees no GPU",
             lambda n: n.files.update({f"proc/4242/root/dev/nvidia{i}": None for i in range(8)}),
             fail("container.gpu", "restart_application"), UNIT),
    Injected("toolkit-silent", "container", "nvidia-ctk says no version",
             command("nvidia-ctk", "no version here"), unseen("container.toolkit"), "version"),
    Injected("selinux-permissive", "security", "SELinux does not enforce",
             file("sys/fs/selinux/enforce", "0"), fail("security.selinux", "inspect"),
             "permissive"),
    Injected("selinux-unreadable", "security", "SELinux is there and says nothing",
             file("sys/fs/selinux/enforce", None), unseen("security.selinux"), "SELinux"),
    Injected("fips-gone", "security", "the kernel does not say whether FIPS mode is on",
             file("proc/sys/crypto/fips_enabled", None), unseen("security.fips"), "not there"),
    Injected("secure-boot-cut", "security", "the SecureBoot variable has three bytes",
             file("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
                  b"\x06\0\0"), unseen("security.secure_boot"), "3 bytes"),
    Injected("auditctl-hangs", "security", "auditctl never comes back",
             command("auditctl -s", "!sleep 600"), unseen("security.audit"), "did not end"),
    Injected("auditd-off", "security", "auditing is switched off",
             command("auditctl -s", "enabled 0\npid 0\nlost 0\n"),
             fail("security.audit", "inspect"), "switched off"),
    Injected("sysctl-drift", "security", "a hardened setting was set back",
             file("proc/sys/kernel/kptr_restrict", "0"), fail("security.sysctl", "inspect"),
             "0, not 1"),
)  # fmt: skip

_TOGETHER = (
    Injected("lost-and-narrow", "pci, nvml, log", "one GPU is lost with XID 79, another runs at x8",
             several(struck(call="nvmlDeviceGetHandleByIndex*", gpu=3, answer=15),
                     gpu(gpus__5__pci__width=8), log(XID.replace("1b", "4e") + "79, x")),
             {**LOST, **fail("gpu.pcie.width", "inspect"), **fail("log.xid", "reboot")}, "GPU 3"),
    Injected("double-bit", "nvml, log", "an uncorrected error with everything that goes with it",
             several(gpu(gpus__3__ecc__volatile__uncorrected__dram=1,
                         gpus__3__remapped__pending=True, gpus__3__recovery_action=1),
                     log(XID + "48, x", XID + "63, x", XID + "154, GPU recovery action changed from"
                         " 0x0 (None) to 0x1 (GPU Reset Required)")),
             {**fail("gpu.ecc.uncorrected", "reset_gpu"), **fail("gpu.rows.pending", "reset_gpu"),
              **fail("gpu.recovery", "reset_gpu"), **fail("log.xid", "reset_gpu")}, "reset"),
    Injected("hang-and-crash", "nvml, library", "one GPU hangs, the library crashes on another",
             several(struck(call="nvmlDeviceGetMigMode", gpu=2, hang="sleep"),
                     struck(call="nvmlDeviceGetMigMode", gpu=5, signal=11)),
             {**fail(PRESENCE, "reboot"), **after("gpu.recovery")}, "signal 11",
             more=IMPATIENT),
    Injected("fabric-and-manager", "fabric, host", "the fabric manager failed, nothing registers",
             several(gpu(**{f"gpus__{i}__fabric__state": 1 for i in range(8)}),
                     service("nvidia-fabricmanager.service", "ActiveState=active",
                             "ActiveState=failed")),
             {**fail("gpu.fabric", "drain"), **fail("host.services", "restart_application")},
             "not started"),
    Injected("everything-hangs", "nvml, host, security", "driver, chronyc and auditctl hang",
             several(struck(call="nvmlInit*", hang="sleep"), command("chronyc", "!sleep 600"),
                     command("auditctl -s", "!sleep 600")),
             {**NO_DRIVER, **unseen("host.time", "security.audit")}, "nvmlInit", more=IMPATIENT),
    Injected("update-without-restart", "module, container",
             "a newer driver was installed: library, disk and specification are of it",
             several(gpu(library__version="590.44.01"), command("modinfo", "590.44.01"),
                     file("var/run/cdi/nvidia.yaml", specification("590.44.01")),
                     file("usr/lib64/libcuda.so.590.44.01", "")),
             {**NO_DRIVER, **fail("gpu.driver.agreement", "reboot"),
              **fail("container.cdi", "none")},
             "different versions"),
)  # fmt: skip

INJECTED = (*_named(), *_NVML, *_BUS, *_LOG, *_HOST, *_TOGETHER)
"""Every fault of the campaign that is a state of the node."""

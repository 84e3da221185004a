"""What NVIDIA's management library says, through the unmodified nvidia-ml-py.

Every call is told before it is made, so that a call that never returns is known by name and GPU.
An error of one call is that reading's result and no more; nothing is turned into a number.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from provision.health.probes.ask import Ask, Failed

CODES = {
    1: ("error", "the library was not initialised"),
    2: ("error", "invalid argument"),
    3: ("not_supported", "not supported"),
    4: ("no_permission", "permission denied"),
    6: ("missing", "not found"),
    7: ("error", "the buffer was too small"),
    8: ("gone", "the GPU gets too little power: a power cable is missing or loose"),
    9: ("missing", "the kernel driver is not loaded"),
    10: ("timeout", "the driver's own timeout ran out"),
    11: ("gone", "the kernel has a problem with the GPU's interrupt"),
    12: ("missing", "the library libnvidia-ml.so.1 cannot be loaded"),
    13: ("not_supported", "the library does not have this call"),
    14: ("gone", "the GPU's InfoROM is corrupted"),
    15: ("gone", "the GPU is lost: it fell off the bus or cannot be reached"),
    16: ("gone", "the GPU must be reset before it can be used"),
    17: ("error", "the operating system or a control group refused the call"),
    18: ("mismatch", "the library and the kernel module are of different versions"),
    19: ("error", "the GPU is in use"),
    20: ("error", "not enough memory"),
    21: ("missing", "no data"),
    22: ("error", "not possible while the GPU's virtualisation is active"),
    23: ("error", "not enough resources"),
    24: ("error", "the frequency is not supported"),
    25: ("not_supported", "this version of the call's data is not supported"),
    26: ("not_supported", "the call was withdrawn"),
    27: ("timeout", "the driver is not ready"),
    28: ("gone", "the GPU was not found"),
    29: ("error", "invalid state"),
    999: ("error", "an unknown error of the driver"),
}
"""What each NVML return code means to the audit."""
MAX_LINKS = 36
_FIELDS = {
    82: "memory_temperature", 95: "replay_rollovers", 193: "margin_shutdown",
    194: "margin_slowdown", 230: "recovery",
}  # fmt: skip
_LINK_ERRORS = ("replay", "recovery", "crc_flit", "crc_data", "ecc")
_LINK_FIELDS = {161: "replay", 162: "recovery", 163: "crc_flit"}
_P2P_NVLINK = 2


def explain(code: int) -> tuple[str, str]:
    """Kind and words of an NVML return code."""
    kind, words = CODES.get(code, ("error", "a code that is not known"))
    return kind, f"NVML {code}: {words}"


def look(ask: Ask) -> None:
    """Ask the library about itself and every GPU."""
    # It is a large module, and a node that computes has little time for it.
    ask.progress.doing("loading nvidia-ml-py", slow=6)
    try:
        import pynvml
    except ImportError as error:
        ask.fail("nvml.init", "missing", f"nvidia-ml-py cannot be imported: {error}")
        return
    Reader(ask, pynvml).read()


class Reader:
    """Asks one library for everything; `n` is the module pynvml."""

    def __init__(self, ask: Ask, n: Any) -> None:
        self.ask, self.n = ask, n

    def read(self) -> None:
        """Say everything."""
        if not self._begin():
            return
        self._system()
        count = self._call("nvml.count", "nvmlDeviceGetCount", self.n.nvmlDeviceGetCount)
        handles: dict[str, Any] = {}
        found = [self._identify(index, handles) for index in range(count or 0)]
        self.ask.say("nvml.gpus", found)
        for bus, handle in handles.items():
            if f"gpu:{bus}" in self.ask.skip:
                continue
            self._gpu(bus, handle)
        live = {b: h for b, h in handles.items() if f"gpu:{b}" not in self.ask.skip}
        self._peers(live)
        self.ask.progress.doing("nvmlShutdown")
        self.n.nvmlShutdown()

    def _begin(self) -> bool:
        # Without persistence the driver starts every GPU here, which takes seconds for each.
        self.ask.progress.doing("nvmlInit", slow=6)
        try:
            if self.ask.library:
                self.n.nvmlLib = ctypes.CDLL(self.ask.library)
            self.n.nvmlInit()
        except self.n.NVMLError as error:
            kind, words = explain(error.value)
            self.ask.fail("nvml.init", kind, f"nvmlInit: {words}")
            return False
        except OSError as error:
            self.ask.fail("nvml.init", "missing", f"nvmlInit: {error}")
            return False
        self.ask.say("nvml.init", {"code": 0})
        return True

    def _call(self, part: str, doing: str, call: Callable[[], Any]) -> Any:
        """Make a call and say what came back under the name `part`."""
        self.ask.progress.doing(doing)
        try:
            value = call()
        except self.n.NVMLError as error:
            kind, words = explain(error.value)
            self.ask.fail(part, kind, f"{doing.rsplit(maxsplit=1)[-1]}: {words}")
            return None
        except Failed as error:
            self.ask.fail(part, error.kind, error.reason)
            return None
        except (self.n.NVMLLibraryMismatchError, ValueError, TypeError, AttributeError) as error:
            reason = f"{doing.rsplit(maxsplit=1)[-1]}: {type(error).__name__}: {error}"
            self.ask.fail(part, "error", reason)
            return None
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        self.ask.say(part, value)
        return value

    def _system(self) -> None:
        n = self.n
        self._call("nvml.driver", "nvmlSystemGetDriverVersion", n.nvmlSystemGetDriverVersion)
        self._call("nvml.library", "nvmlSystemGetNVMLVersion", n.nvmlSystemGetNVMLVersion)
        self._call("nvml.cuda", "nvmlSystemGetCudaDriverVersion_v2",
                   n.nvmlSystemGetCudaDriverVersion_v2)  # fmt: skip

    def _identify(self, index: int, handles: dict[str, Any]) -> dict[str, Any]:
        """One GPU's index, bus and UUID, or the code with which its handle failed."""
        self.ask.progress.doing(f"nvmlDeviceGetHandleByIndex({index})")
        told: dict[str, Any] = {"index": index, "bus": "", "code": 0}
        try:
            handle = self.n.nvmlDeviceGetHandleByIndex(index)
            told["bus"] = short_bus(_text(self.n.nvmlDeviceGetPciInfo(handle).busId))
        except self.n.NVMLError as error:
            told["code"], told["reason"] = error.value, explain(error.value)[1]
            return told
        except UnicodeDecodeError as error:
            told["code"], told["reason"] = -1, f"its bus address is no text: {error.reason}"
            return told
        handles[told["bus"]] = handle
        return told

    def _gpu(self, bus: str, handle: Any) -> None:
        n = self.n

        def read(name: str, function: str, *rest: Any, make: Any = None) -> Any:
            def call() -> Any:
                value = getattr(n, function)(handle, *rest)
                return make(value) if make else value

            return self._call(f"gpu.{bus}.{name}", f"gpu:{bus} {function}", call)

        read("uuid", "nvmlDeviceGetUUID")
        read("name", "nvmlDeviceGetName")
        read("serial", "nvmlDeviceGetSerial")
        read("vbios", "nvmlDeviceGetVbiosVersion")
        read("gsp", "nvmlDeviceGetGspFirmwareVersion")
        read("memory", "nvmlDeviceGetMemoryInfo", n.nvmlMemory_v2, make=lambda m: m.total)
        read("persistence", "nvmlDeviceGetPersistenceMode")
        read("ecc", "nvmlDeviceGetEccMode")
        read("ecc_uncorrected", "nvmlDeviceGetTotalEccErrors", 1, 0)
        read("ecc_corrected", "nvmlDeviceGetTotalEccErrors", 0, 0)
        read("remapped", "nvmlDeviceGetRemappedRows")
        read("spares", "nvmlDeviceGetRowRemapperHistogram", make=_spares)
        read("unrepairable", "nvmlDeviceGetUnrepairableMemoryFlag_v1")
        read("repair", "nvmlDeviceGetRepairStatus")
        read("retired_single", "nvmlDeviceGetRetiredPages", 0, make=len)
        read("retired_double", "nvmlDeviceGetRetiredPages", 1, make=len)
        read("retired_pending", "nvmlDeviceGetRetiredPagesPendingStatus")
        read("temperature", "nvmlDeviceGetTemperatureV", 0)
        read("shutdown_at", "nvmlDeviceGetTemperatureThreshold", 0)
        read("slowdown_at", "nvmlDeviceGetTemperatureThreshold", 1)
        read("reasons", "nvmlDeviceGetCurrentClocksEventReasons")
        read("power", "nvmlDeviceGetPowerUsage")
        read("power_limit", "nvmlDeviceGetEnforcedPowerLimit")
        read("power_default", "nvmlDeviceGetPowerManagementDefaultLimit")
        read("width", "nvmlDeviceGetCurrPcieLinkWidth")
        read("width_max", "nvmlDeviceGetMaxPcieLinkWidth")
        read("generation", "nvmlDeviceGetCurrPcieLinkGeneration")
        read("generation_max", "nvmlDeviceGetMaxPcieLinkGeneration")
        read("generation_gpu", "nvmlDeviceGetGpuMaxPcieLinkGeneration")
        read("replays", "nvmlDeviceGetPcieReplayCounter")
        self._sram(bus, handle)
        self._fields(bus, handle)
        self._mig(bus, handle)
        self._links(bus, handle)
        self._fabric(bus, handle)

    def _sram(self, bus: str, handle: Any) -> None:
        def call() -> dict[str, int]:
            status = self.n.c_nvmlEccSramErrorStatus_v1_t()
            self.n.nvmlDeviceGetSramEccErrorStatus(handle, ctypes.byref(status))
            return {
                "exceeded": status.bThresholdExceeded,
                "uncorrected": status.volatileUncParity + status.volatileUncSecDed,
                "aggregate": status.aggregateUncParity + status.aggregateUncSecDed,
            }

        self._call(f"gpu.{bus}.sram", f"gpu:{bus} nvmlDeviceGetSramEccErrorStatus", call)

    def _fields(self, bus: str, handle: Any) -> None:
        """Several fields in one call; each has a return code of its own."""
        doing = f"gpu:{bus} nvmlDeviceGetFieldValues"
        self.ask.progress.doing(doing)
        try:
            values = self.n.nvmlDeviceGetFieldValues(handle, list(_FIELDS))
        except self.n.NVMLError as error:
            kind, words = explain(error.value)
            for name in _FIELDS.values():
                self.ask.fail(f"gpu.{bus}.{name}", kind, f"nvmlDeviceGetFieldValues: {words}")
            return
        for value in values:
            part = f"gpu.{bus}.{_FIELDS[value.fieldId]}"
            if value.nvmlReturn:
                kind, words = explain(value.nvmlReturn)
                self.ask.fail(part, kind, f"field {value.fieldId}: {words}")
            else:
                self.ask.say(part, field_value(value))

    def _mig(self, bus: str, handle: Any) -> None:
        modes = self._call(f"gpu.{bus}.mig", f"gpu:{bus} nvmlDeviceGetMigMode",
                           lambda: self.n.nvmlDeviceGetMigMode(handle))  # fmt: skip
        if not modes or not modes[0]:
            return

        def call() -> list[str]:
            found = []
            for index in range(self.n.nvmlDeviceGetMaxMigDeviceCount(handle)):
                try:
                    device = self.n.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
                except self.n.NVMLError as error:
                    if error.value == self.n.NVML_ERROR_NOT_FOUND:
                        continue
                    raise
                found.append(mig_profile(_text(self.n.nvmlDeviceGetName(device))))
            return sorted(found)

        self._call(f"gpu.{bus}.mig_devices", f"gpu:{bus} nvmlDeviceGetMigDeviceHandleByIndex", call)

    def _links(self, bus: str, handle: Any) -> None:
        def states() -> list[int]:
            found = []
            for link in range(MAX_LINKS):
                self.ask.progress.doing(f"gpu:{bus} nvmlDeviceGetNvLinkState link {link}")
                try:
                    found.append(int(self.n.nvmlDeviceGetNvLinkState(handle, link)))
                except self.n.NVMLError as error:
                    after_last = error.value in (
                        self.n.NVML_ERROR_INVALID_ARGUMENT, self.n.NVML_ERROR_NOT_SUPPORTED,
                    )  # fmt: skip
                    if after_last and found:
                        break
                    raise
            return found

        found = self._call(f"gpu.{bus}.links", f"gpu:{bus} nvmlDeviceGetNvLinkState", states)
        if found:
            self._call(
                f"gpu.{bus}.link_errors",
                f"gpu:{bus} nvmlDeviceGetNvLinkErrorCounter",
                lambda: [self._link_errors(handle, link) for link in range(len(found))],
            )

    def _link_errors(self, handle: Any, link: int) -> dict[str, int]:
        """A link's counters: by the old call, or by fields where that is no longer supported."""
        found: dict[str, int] = {}
        for number, name in enumerate(_LINK_ERRORS):
            try:
                found[name] = self.n.nvmlDeviceGetNvLinkErrorCounter(handle, link, number)
            except self.n.NVMLError as error:
                if explain(error.value)[0] != "not_supported":
                    raise
        if {"replay", "recovery"} <= set(found):
            return found
        for value in self.n.nvmlDeviceGetFieldValues(handle, [(f, link) for f in _LINK_FIELDS]):
            if value.nvmlReturn:
                kind, words = explain(value.nvmlReturn)
                raise Failed(kind, f"field {value.fieldId} of link {link}: {words}")
            found[_LINK_FIELDS[value.fieldId]] = int(field_value(value))
        return found

    def _fabric(self, bus: str, handle: Any) -> None:
        def call() -> dict[str, int]:
            info = self.n.c_nvmlGpuFabricInfo_v2_t()
            self.n.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
            return {"state": info.state, "status": info.status, "health": info.healthMask}

        self._call(f"gpu.{bus}.fabric", f"gpu:{bus} nvmlDeviceGetGpuFabricInfoV", call)

    def _peers(self, handles: dict[str, Any]) -> None:
        """NVLink reachability of every pair, in both directions."""
        for one, first in handles.items():

            def call(one: str = one, first: Any = first) -> dict[str, int]:
                found = {}
                for two, second in handles.items():
                    if two != one:
                        self.ask.progress.doing(f"gpu:{one} nvmlDeviceGetP2PStatus to {two}")
                        found[two] = self.n.nvmlDeviceGetP2PStatus(first, second, _P2P_NVLINK)
                return found

            self._call(f"gpu.{one}.peers", f"gpu:{one} nvmlDeviceGetP2PStatus", call)


def field_value(value: Any) -> Any:
    """The member of a field's union that its type names."""
    member = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    return getattr(value.value, member[value.valueType])


def short_bus(bus: str) -> str:
    """A bus id as sysfs writes it: four digits of domain, lower case."""
    domain, _, rest = bus.lower().partition(":")
    return f"{domain[-4:]}:{rest}" if rest else bus.lower()


def mig_profile(name: str) -> str:
    """The profile in the name of a MIG device: ``NVIDIA H100 80GB HBM3 MIG 1g.10gb``."""
    return name.rsplit("MIG ", 1)[-1].strip()


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _spares(found: Any) -> dict[str, int]:
    return {name: getattr(found, name) for name in ("max", "high", "partial", "low", "none")}

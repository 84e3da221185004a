"""The state of a node's simulated GPUs: one typed document, which the simulated driver reads.

A value that is None answers "not supported". A number may be a `Rising`, which grows by itself, so
that two samples of a counter show a rate.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from provision.core.files import write_whole
from provision.core.judging import INVALID, Named, Subject, validated
from provision.core.problems import HoldfastError, Problem
from provision.core.shapes import Listing, Model, Text

VARIABLE = "HOLDFAST_GPUS_STATE"
"""Names the state file to the simulated libraries, where it is not at its usual place."""
PLACE = "/var/lib/holdfast-simulated-gpus/state.json"
"""Where the simulated libraries look on a node."""

MAX_GPUS = 64
MAX_LINKS = 36
"""NVML's own bound."""


class Rising(Model):
    """A counter that grows: `start` at the time `since`, and `per_s` more every second."""

    start: int = Field(ge=0)
    per_s: float = Field(allow_inf_nan=False)
    since: float = Field(ge=0, description="Seconds since the epoch.")


Count = Annotated[int, Field(ge=0, le=2**64 - 1)] | Rising | None
Flag = bool | None
Celsius = Annotated[int, Field(ge=-273, le=1000)] | None
Milliwatts = Annotated[int, Field(ge=0, le=10_000_000)] | None
Megahertz = Annotated[int, Field(ge=0, le=100_000)] | None
Words = Annotated[str, Field(max_length=200)] | None
Hexadecimal = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]
Address = Annotated[str, Field(pattern=r"^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")]


class Throughput(Model):
    """PCI Express traffic over the last 20 ms, in KiB/s."""

    sent: Count = 0
    received: Count = 0


class PciCounters(Model):
    """PCI Express errors since the driver was loaded."""

    replays: Count = 0
    replay_rollovers: Count = 0
    correctable: Count = 0
    naks_received: Count = 0
    receiver_errors: Count = 0
    bad_tlps: Count = 0
    naks_sent: Count = 0
    bad_dllps: Count = 0
    non_fatal: Count = 0
    fatal: Count = 0
    unsupported_requests: Count = 0
    lcrc_errors: Count = None
    lane_errors: Count = None


class Aer(Model):
    """What the kernel's advanced error reporting has counted, as sysfs shows it."""

    correctable: int = Field(default=0, ge=0)
    nonfatal: int = Field(default=0, ge=0)
    fatal: int = Field(default=0, ge=0)


class PciKind(Model):
    """What a GPU is on the PCI bus. `device` and `subsystem` are ids of NVIDIA, the vendor."""

    device: int = Field(ge=0, le=0xFFFF)
    subsystem: int = Field(ge=0, le=0xFFFF)
    class_: int = Field(default=0x030200, alias="class", ge=0, le=0xFFFFFF)
    width: Count
    max_width: Count
    generation: Count
    max_generation: Count
    device_generation: Count
    counters: PciCounters = PciCounters()
    throughput: Throughput = Throughput()
    aer: Aer = Aer()


class Pci(PciKind):
    """A GPU on the PCI bus, and where."""

    address: Address
    root: str = Field(pattern=r"^pci[0-9a-f]{4}:[0-9a-f]{2}$")
    numa: int = Field(ge=-1, le=255)


class Memory(Model):
    """Memory, in bytes."""

    total: Count
    reserved: Count = 0
    used: Count = 0
    bar1_total: Count = None
    bar1_used: Count = None


class Firmware(Model):
    """VBIOS, InfoROM and GSP."""

    vbios: Words
    inforom_image: Words
    inforom_oem: Words = None
    inforom_ecc: Words = None
    inforom_power: Words = None
    inforom_checksum: Count = None
    inforom_valid: Flag = True
    gsp: Words = None
    gsp_enabled: Flag = True


class Modes(Model):
    """How the GPU is configured; what is pending holds after the next reset."""

    persistence: Flag = True
    compute: Count = 0
    ecc: Flag = None
    ecc_pending: Flag = None
    ecc_default: Flag = None
    mig: Flag = None
    mig_pending: Flag = None


class MigMemory(Model):
    """A MIG device's memory, in bytes."""

    total: Count
    used: Count = 0


class MigDevice(Model):
    """A MIG device."""

    uuid: Text
    name: Text
    profile: Text
    gpu_instance: int = Field(ge=0)
    compute_instance: int = Field(ge=0)
    slices: int = Field(ge=1)
    processors: int = Field(ge=1)
    memory: MigMemory


class Mig(Model):
    """What a GPU that can be partitioned is partitioned into."""

    max_devices: Count = None
    devices: Listing[MigDevice] = ()


class EccCounts(Model):
    """Errors by place."""

    l1: Count = None
    l2: Count = None
    dram: Count = 0
    registers: Count = None
    texture: Count = None
    shared: Count = None
    cbu: Count = None
    sram: Count = 0


class EccErrors(Model):
    """Errors that were corrected, and those that could not be."""

    corrected: EccCounts = EccCounts()
    uncorrected: EccCounts = EccCounts()


class Ecc(Model):
    """ECC errors since the driver was loaded, and over the GPU's life."""

    volatile: EccErrors = EccErrors()
    aggregate: EccErrors = EccErrors()


class Sram(Model):
    """SRAM errors, and whether they are more than the maker allows."""

    threshold_exceeded: Flag = False
    aggregate_parity: Count = 0
    aggregate_secded: Count = 0
    aggregate_corrected: Count = 0
    volatile_parity: Count = 0
    volatile_secded: Count = 0
    volatile_corrected: Count = 0
    l2: Count = 0
    sm: Count = 0
    pcie: Count = 0
    mcu: Count = 0
    other: Count = 0


class Remapped(Model):
    """Remapped rows. `banks` counts those with max, high, partial, low and no spare rows left."""

    corrected: Count = 0
    uncorrected: Count = 0
    corrected_inactive: Count = None
    uncorrected_inactive: Count = None
    pending: Flag = False
    failed: Flag = False
    banks: Annotated[Listing[int], Field(min_length=5, max_length=5)]
    banks_active: Count = None
    banks_inactive: Count = None


class Repair(Model):
    """Repairs that wait for a reset, and memory that cannot be repaired."""

    channel_pending: Flag = False
    tpc_pending: Flag = False
    unrepairable: Flag = False


class Retired(Model):
    """Addresses of retired pages, before Ampere."""

    single: Listing[int] = ()
    double: Listing[int] = ()
    pending: Flag = False


class TemperatureLimits(Model):
    """Degrees below the limit at which something happens, as newer GPUs count."""

    shutdown: Celsius = None
    slowdown: Celsius = None
    memory_max: Celsius = None
    gpu_max: Celsius = None


class Temperature(Model):
    """Temperatures in degrees Celsius; `margin` counts down to the slowdown."""

    gpu: Celsius
    memory: Celsius = None
    margin: Celsius = None
    shutdown: Celsius = None
    slowdown: Celsius = None
    memory_max: Celsius = None
    gpu_max: Celsius = None
    limits: TemperatureLimits = TemperatureLimits()


class Fan(Model):
    """Fans; passively cooled boards have none."""

    count: Count = 0
    percent: Count = None


class Clocks(Model):
    """Clocks of one kind, in MHz."""

    graphics: Megahertz
    sm: Megahertz
    memory: Megahertz
    video: Megahertz = None


class AllClocks(Model):
    """Clocks; `reasons` is NVML's mask of what holds them down."""

    current: Clocks
    max: Clocks
    application: Clocks | None = None
    reasons: Count = 1
    supported_reasons: Count = 0x1FF


class Violations(Model):
    """Nanoseconds for which something held the clocks down."""

    power: Count = 0
    thermal: Count = 0
    sync_boost: Count = 0
    board_limit: Count = 0
    low_utilization: Count = 0
    reliability: Count = 0
    sw_thermal: Count = 0
    hw_thermal: Count = 0
    power_brake: Count = 0


class Power(Model):
    """Power, in milliwatts, and energy since the driver was loaded, in millijoules."""

    managed: Flag = True
    draw_mw: Milliwatts
    average_mw: Milliwatts = None
    limit_mw: Milliwatts
    enforced_mw: Milliwatts
    default_mw: Milliwatts
    min_mw: Milliwatts
    max_mw: Milliwatts
    energy_mj: Count = None


class Utilization(Model):
    """Percent of the last second."""

    gpu: Count = 0
    memory: Count = 0


class Remote(Model):
    """What is at a link's other end. `type` is NVML's: 0 a GPU, 2 an NVSwitch."""

    address: Address
    device: int = Field(default=0, ge=0, le=0xFFFF)
    type: Literal[0, 1, 2, 255] = 2


class Link(Model):
    """An NVLink. `state`: 0 down, 1 up, 2 asleep. `fields` holds NVML fields by number."""

    state: Count = 1
    replay: Count = 0
    recovery: Count = 0
    crc_flit: Count = 0
    crc_data: Count = None
    ecc: Count = None
    remote: Remote | None = None
    fields: dict[str, Count] = Field(default_factory=dict)


class NvLink(Model):
    """The links of a GPU. `version` is NVML's number for it."""

    version: int = Field(ge=1, le=8)
    speed_mbps: int = Field(ge=0)
    links: Annotated[Listing[Link], Field(max_length=MAX_LINKS)]


class Fabric(Model):
    """A GPU's registration with the fabric. `state`: 1 not started, 2 in progress, 3 completed."""

    state: Count
    status: Count = 0
    cluster: Hexadecimal = "00" * 16
    clique: Count = 0
    health: Count = 0
    summary: Count = 1


class Platform(Model):
    """Where in a chassis the GPU sits."""

    chassis: Words = None
    slot: int = 0
    tray: int = 0
    host: int = 0
    peer: int = 0


class Process(Model):
    """A process that uses the GPU."""

    pid: int = Field(ge=1)
    name: Text
    memory: int = Field(default=0, ge=0)
    kind: Literal["compute", "graphics", "mps"] = "compute"


class GpuKind(Model):
    """What GPUs of a model have in common."""

    name: Words
    part_number: Words
    brand: Count
    architecture: Count
    compute: Annotated[Listing[int], Field(min_length=2, max_length=2)]
    cores: Count
    memory: Memory
    firmware: Firmware
    modes: Modes
    mig: Mig = Mig()
    ecc: Ecc | None = None
    sram: Sram | None = None
    remapped: Remapped | None = None
    repair: Repair | None = None
    retired: Retired | None = None
    temperature: Temperature
    fan: Fan = Fan()
    clocks: AllClocks
    violations: Violations = Violations()
    performance_state: Count = 0
    power: Power
    utilization: Utilization = Utilization()
    fabric: Fabric | None = None
    platform: Platform | None = None
    recovery_action: Count = 0
    events: Count = 0xFE9F
    fields: dict[str, Count] = Field(default_factory=dict)


class GpuLoad(Model):
    """What programs find that put the GPU under load; shares of what is usual for its model."""

    memory: float = Field(default=1, ge=0, le=2, allow_inf_nan=False)
    nvlink: float = Field(default=1, ge=0, le=2, allow_inf_nan=False)
    compute: Literal["Pass", "Fail", "Warn", "Skip"] = "Pass"


class Gpu(GpuKind):
    """One GPU. It can be on the bus without being enumerated by the driver, and the reverse."""

    on_bus: bool = True
    enumerated: bool = True
    device_node: bool = True
    uuid: Words
    serial: Words
    board_id: Count
    minor: Count
    module_id: Count = None
    pci: Pci
    nvlink: NvLink | None = None
    processes: Listing[Process] = ()
    load: GpuLoad = GpuLoad()


class Driver(Model):
    """The driver as a whole. `cuda` is its CUDA version as a number, 13000 for 13.0."""

    cuda: Count
    branch: Words = None
    confidential: Flag = False
    root_only: Listing[str] = ()


class Module(Model):
    """The kernel module: whether it is loaded, and which."""

    loaded: bool = True
    version: Text
    open: bool = True
    others: Listing[str] = ("nvidia_uvm", "nvidia_modeset", "nvidia_drm")


class Library(Model):
    """The library. Without a version it has the one that it was built with."""

    version: Words = None
    nvml: Words = None


class PeerException(Model):
    """Two GPUs, by their places in the list, between which a capability stands otherwise."""

    a: int = Field(ge=0)
    b: int = Field(ge=0)
    capability: int = Field(ge=0, le=4, description="read, write, NVLink, atomics, PCI")
    status: int = Field(ge=0, le=6, description="NVML's, 0 for in order")


class Peers(Model):
    """Which GPUs reach each other. `usual` holds NVML's status for read, write, NVLink, ..."""

    usual: Annotated[Listing[int], Field(min_length=5, max_length=5)]
    exceptions: Listing[PeerException] = ()


class Switch(Model):
    """An NVSwitch on the PCI bus."""

    address: Address
    device: int = Field(ge=0, le=0xFFFF)
    root: str = Field(pattern=r"^pci[0-9a-f]{4}:[0-9a-f]{2}$")
    numa: int = Field(ge=-1, le=255)
    on_bus: bool = True


class Event(Model):
    """An event that the driver reports to whoever waits for one."""

    gpu: int = Field(ge=0)
    type: int = Field(ge=1)
    data: int = Field(default=0, ge=0)


class Fault(Model):
    """Something that goes wrong.

    Either `call` is struck (a function's name, ``field:<number>``, or a pattern of them), or the
    value at `path` is another. `gpu` limits it to one GPU by its place in the list; a path without
    one starts at the root of the document. With `every_s` and `on_s` it comes and goes.
    """

    id: Text
    gpu: int | None = Field(default=None, ge=0)
    call: str | None = None
    answer: int | None = Field(default=None, ge=0, le=999, description="An NVML error code.")
    after: int = Field(default=0, ge=0, description="Calls of a process that still go well.")
    times: int | None = Field(default=None, ge=1, description="Calls of a process that it strikes.")
    hang: Literal["sleep", "unkillable"] | None = None
    hang_s: float | None = Field(default=None, gt=0, description="Without it for ever.")
    signal: int | None = Field(default=None, ge=1, le=64, description="Ends the process.")
    truncate: int | None = Field(default=None, ge=0, description="Longest text that comes back.")
    bytes: Annotated[Hexadecimal, Field(max_length=200)] | None = None
    path: str | None = None
    value: Any = None
    every_s: float | None = Field(default=None, gt=0)
    on_s: float | None = Field(default=None, gt=0)
    since: float = 0


class LogLine(Model):
    """A line of the kernel's log. One that names no start of the node is of the present one."""

    text: Text
    at: float = Field(ge=0, description="Seconds since the epoch.")
    boot: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    priority: int = Field(default=3, ge=0, le=7)


class Load(Model):
    """What NCCL finds on all GPUs together: a share of the usual bandwidth, and wrong sums."""

    bus: float = Field(default=1, ge=0, le=2, allow_inf_nan=False)
    wrong: int = Field(default=0, ge=0)


class State(Model):
    """Everything about a node's simulated GPUs."""

    schema_: Literal["holdfast.simulated-gpus/1"] = Field(alias="schema")
    model: Text
    driver: Driver
    module: Module
    library: Library = Library()
    gpus: Annotated[Listing[Gpu], Field(max_length=MAX_GPUS)]
    switches: Listing[Switch] = ()
    peers: Peers
    load: Load = Load()
    events: Listing[Event] = ()
    faults: Listing[Fault] = ()
    log: Listing[LogLine] = ()

    def to_json(self) -> dict[str, Any]:
        """The document as plain data."""
        return self.model_dump(mode="json", by_alias=True)


def json_schema() -> dict[str, Any]:
    """The JSON schema of the document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **State.model_json_schema(by_alias=True),
    }


def parse(document: object, name: str = "state") -> State:
    """The document as its types read it.

    Args:
        document: plain data.
        name: what problems call it.

    Raises:
        HoldfastError: every mistake, each with the path to it.
    """
    problems: list[Problem] = []
    found = validated(Subject(Named(name), "state", document, State), problems)
    if found is INVALID:
        raise HoldfastError(problems)
    assert isinstance(found, State)
    return found


def read(path: Path) -> State:
    """Read a state file.

    Raises:
        OSError: it cannot be read.
        HoldfastError: it is not a state document.
    """
    return parse(json.loads(path.read_text(encoding="utf-8")), str(path))


def write(path: Path, state: State) -> None:
    """Write a state file whole. Whoever reads it sees the old one or this one."""
    write_whole(path, json.dumps(state.to_json(), separators=(",", ":")) + "\n")


def changed(state: State, changes: Mapping[str, Any]) -> State:
    """The state with other values.

    Args:
        state: the state as it is.
        changes: dotted path to value, such as ``gpus.3.pci.width``. ``*`` for an index means
            every member of the list.

    Raises:
        HoldfastError: a path leads nowhere, or the value does not belong there.
    """
    document = copy.deepcopy(state.to_json())
    for path, value in changes.items():
        steps = path.split(".")
        owners = [document]
        for step in steps[:-1]:
            owners = [found for owner in owners for found in _members(owner, step, path)]
        for owner in owners:
            _set(owner, steps[-1], value, path)
    return parse(document)


def struck(state: State, *faults: Fault) -> State:
    """The state with more faults; one of the same id takes the place of the old one."""
    ids = {fault.id for fault in faults}
    kept = [fault for fault in state.faults if fault.id not in ids]
    return state.model_copy(update={"faults": (*kept, *faults)})


def mended(state: State, *ids: str) -> State:
    """The state without the faults of these ids; without any when none is named."""
    kept = tuple(fault for fault in state.faults if ids and fault.id not in ids)
    return state.model_copy(update={"faults": kept})


def _members(owner: Any, step: str, path: str) -> list[Any]:
    if isinstance(owner, list):
        if step == "*":
            return list(owner)
        if step.isdigit() and int(step) < len(owner):
            return [owner[int(step)]]
    elif isinstance(owner, dict) and owner.get(step) is not None:
        return [owner[step]]
    raise _nowhere(path, step)


def _set(owner: Any, step: str, value: Any, path: str) -> None:
    if isinstance(owner, dict) and step in owner:
        owner[step] = copy.deepcopy(value)
    elif isinstance(owner, list) and step.isdigit() and int(step) < len(owner):
        owner[int(step)] = copy.deepcopy(value)
    elif isinstance(owner, list) and step == "*":
        owner[:] = [copy.deepcopy(value) for _ in owner]
    elif isinstance(owner, dict) and path.rpartition(".")[0].endswith("fields"):
        owner[step] = copy.deepcopy(value)
    else:
        raise _nowhere(path, step)


def _nowhere(path: str, step: str) -> HoldfastError:
    return HoldfastError([Problem("no-such-path", f"{path} leads nowhere: there is no {step!r}")])

"""Models of nodes with GPUs, as data: which GPUs, where they sit and what connects them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from provision.core.exitcodes import ExitCode
from provision.core.judging import INVALID, Part, Subject, validated
from provision.core.names import suggest
from provision.core.problems import HoldfastError, Problem, by_position, fail
from provision.core.shapes import Like, Listing, Model, Some, Text
from provision.core.yamlpos import YamlDocument, load_yaml
from provision.rehearsal.gpu.state import (
    Address,
    Driver,
    Gpu,
    GpuKind,
    Link,
    MigDevice,
    MigMemory,
    Module,
    NvLink,
    Pci,
    PciKind,
    Peers,
    Remote,
    State,
    Switch,
)
from provision.supply.gpu.cuda import TOOLKITS, numbers

FOLDER = Path(__file__).with_name("models")

Root = Annotated[str, Field(pattern=r"^pci[0-9a-f]{4}:[0-9a-f]{2}$")]
Id = Annotated[str, Like("[a-z0-9]+(-[a-z0-9]+)*", "a model's id", "h100-sxm")]


class Slot(Model):
    """Where a GPU sits. `module` is its number on the baseboard."""

    address: Address
    root: Root
    numa: int = Field(ge=-1, le=255)
    module: int | None = Field(default=None, ge=0, le=255)


class SwitchSlot(Model):
    """Where an NVSwitch sits."""

    address: Address
    root: Root
    numa: int = Field(ge=-1, le=255)


class Switches(Model):
    """The NVSwitches. `on_bus`: whether this node's PCI bus shows them."""

    on_bus: bool = True
    device: int = Field(ge=0, le=0xFFFF)
    slots: Some[SwitchSlot]


class Links(Model):
    """The NVLinks of each GPU, spread over the switches in turn."""

    count: int = Field(ge=1, le=36)
    version: int = Field(ge=1, le=8, description="NVML's number for the NVLink version.")
    speed_mbps: int = Field(ge=1)
    fields: dict[str, int] = Field(default_factory=dict)


class MigProfile(Model):
    """One way to cut a GPU: how much each instance gets, and how many fit."""

    slices: int = Field(ge=1, le=8)
    processors: int = Field(ge=1)
    memory_mib: int = Field(ge=1)
    most: int = Field(ge=1, le=8)


class DriverKind(Model):
    """The driver that such a node has."""

    version: Annotated[str, Like(r"\d+\.\d+(\.\d+)?", "a driver version", "580.105.08")]
    nvml: Text
    cuda: int = Field(ge=9000, le=99000)
    branch: Text
    open: bool = True
    lacks: Listing[str] = ()
    root_only: Listing[str] = ()


class NodeModel(Model):
    """A node with GPUs. `sources` says where the numbers come from."""

    schema_: Literal["holdfast.gpu-model/1"] = Field(alias="schema")
    id: Id
    title: Text
    sources: Some[Text]
    driver: DriverKind
    pci: PciKind
    gpu: GpuKind
    slots: Some[Slot]
    links: Links | None = None
    switches: Switches | None = None
    peers: Peers
    mig_profiles: dict[str, MigProfile] = Field(default_factory=dict)

    @property
    def has_fabric(self) -> bool:
        """Whether a fabric manager has something to do on this node."""
        return self.switches is not None

    @property
    def pci_id(self) -> str:
        """Vendor and device as `lspci -n` prints them."""
        return f"10de:{self.pci.device:04x}"


def names() -> list[str]:
    """The models that ship with Holdfast."""
    return sorted(path.stem for path in FOLDER.glob("*.yml"))


def load(name: str) -> NodeModel:
    """A model that ships with Holdfast.

    Raises:
        HoldfastError: there is none of that name.
    """
    if name not in names():
        raise fail("unknown-gpus", f"there is no GPU model {name!r}",
                   hint=suggest(name, names()), exit_code=ExitCode.USAGE)  # fmt: skip
    return load_file(FOLDER / f"{name}.yml")


def load_file(path: Path) -> NodeModel:
    """A model out of a file.

    Raises:
        HoldfastError: every mistake in it, each at its place.
    """
    document, problems = load_yaml(path)
    found = _judge(document, problems) if document is not None else None
    if problems or found is None:
        raise HoldfastError(by_position(problems), ExitCode.USAGE)
    return found


def _judge(document: YamlDocument, problems: list[Problem]) -> NodeModel | None:
    subject = Subject(Part(document), "model", document.data, NodeModel)
    found = validated(subject, problems)
    if found is INVALID:
        return None
    assert isinstance(found, NodeModel)
    seen: dict[str, int] = {}
    for index, slot in enumerate(found.slots):
        if slot.address in seen:
            problems.append(
                document.problem("duplicate", f"slot {seen[slot.address]} has this address too",
                                 ("slots", index, "address"), value=slot.address)
            )  # fmt: skip
        seen.setdefault(slot.address, index)
    if found.links is not None and found.switches is None:
        problems.append(document.problem("missing-key", "links lead to switches; none is named",
                                         ("links",), hint="add `switches:`"))  # fmt: skip
    return found


def fresh(model: NodeModel, seed: str = "") -> State:
    """The state of a healthy node of this model.

    Args:
        model: what the node is.
        seed: tells nodes apart; the same seed gives the same UUIDs and serial numbers.
    """
    driver = model.driver
    return State(
        schema="holdfast.simulated-gpus/1",
        model=model.id,
        driver=Driver(cuda=driver.cuda, branch=driver.branch, root_only=driver.root_only),
        module=Module(version=driver.version, open=driver.open),
        gpus=tuple(_gpu(model, index, seed) for index in range(len(model.slots))),
        switches=_switches(model),
        peers=model.peers,
    )


def with_driver(model: NodeModel, version: str) -> NodeModel:
    """The model with another version of its driver, and what that brings.

    Raises:
        ValueError: it is not a driver's version.
    """
    known = [name for name, came in TOOLKITS.items() if numbers(came) <= numbers(version)]
    major, minor = (int(part) for part in known[-1].split("."))
    driver = model.driver.model_copy(
        update={
            "version": version,
            "nvml": f"{major}.{version}",
            "cuda": 1000 * major + 10 * minor,
            "branch": f"r{version.partition('.')[0]}_00",
        }
    )
    firmware = model.gpu.firmware.model_copy(update={"gsp": version})
    gpu = model.gpu.model_copy(update={"firmware": firmware})
    return model.model_copy(update={"driver": driver, "gpu": gpu})


def driven(shown: State, first: DriverKind, other: DriverKind) -> State:
    """A state with another driver than its first; what was changed in it since stays changed."""
    module = shown.module
    if module.version == first.version:
        module = module.model_copy(update={"version": other.version, "open": other.open})
    driver = shown.driver.model_copy(
        update={"cuda": other.cuda, "branch": other.branch, "root_only": other.root_only}
    )
    gpus = tuple(_with_firmware(gpu, first.version, other.version) for gpu in shown.gpus)
    return shown.model_copy(update={"module": module, "driver": driver, "gpus": gpus})


def _with_firmware(gpu: Gpu, before: str, after: str) -> Gpu:
    if gpu.firmware.gsp != before:
        return gpu
    firmware = gpu.firmware.model_copy(update={"gsp": after})
    return gpu.model_copy(update={"firmware": firmware})


def _gpu(model: NodeModel, index: int, seed: str) -> Gpu:
    slot = model.slots[index]
    digest = hashlib.sha256(f"{model.id}/{seed}/{index}".encode()).digest()
    place = Pci(**_fields(model.pci), address=slot.address, root=slot.root, numa=slot.numa)
    return Gpu(
        **_fields(model.gpu),
        uuid=f"GPU-{uuid.UUID(bytes=digest[:16], version=4)}",
        serial=f"165{int.from_bytes(digest[16:20], 'big') % 10**10:010d}",
        board_id=int(slot.address.split(":")[1], 16) << 8,
        minor=index,
        module_id=slot.module,
        pci=place,
        nvlink=_links(model),
    )


def _links(model: NodeModel) -> NvLink | None:
    links, switches = model.links, model.switches
    if links is None or switches is None:
        return None
    remotes = [Remote(address=slot.address, device=switches.device) for slot in switches.slots]
    return NvLink(
        version=links.version,
        speed_mbps=links.speed_mbps,
        links=tuple(
            Link(remote=remotes[number % len(remotes)], fields=dict(links.fields))
            for number in range(links.count)
        ),
    )


def _switches(model: NodeModel) -> tuple[Switch, ...]:
    if model.switches is None or not model.switches.on_bus:
        return ()
    device = model.switches.device
    return tuple(Switch(device=device, **_fields(slot)) for slot in model.switches.slots)


def _fields(model: Model) -> dict[str, Any]:
    """A model's values by the names under which they are written."""
    kinds = type(model).model_fields
    return {field.alias or name: getattr(model, name) for name, field in kinds.items()}


@dataclass(frozen=True)
class Cut:
    """A GPU, by its place in the list, and the MIG profiles that it is cut into."""

    gpu: int
    profiles: Sequence[str]


def partitioned(model: NodeModel, state: State, *cuts: Cut) -> State:
    """The state with MIG on, and the GPUs cut as asked.

    Raises:
        HoldfastError: the model has no such profile, or they do not fit.
    """
    gpus = list(state.gpus)
    for cut in cuts:
        gpu = gpus[cut.gpu]
        devices = tuple(
            _instance(model, gpu, number, name) for number, name in enumerate(cut.profiles)
        )
        if sum(one.slices for one in devices) > (_slices(model)):
            raise fail("mig", f"{', '.join(cut.profiles)} do not fit on one {gpu.name}")
        modes = gpu.modes.model_copy(update={"mig": True, "mig_pending": True})
        mig = gpu.mig.model_copy(update={"devices": devices})
        gpus[cut.gpu] = gpu.model_copy(update={"modes": modes, "mig": mig})
    return state.model_copy(update={"gpus": tuple(gpus)})


def _slices(model: NodeModel) -> int:
    return max((profile.slices for profile in model.mig_profiles.values()), default=0)


def _instance(model: NodeModel, gpu: Gpu, number: int, name: str) -> MigDevice:
    profile = model.mig_profiles.get(name)
    if profile is None:
        raise fail("mig", f"{model.id} has no MIG profile {name!r}",
                   hint=suggest(name, list(model.mig_profiles)))  # fmt: skip
    made = uuid.uuid5(uuid.NAMESPACE_OID, f"{gpu.uuid}/{number}/{name}")
    return MigDevice(
        uuid=f"MIG-{made}",
        name=f"{gpu.name} MIG {name}",
        profile=name,
        gpu_instance=number + 1,
        compute_instance=0,
        slices=profile.slices,
        processors=profile.processors,
        memory=MigMemory(total=profile.memory_mib << 20),
    )

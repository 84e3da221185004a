"""What a rack should be: the values of the inventory's `holdfast_*` variables, and the rack.

The classes up to `Inference` are what a person writes; `Node` and `Rack` are what the rest of
Holdfast works with after Ansible's precedence has been applied.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from provision.core.shapes import Like, Listing, Model, Some, Text, legible
from provision.rack import formats
from provision.rack.secrets import SecretRef

Address = Annotated[str, AfterValidator(formats.address)]
Network = Annotated[str, AfterValidator(formats.network)]
HostKey = Annotated[
    str,
    AfterValidator(formats.host_key),
    Field(json_schema_extra={"pattern": "^(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+"}),
]
Mac = Annotated[
    str,
    PlainValidator(formats.mac),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{2}(:[0-9a-f]{2}){5}$"}),
]
PciId = Annotated[
    str,
    AfterValidator(formats.pci_id),
    Field(examples=["10de:2330"], json_schema_extra={"pattern": "^[0-9a-f]{4}:[0-9a-f]{4}$"}),
]
Name = Annotated[
    str,
    AfterValidator(formats.name),
    Field(json_schema_extra={"pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}),
]
Port = Annotated[int, Field(ge=1, le=65535)]

SECRETS = ("api_key", "tls_certificate", "tls_key", "tls_ca")
"""The secrets that a node with inference needs, as fields of `Node`."""


class Waves(Model):
    """How many nodes are handled together, and how much may go wrong."""

    sizes: Some[Annotated[int, Field(ge=1, le=10000)]] = Field(
        default=(1, 8, 50),
        description="Nodes in the first wave, the second, and so on; the last number repeats.",
    )
    failure_budget: int = Field(
        default=0,
        ge=0,
        le=10000,
        description="Failed nodes that a run tolerates; one more stops it after the wave.",
    )
    unit_sizes: Some[Annotated[int, Field(ge=1, le=10000)]] = Field(
        default=(1,),
        description="The same as sizes, for nodes with GPUs whose kernel and driver change.",
    )


class Position(Model):
    """Where a node sits in the rack."""

    unit: int = Field(ge=1, le=60, description="Lowest rack unit that it occupies, from below.")
    height: int = Field(default=1, ge=1, le=60, description="Rack units that it occupies.")

    @property
    def units(self) -> range:
        """All rack units that it occupies."""
        return range(self.unit, self.unit + self.height)


class Gpus(Model):
    """The GPUs that a node must have."""

    model: Text = Field(description="Name as NVML gives it.", examples=["NVIDIA H100 80GB HBM3"])
    pci_id: PciId = Field(description="PCI vendor and device, hexadecimal.")
    count: int = Field(ge=1, le=64, description="How many.")


class Nic(Model):
    """A network interface that a node must have."""

    name: Annotated[str, AfterValidator(formats.interface)] = Field(
        description="Name of the interface.", examples=["eno1"]
    )
    speed_gbps: float = Field(
        gt=0, le=1600, allow_inf_nan=False, description="Least link speed, in Gbit/s."
    )


class InfiniBand(Model):
    """An InfiniBand port that a node must have."""

    device: Annotated[str, Like(r"[a-z0-9_-]{1,32}", "an InfiniBand device", "mlx5_0")] = Field(
        description="Name of the device.", examples=["mlx5_0"]
    )
    port: int = Field(default=1, ge=1, le=64, description="Number of its port.")
    rate_gbps: int = Field(ge=1, le=10000, description="Least rate, in Gbit/s.", examples=[400])


class Hardware(Model):
    """What a node must have. What is missing is found against this, never against old facts."""

    gpus: Gpus | None = Field(default=None, description="GPUs; absent when it has none.")
    memory_gib: int | None = Field(
        default=None, ge=1, le=65536, description="Least memory, in GiB."
    )
    disk_gib: int | None = Field(
        default=None, ge=1, le=4194304, description="Least free disk for models, in GiB."
    )
    cores: int | None = Field(default=None, ge=1, le=4096, description="Least logical CPUs.")
    nics: Listing[Nic] = Field(default=(), description="Interfaces that must be up.")
    infiniband: Listing[InfiniBand] = Field(
        default=(), description="InfiniBand ports that must be active; the audit looks at them."
    )


class Time(Model):
    """Where a node gets the time."""

    servers: Listing[Address] = Field(
        default=(), description="NTP servers; without any the node keeps what it has."
    )
    max_offset_s: float = Field(
        default=1.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Largest tolerated clock error, in seconds.",
    )


class Firewall(Model):
    """The node's own firewall."""

    enabled: bool = Field(default=True, description="Whether firewalld is on.")


class Inference(Model):
    """What a node serves. A node without it serves nothing."""

    engine: str = Field(description="Inference engine.", examples=["llama_cpp"])
    model: str = Field(description="Name of a model in the stack lock.")
    image: str = Field(description="Name of an image in the stack lock.")
    port: Port = Field(default=8443, description="TCP port of the HTTPS endpoint.")
    context: int = Field(
        default=2048, ge=128, le=4194304, description="Context of one request, in tokens."
    )
    parallel: int = Field(default=2, ge=1, le=1024, description="Requests answered together.")
    max_tokens: int = Field(
        default=256, ge=1, le=1048576, description="Most tokens that one answer may have."
    )
    allow_from: Some[Network] = Field(
        description="Networks that may reach the port.", examples=[["192.0.2.0/24"]]
    )

    @model_validator(mode="after")
    def _answer_fits(self) -> Inference:
        if self.max_tokens > self.context:
            raise PydanticCustomError(
                "out-of-range",
                "max_tokens ({tokens}) is more than context ({context})",
                {
                    "tokens": self.max_tokens,
                    "context": self.context,
                    "hint": "an answer must fit into the context",
                },
            )
        return self


Share = Annotated[
    int | str,
    PlainValidator(formats.share),
    WithJsonSchema(
        {
            "oneOf": [
                {"type": "integer", "minimum": 0, "maximum": 100000},
                {"type": "string", "pattern": "^(100|[1-9]?[0-9])%$"},
            ]
        }
    ),
]
"""How many of something: a number, or a share in percent."""

MigProfile = Annotated[
    str,
    Like(r"[1-9]g\.[1-9]\d{0,2}gb(\+me|\+gfx|-me)?", "a MIG profile", "1g.10gb"),
    Field(examples=["1g.10gb"]),
]


class Mig(Model):
    """How some of a node's GPUs are divided."""

    gpus: Listing[Annotated[int, Field(ge=0, le=63)]] = Field(
        default=(), description="Which GPUs, counted from 0; without any, all of them."
    )
    profiles: Some[MigProfile] = Field(
        description="What each of them is divided into, in this order.",
        examples=[["3g.40gb", "3g.40gb"]],
    )


class Gpu(Model):
    """How the GPUs of a node are driven; the driver itself stands in the stack lock."""

    fabric: Literal["none", "nvswitch"] = Field(
        default="none", description="What links the GPUs beside PCIe and bridges."
    )
    mig: Listing[Mig] = Field(
        default=(), description="How GPUs are divided; without any, none of them is."
    )
    toolkit: bool = Field(
        default=False,
        description="Whether CUDA's toolkit and NCCL are on the node itself; containers bring"
        " their own.",
    )
    dcgm: bool = Field(default=True, description="Whether DCGM watches the GPUs.")


Argv = Listing[Annotated[str, Field(min_length=1, max_length=1000)]]


class Drain(Model):
    """How a node is emptied before its GPU unit changes, and put back into service after."""

    by: Literal["slurm", "commands"] = Field(
        description="Slurm, asked on the node; or commands of the site's own, run on the machine"
        " that holdfast runs on."
    )
    drain: Argv = Field(
        default=(),
        description="The command that takes the node out of service, word by word; {node} is its"
        " name, and {run} the run's. It may return before the node is empty. Only with commands.",
        examples=[["kubectl", "cordon", "{node}"]],
    )
    undrain: Argv = Field(
        default=(),
        description="The command that puts it back into service. Only with commands.",
        examples=[["kubectl", "uncordon", "{node}"]],
    )
    deadline_minutes: int = Field(
        default=60,
        ge=0,
        le=20160,
        description="How long jobs and processes on its GPUs may take to end.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Drain:
        for name, words in (("drain", self.drain), ("undrain", self.undrain)):
            if (self.by == "commands") != bool(words):
                needs = "needs" if self.by == "commands" else "has no use for"
                raise PydanticCustomError(
                    "drain-commands",
                    "by: {by} {needs} {name}",
                    {
                        "by": self.by,
                        "needs": needs,
                        "name": name,
                        "hint": "give both commands with by: commands, and none with by: slurm",
                    },
                )
        return self


MountPath = Annotated[str, Like(r"/[^\s]*", "a path", "/scratch"), Field(examples=["/scratch"])]
Word = Annotated[str, Like(r"\S{1,200}", "one word", "xfs")]


class AuditMount(Model):
    """A filesystem that must be mounted."""

    path: MountPath = Field(description="Where.")
    type: Word | None = Field(default=None, description="Its type.", examples=["xfs"])
    source: Word | None = Field(
        default=None, description="What is mounted, as the kernel shows it."
    )
    options: Listing[Word] = Field(
        default=(), description="Options that it must have.", examples=[["nodev", "nosuid"]]
    )
    writable: bool = Field(default=False, description="Whether it must be mounted for writing.")


class AuditSlurm(Model):
    """What Slurm makes of the audit."""

    drain: bool = Field(
        default=False, description="Whether a node that should do no work is drained by itself."
    )
    max_drained: Share = Field(
        default="10%",
        description="How many nodes may be drained before no other one is: a number, or a share"
        " of the partition.",
        examples=["10%", 2],
    )
    partition: Word | None = Field(
        default=None, description="The partition that this is a share of; else all nodes."
    )
    least: Literal["info", "low", "medium", "high", "critical"] = Field(
        default="high", description="Severity from which on a finding drains a node."
    )


class Audit(Model):
    """The audit that looks at a node again and again."""

    enabled: Annotated[bool | None, AfterValidator(formats.truth)] = Field(
        default=None,
        description="Whether the node has it; left out, nodes with GPUs have it.",
    )
    every_minutes: Literal[1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60] = Field(
        default=5, description="How often it looks; what an hour can be divided by."
    )
    mounts: Listing[AuditMount] = Field(default=(), description="Filesystems that must be mounted.")
    limits: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default_factory=dict,
        description="The site's own limits, by the name that the page of the check gives.",
        examples=[{"host.space.used": 95}],
    )
    slurm: AuditSlurm = Field(default=AuditSlurm(), description="What Slurm makes of it.")


Date = Annotated[
    date,
    BeforeValidator(formats.iso_date),
    Field(json_schema_extra={"format": "date"}, examples=["2027-06-30"]),
]
ControlId = Annotated[
    str,
    AfterValidator(formats.control_id),
    Field(examples=["sshd-no-root-login"], json_schema_extra={"pattern": formats.CONTROL_ID}),
]


Why = Annotated[str, Field(min_length=10, max_length=1000), AfterValidator(legible)]
"""A reason, in a sentence."""


class Adoption(Model):
    """An overlay that the site takes over: its deviations become the site's own."""

    name: str = Field(description="Name of the overlay.", examples=["gpu_host"])
    owner: Text = Field(description="Who answers for it.", examples=["security@example.org"])
    expires: Date = Field(description="The last day on which it counts.")
    features: Listing[str] = Field(
        default=(),
        description="What nodes do that no inventory shows; the overlay lists what it knows.",
        examples=[["nfs-models"]],
    )


class Waiver(Model):
    """A control that the site does without, for a while."""

    control: ControlId = Field(description="Id of the control.")
    reason: Why = Field(description="Why the site does without it, in a sentence.")
    owner: Text = Field(description="Who answers for it.", examples=["security@example.org"])
    expires: Date = Field(description="The last day on which it counts.")


class Lacks(Model):
    """What a virtual machine does without and Enterprise Linux has, each with the reason."""

    selinux: Why | None = Field(
        default=None, description="Why no policy of SELinux is there to be enforced."
    )
    boot_loader: Why | None = Field(
        default=None, description="Why nothing on it says what its kernel is started with."
    )

    @property
    def reasons(self) -> dict[str, str]:
        """What it does without, and why."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: why for name, why in found.items() if why is not None}


Kind = Literal["metal", "vm", "container"]
Patience = Annotated[int, Field(ge=1, le=100)]
ScanDays = Annotated[int, Field(ge=1, le=365)]

Reference = Annotated[SecretRef, PlainSerializer(str, return_type=str)]
"""A secret's reference; serialised as the text that was written, never as the secret."""


class Node(Model):
    """One machine, with every variable resolved by Ansible's precedence."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str
    address: str
    port: int = 22
    user: str | None = None
    private_key: Path | None = None
    ssh_args: tuple[str, ...] = ()
    connect_timeout_s: int | None = None
    patience: int = 1
    groups: tuple[str, ...] = ()
    kind: Kind = "metal"
    lacks: Lacks = Lacks()
    mac: str | None = None
    position: Position | None = None
    hardware: Hardware | None = None
    gpu: Gpu | None = None
    audit: Audit = Audit()
    drain: Drain | None = None
    host_keys: tuple[str, ...] = ()
    time: Time = Time()
    firewall: Firewall = Firewall()
    inference: Inference | None = None
    api_key: Reference | None = None
    tls_certificate: Reference | None = None
    tls_key: Reference | None = None
    tls_ca: Reference | None = None

    @property
    def audited(self) -> bool:
        """Whether the node has the audit: where the inventory does not say, one with GPUs has."""
        if self.audit.enabled is not None:
            return self.audit.enabled
        return self.hardware is not None and self.hardware.gpus is not None

    @property
    def secrets(self) -> dict[str, SecretRef]:
        """The secrets that this node declares, by field name."""
        found = {name: getattr(self, name) for name in SECRETS}
        return {name: ref for name, ref in found.items() if ref is not None}


class Rack(Model):
    """The nodes of one inventory.

    `stack` is the absolute path of the stack lock; `controls` and `baselines` are those of the
    folders with the site's own controls and baselines; `full_scan_days` is how long a scan of all
    rules proves something; `known_hosts` a file with host keys beside
    those of the nodes; `groups` every group's name; `sha256` covers the inventory and every
    group_vars and host_vars file.
    """

    name: str
    path: Path
    stack: Path
    profile: str = "none"
    overlays: tuple[Adoption, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    controls: tuple[Path, ...] = ()
    baselines: tuple[Path, ...] = ()
    full_scan_days: int = 7
    waves: Waves = Waves()
    origin: str | None = None
    known_hosts: Path | None = None
    groups: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    sha256: str = ""

    @property
    def folder(self) -> Path:
        """The inventory's folder; what it names is relative to it."""
        return self.path.parent

    def node(self, name: str) -> Node:
        """The node called `name`.

        Raises:
            KeyError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def limit(self, pattern: str) -> Rack:
        """The rack with only the nodes that `pattern` names.

        Args:
            pattern: node and group names and shell patterns, with commas between them; a name
                after ``!`` is left out.

        Raises:
            HoldfastError: a name fits no node, or no node is left (exit code 2).
        """
        from provision.rack.limits import limited

        names = limited(self, pattern)
        return self.model_copy(update={"nodes": tuple(n for n in self.nodes if n.name in names)})

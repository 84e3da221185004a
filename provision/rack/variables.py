"""The inventory's `holdfast_*` variables, one row each.

This table drives validation, the editor's schema and the reference page; a variable that is not
in it does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainSerializer, TypeAdapter, WithJsonSchema
from pydantic.functional_validators import BeforeValidator

from provision.core.judging import refuse
from provision.core.shapes import Listing, Some, Text
from provision.rack import formats
from provision.rack.model import (
    Adoption,
    Audit,
    Drain,
    Firewall,
    Gpu,
    Hardware,
    HostKey,
    Inference,
    Kind,
    Lacks,
    Mac,
    Name,
    Patience,
    Position,
    ScanDays,
    Time,
    Waiver,
    Waves,
)
from provision.rack.secrets import SecretRef

PREFIX = "holdfast_"
READABLE = (1,)
"""The inventory's versions that this Holdfast reads."""

Level = Literal["rack", "node"]


def _reference(value: Any) -> Any:
    if not isinstance(value, str):
        raise refuse("literal-secret", "a secret is written as a reference", _REFER)
    try:
        return SecretRef.parse(value)
    except ValueError as error:
        raise refuse("literal-secret", str(error), _REFER) from None


_REFER = "write file:PATH, env:NAME or vault:FILE#NAME; the value itself never stands here"

Reference = Annotated[
    SecretRef,
    BeforeValidator(_reference),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(file:[^\n]+|env:[A-Za-z_][A-Za-z0-9_]*|vault:[^\n#]+#[^\n]+)$",
        }
    ),
]
Version = Annotated[int, Field(ge=1, le=999)]
Origin = Annotated[str, AfterValidator(formats.origin)]
File = Annotated[str, AfterValidator(formats.file_path)]
Folder = Annotated[str, AfterValidator(formats.folder_path)]
HostKeys = Some[HostKey]


@dataclass(frozen=True)
class Variable:
    """One variable: its name without prefix, where it may stand, its type, and its description.

    `level` rack means only in group `all`; `default` is text for the reference.
    """

    short: str
    level: Level
    type: Any
    text: str
    example: str
    default: str = ""
    required: bool = False

    @property
    def name(self) -> str:
        """The name as written in an inventory."""
        return PREFIX + self.short

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """What judges a value."""
        return _adapter(self.short)

    @property
    def secret(self) -> bool:
        """Whether the value is a reference to a secret."""
        return self.type is Reference


VARIABLES: tuple[Variable, ...] = (
    Variable("schema", "rack", Version, "Version of these variables.", "1", required=True),
    Variable("rack", "rack", Name, "Name of the rack.", "lab-a", required=True),
    Variable(
        "stack",
        "rack",
        File,
        "The stack lock, relative to the inventory's folder.",
        "stack.lock.json",
        required=True,
    ),
    Variable(
        "profile",
        "rack",
        str,
        "Security profile; `holdfast profile list` shows them.",
        "cis_l1_server",
        "none",
    ),
    Variable(
        "overlays",
        "rack",
        Listing[Adoption],
        "Overlays that the site takes over, each with owner and expiry.",
        "[{name: gpu_host, owner: security@example.org, expires: 2027-06-30}]",
        "none",
    ),
    Variable(
        "waivers",
        "rack",
        Listing[Waiver],
        "Controls that the site does without. One that matches nothing or has expired is a"
        " mistake.",
        "[{control: sshd-no-root-login, reason: Console servers know no other user,"
        " owner: security@example.org, expires: 2027-06-30}]",
        "none",
    ),
    Variable(
        "controls",
        "rack",
        Listing[Folder],
        "Folders with controls of the site's own, relative to the inventory's folder.",
        "[controls]",
        "none",
    ),
    Variable(
        "baselines",
        "rack",
        Listing[Folder],
        "Folders with baselines of the site's own, relative to the inventory's folder: what"
        " OpenSCAP is known to say of its nodes. They come before those that ship.",
        "[baselines]",
        "none",
    ),
    Variable(
        "full_scan_days",
        "rack",
        ScanDays,
        "How many days a scan by all rules proves something. A quick scan leaves out the rules that"
        " read every file; they are unknown once the last full scan is older.",
        "7",
        "7",
    ),
    Variable(
        "waves",
        "rack",
        Waves,
        "How many nodes are handled together, and how many may fail.",
        "{sizes: [1, 8, 50], failure_budget: 0}",
        "{sizes: [1, 8, 50], failure_budget: 0}",
    ),
    Variable(
        "origin",
        "rack",
        Origin,
        "Address that replaces that of every origin in the stack lock.",
        "http://mirror.example.org:8080",
        "the lock's own",
    ),
    Variable(
        "known_hosts",
        "rack",
        File,
        "A known_hosts file, for nodes without `holdfast_host_keys`.",
        "known_hosts",
        "none",
    ),
    Variable("kind", "node", Kind, "What the node is.", "metal", "metal"),
    Variable(
        "lacks",
        "node",
        Lacks,
        "What it does without, of what Enterprise Linux has. Only with `holdfast_kind: vm`: nothing"
        " that needs it is set there or judged.",
        "{boot_loader: Its kernel is started directly.}",
        "{}",
    ),
    Variable(
        "mac",
        "node",
        Mac,
        "The address of the network card that it starts from, where it starts from the network.",
        '"52:54:00:12:34:56"',
        "none",
    ),
    Variable("position", "node", Position, "Where it sits in the rack.", "{unit: 12, height: 2}"),
    Variable(
        "hardware",
        "node",
        Hardware,
        "What it must have.",
        "{memory_gib: 1024, disk_gib: 200, cores: 96}",
        "nothing is expected",
    ),
    Variable(
        "gpu",
        "node",
        Gpu,
        "How its GPUs are driven. Only with `holdfast_hardware.gpus`.",
        "{fabric: nvswitch, mig: [{gpus: [0], profiles: [3g.40gb, 3g.40gb]}]}",
        "{fabric: none, mig: [], toolkit: false, dcgm: true}",
    ),
    Variable(
        "audit",
        "node",
        Audit,
        "The audit that looks at the node again and again, and that `holdfast verify` asks.",
        "{every_minutes: 10, limits: {host.space.used: 95}}",
        "every five minutes on nodes that declare GPUs, else none",
    ),
    Variable(
        "drain",
        "node",
        Drain,
        "How a node with GPUs is emptied before its kernel and driver change.",
        "{by: slurm, deadline_minutes: 120}",
        "nothing drains: a process on a GPU refuses the change",
    ),
    Variable(
        "host_keys",
        "node",
        HostKeys,
        "Its SSH host keys; a key that is not here is never accepted. Required unless"
        " `holdfast_known_hosts` has one.",
        '["ssh-ed25519 AAAA..."]',
    ),
    Variable(
        "time",
        "node",
        Time,
        "Where it gets the time.",
        '{servers: ["192.0.2.1"], max_offset_s: 1.0}',
        "{servers: [], max_offset_s: 1.0}",
    ),
    Variable(
        "patience",
        "node",
        Patience,
        "How many times longer than usual a node may take before it counts as stuck: more than 1"
        " for one that is known to be slow, such as an emulated machine.",
        "8",
        "1",
    ),
    Variable(
        "firewall", "node", Firewall, "Its own firewall.", "{enabled: true}", "{enabled: true}"
    ),
    Variable(
        "inference",
        "node",
        Inference,
        "What it serves; absent on a node that serves nothing.",
        "{engine: llama_cpp, model: tiny, image: llama-cpp, allow_from: [192.0.2.0/24]}",
        "nothing is served",
    ),
    Variable(
        "api_key",
        "node",
        Reference,
        "The key that callers must show. Required with `holdfast_inference`.",
        "file:secrets/api-key",
    ),
    Variable(
        "tls_certificate",
        "node",
        Reference,
        "The endpoint's certificate, PEM. Required with `holdfast_inference`.",
        "file:tls/gpu-01.pem",
    ),
    Variable(
        "tls_key",
        "node",
        Reference,
        "The certificate's private key, PEM. Required with `holdfast_inference`.",
        "vault:secrets/tls.yml#gpu_01",
    ),
    Variable(
        "tls_ca",
        "node",
        Reference,
        "The authority that signed it, PEM. Required with `holdfast_inference`.",
        "file:tls/ca.pem",
    ),
)

BY_NAME: dict[str, Variable] = {v.name: v for v in VARIABLES}


@cache
def _adapter(short: str) -> TypeAdapter[Any]:
    return TypeAdapter(BY_NAME[PREFIX + short].type)


@dataclass(frozen=True)
class ConnectionVariable:
    """One of Ansible's own variables that Holdfast reads too; it must be literal for that."""

    name: str
    type: Any
    text: str

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """What judges a value."""
        return TypeAdapter(self.type)


def _digits(value: Any) -> Any:
    # Ansible takes "22" for 22, and INI users write it so.
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


SshPort = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=65535)]
Seconds = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=600)]
Address = Annotated[str, AfterValidator(formats.address)]

CONNECTION: dict[str, ConnectionVariable] = {
    v.name: v
    for v in (
        ConnectionVariable("ansible_host", Address, "Address of the node."),
        ConnectionVariable("ansible_port", SshPort, "Its SSH port."),
        ConnectionVariable("ansible_user", Text, "Who logs in."),
        ConnectionVariable(
            "ansible_ssh_timeout", Seconds, "Seconds until a connection must stand."
        ),
        ConnectionVariable("ansible_ssh_private_key_file", File, "Key to log in with."),
        ConnectionVariable("ansible_ssh_common_args", str, "More arguments of ssh."),
        ConnectionVariable("ansible_ssh_extra_args", str, "More arguments of ssh."),
        ConnectionVariable("ansible_connection", str, "Only ssh."),
    )
}
"""Aliases such as ansible_ssh_host are in `ALIASES`."""

ALIASES = {
    "ansible_ssh_host": "ansible_host",
    "ansible_ssh_port": "ansible_port",
    "ansible_ssh_user": "ansible_user",
    "ansible_private_key_file": "ansible_ssh_private_key_file",
}

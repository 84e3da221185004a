"""What each node should be, from rack and stack lock alone.

This is all that a check knows beside what a probe saw. Nothing in it comes from a node.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from provision.policy.resolve import NONE
from provision.rack.model import Node, Rack
from provision.supply.lock import StackLock

MODEL_ROOT = "/srv/models"
UNIT = "holdfast-inference.service"
MANIFESTS = "/etc/holdfast/models"
CONTAINER = "holdfast-inference"
SECRETS = (
    "holdfast-inference-api-key",
    "holdfast-inference-tls-key",
    "holdfast-inference-tls-certificate",
)
HIDDEN = SECRETS[:2]
"""The secrets that must stand nowhere; a certificate is public."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Package(_Part):
    """A locked package: its full name, the roles that ask for it, and the key that signed it."""

    name: str
    nevra: str
    roles: tuple[str, ...]
    fingerprint: str
    el: str
    arch: str


class Repository(_Part):
    """A locked repository: where it is, and the fingerprint of the key behind it.

    One that a subscription brings keeps the vendor's own address and settings.
    """

    id: str
    address: str
    fingerprint: str
    release: str
    arch: str
    subscribed: bool = False


class ModelFile(_Part):
    """A file of a model, by digest."""

    path: str
    sha256: str
    size: int


class Serving(_Part):
    """What a node serves, and how."""

    engine: str
    port: int
    context: int
    parallel: int
    max_tokens: int
    allow_from: tuple[str, ...]
    model: str
    directory: str
    entry: str
    files: tuple[ModelFile, ...]
    image: str
    digests: dict[str, str]
    """The image's digest by architecture."""


class Machine(_Part):
    """The hardware that the inventory declares; None where it says nothing."""

    memory_gib: int | None = None
    cores: int | None = None
    gpu_id: str | None = None
    gpus: int = 0


class Expected(_Part):
    """Everything that is declared for one node.

    `controls` are the files with the resolved controls of `profile`, for each release that the
    node may turn out to be; none without a profile. `lacks` is what the inventory says that it
    does without, and why.
    """

    node: str
    rack: str
    stack_sha256: str
    kind: str
    ssh_port: int
    repositories: tuple[Repository, ...]
    packages: tuple[Package, ...]
    time_servers: tuple[str, ...]
    max_offset_s: float
    firewall: bool
    serving: Serving | None
    machine: Machine | None
    profile: str = NONE
    controls: dict[str, str] = {}
    lacks: dict[str, str] = {}

    def packages_of(self, role: str, el: str, arch: str) -> tuple[Package, ...]:
        """The locked packages that `role` asks for on this release and architecture."""
        return tuple(p for p in self.packages_for(el, arch) if role in p.roles)

    def packages_for(self, el: str, arch: str) -> tuple[Package, ...]:
        """Everything that is locked for this release and architecture."""
        return tuple(p for p in self.packages if p.el == el and p.arch in (arch, "noarch"))


def expected_of(
    rack: Rack,
    lock: StackLock,
    node: Node,
    stack_sha256: str,
    controls: Mapping[str, str] | None = None,
) -> Expected:
    """What `node` should be.

    Args:
        rack: the rack that it belongs to.
        lock: the stack lock.
        node: the node.
        stack_sha256: the digest of the lock's file.
        controls: the files with its resolved controls, by release.

    Raises:
        KeyError: the lock lacks what the node serves; loading the inventory finds that first.
    """
    return Expected(
        node=node.name,
        rack=rack.name,
        stack_sha256=stack_sha256,
        kind=node.kind,
        ssh_port=node.port,
        repositories=tuple(
            Repository(
                id=r.id,
                address=join(lock.origin_address(r.origin, rack.origin), r.path),
                fingerprint=lock.keys[r.key].fingerprint.lower(),
                release=r.release,
                arch=r.arch,
                subscribed=lock.origins[r.origin].kind == "subscription" and not rack.origin,
            )
            for r in lock.repositories
        ),
        packages=tuple(
            Package(
                name=p.name,
                nevra=p.nevra,
                roles=tuple(p.roles),
                fingerprint=lock.keys[p.key].fingerprint.lower(),
                el=p.el,
                arch=p.arch,
            )
            for p in lock.rpms
        ),
        time_servers=tuple(node.time.servers),
        max_offset_s=float(node.time.max_offset_s),
        firewall=node.firewall.enabled,
        serving=_serving(lock, node),
        machine=_machine(node),
        profile=rack.profile,
        controls=dict(controls or {}),
        lacks=node.lacks.reasons,
    )


def join(address: str, path: str) -> str:
    """An address and a path below it, with one slash between them and none at the end."""
    return f"{address.rstrip('/')}/{path.strip('/')}"


def _serving(lock: StackLock, node: Node) -> Serving | None:
    declared = node.inference
    if declared is None:
        return None
    model = lock.model(declared.model)
    if model is None:
        raise KeyError(f"the stack lock holds no model {declared.model}")
    return Serving(
        engine=declared.engine,
        port=declared.port,
        context=declared.context,
        parallel=declared.parallel,
        max_tokens=declared.max_tokens,
        allow_from=tuple(declared.allow_from),
        model=declared.model,
        directory=f"{MODEL_ROOT}/{declared.model}",
        entry=model.entry,
        files=tuple(ModelFile(path=f.path, sha256=f.sha256, size=f.size) for f in model.files),
        image=declared.image,
        digests={i.arch: i.digest for i in lock.images if i.name == declared.image},
    )


def _machine(node: Node) -> Machine | None:
    declared = node.hardware
    if declared is None:
        return None
    gpus = declared.gpus
    return Machine(
        memory_gib=declared.memory_gib,
        cores=declared.cores,
        gpu_id=gpus.pci_id if gpus else None,
        gpus=gpus.count if gpus else 0,
    )

"""What preflight asks of a node, one function for each question. Pure.

Each judges one thing by the facts that were seen and by what the inventory declares. A fact that
is missing or of the wrong kind may raise: whoever calls makes that an `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.engine import gpu
from provision.rack.model import Node
from provision.verdict.model import Severity, Status

RELEASES = ("9", "10")
FAMILY = frozenset({"rhel", "fedora", "centos"})
EL = f"Enterprise Linux {' or '.join(RELEASES)}"
ARCHES = ("x86_64", "aarch64")
MIN_PYTHON = (3, 9)
CLOCK_LIMIT_S = 120.0
"""A clock that is further off makes signatures and certificates of today look wrong; smaller
errors are mended by the role time."""
LOOKED_AT = "the node can be looked at over ssh"
"""What is expected of a node that could not be looked at."""
DISK_FLOOR_MIB = 1024
MEMORY_SLACK = 0.93
"""Firmware and kernel keep some of the memory for themselves; MemTotal is never what is fitted."""
ENGINE_PROCESSES = {"llama_cpp": frozenset({"llama-server"})}
"""The process that listens for each engine; containers use the node's own network."""


@dataclass(frozen=True)
class Asked:
    """What preflight judges nodes against beside the inventory.

    `platforms` are the (release, architecture) pairs that the stack lock has packages for; `run`
    is the run that asks; its own lock on a node is no obstacle, nor is that of `takeover`;
    `models_mib` are the sizes of the lock's models; `gpu` is what the lock has for GPUs.
    """

    platforms: frozenset[tuple[str, str]]
    run: str
    takeover: str | None = None
    models_mib: Mapping[str, int] = field(default_factory=dict)
    gpu: gpu.Locked = field(default_factory=gpu.Locked)


@dataclass(frozen=True)
class Sight:
    """What was seen of one node: `facts`, or why not (`error`).

    `asked_at` and `seen_at` are Unix seconds on the controller before and after the look;
    `release` is what /etc/os-release calls the system where only that could be read.
    """

    facts: Mapping[str, Any] | None = None
    error: str | None = None
    asked_at: float = 0.0
    seen_at: float = 0.0
    release: str | None = None


@dataclass(frozen=True)
class Answer:
    """One check's outcome before it becomes a finding."""

    status: Status
    expected: str
    seen: str
    action: str = ""
    clears: str = ""


@dataclass(frozen=True)
class Check:
    """One question: its id within preflight, its words, and who answers it."""

    id: str
    title: str
    severity: Severity
    judge: Callable[[Node, Mapping[str, Any], Sight, Asked], Answer]


def unknown(expected: str, seen: str) -> Answer:
    """The answer of a check that could not look."""
    return Answer(Status.UNKNOWN, expected, seen, "make this visible, then run again")


def result(ok: bool, expected: str, seen: str, action: str) -> Answer:
    """Pass or fail; the next step only where there is one to take."""
    status = Status.PASS if ok else Status.FAIL
    return Answer(status, expected, seen, "" if ok else action, "" if ok else expected)


def _not_applicable(why: str) -> Answer:
    return Answer(Status.NOT_APPLICABLE, why, "")


_Facts = Mapping[str, Any]


def _connected(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del facts, sight, asked
    return Answer(Status.PASS, "answers over ssh", f"{node.address}:{node.port} answered")


def _known_key(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del facts, sight, asked
    seen = f"one of {len(node.host_keys)} in the inventory" if node.host_keys else "in known_hosts"
    return Answer(Status.PASS, "shows a host key of the inventory", seen)


def _let_in(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del facts, sight, asked
    return Answer(Status.PASS, "lets the user in", f"as {node.user or 'the default user'}")


def _privilege(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del sight, asked
    return result(
        facts["become_ok"] is True,
        "the user can become root",
        "root" if facts["become_ok"] else "not root",
        f"let {node.user or 'the user'} run sudo, or set ansible_become in the inventory",
    )


def _python(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del node, sight, asked
    version = str(facts["python"])
    found = tuple(int(part) for part in version.split(".")[:2])
    return result(
        found >= MIN_PYTHON,
        f"python {'.'.join(map(str, MIN_PYTHON))} or newer",
        version,
        "use EL 9 or 10",
    )


def _release(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del node, sight, asked
    major = str(facts["version_id"]).split(".", maxsplit=1)[0]
    raw = facts["id_like"] or ""
    like = set(raw.split() if isinstance(raw, str) else raw) | {str(facts["distribution_id"])}
    seen = str(facts.get("pretty_name") or f"{facts['distribution_id']} {facts['version_id']}")
    action = "install EL 9 or 10 on the node"
    if like & FAMILY and major == "8":
        seen += ", whose platform Python 3.6 no supported ansible-core can manage"
    elif not like & FAMILY:
        seen += ", which is not of the EL family"
    ok = bool(like & FAMILY) and major in RELEASES
    return result(ok, EL, seen, action)


def _architecture(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del node, sight
    arch = str(facts["arch"])
    release = str(facts["version_id"]).split(".", maxsplit=1)[0]
    if arch not in ARCHES:
        return result(False, " or ".join(ARCHES), arch, "use a machine of a supported kind")
    if release not in RELEASES:
        # The release is a failure of its own; here only the machine is judged.
        ok = arch in {known for _, known in asked.platforms}
        return result(ok, "an architecture that the stack lock has", arch, "use another machine")
    there = ", ".join(sorted(f"EL {r} {a}" for r, a in asked.platforms)) or "nothing"
    return result(
        (release, arch) in asked.platforms,
        "an architecture and release that the stack lock has packages for",
        f"EL {release} {arch}; the lock has {there}",
        "write a stack lock that covers this node, or leave it out with --limit",
    )


def _disk(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del sight
    free = {str(path): int(mib) for path, mib in dict(facts["disk_free_mib"]).items()}
    if not free:
        raise ValueError("no file system was looked at")
    low = {path: mib for path, mib in free.items() if mib < DISK_FLOOR_MIB}
    seen = ", ".join(f"{path} {mib} MiB free" for path, mib in sorted((low or free).items()))
    expected = f"at least {DISK_FLOOR_MIB} MiB free everywhere"
    wanted = node.hardware.disk_gib if node.hardware else None
    ok = not low
    if wanted is not None:
        expected += f", {wanted} GiB for models"
        room = free[next((p for p in ("/srv/models", "/srv") if p in free), "/")]
        # The model may lie there already, and then it is its own room that is missing.
        model = asked.models_mib.get(node.inference.model, 0) if node.inference else 0
        ok = ok and room + model >= wanted * 1024
    return result(ok, expected, seen, "free space on the node: df -h")


def _memory(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del sight, asked
    wanted = node.hardware.memory_gib if node.hardware else None
    if wanted is None:
        return _not_applicable("the inventory declares no memory")
    mib = int(facts["memory_mib"])
    return result(
        mib >= wanted * 1024 * MEMORY_SLACK,
        f"{wanted} GiB",
        f"{mib / 1024:.1f} GiB",
        "look for a failed memory module, or correct holdfast_hardware.memory_gib",
    )


def _cores(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del sight, asked
    wanted = node.hardware.cores if node.hardware else None
    if wanted is None:
        return _not_applicable("the inventory declares no cores")
    return result(
        int(facts["cores"]) >= wanted,
        f"{wanted} logical CPUs",
        str(int(facts["cores"])),
        "look at the firmware's settings, or correct holdfast_hardware.cores",
    )


def _clock(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del node, asked
    clock = float(facts["clock"])
    # The node read its clock somewhere between our asking and our seeing the answer.
    off = max(sight.asked_at - clock, clock - sight.seen_at, 0.0)
    return result(
        off <= CLOCK_LIMIT_S,
        f"at most {CLOCK_LIMIT_S:.0f} s off this machine's clock",
        "in step" if off == 0 else f"{off:.1f} s off",
        "set the node's clock: timedatectl set-time, and the firmware's clock too",
    )


def _gpus(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del sight, asked
    wanted = node.hardware.gpus if node.hardware else None
    if wanted is None:
        return _not_applicable("the inventory declares no GPU")
    found = [f"{gpu['vendor']}:{gpu['device']}".lower() for gpu in facts["pci_gpus"]]
    count = found.count(wanted.pci_id.lower())
    kinds = sorted(set(found))
    seen = ", ".join(f"{found.count(kind)} x {kind}" for kind in kinds) or "no GPU on the PCI bus"
    return result(
        count == wanted.count,
        f"{wanted.count} x {wanted.model} ({wanted.pci_id})",
        seen,
        "reseat the missing GPU and look at the BMC's log, or correct holdfast_hardware.gpus",
    )


def _nics(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del sight, asked
    wanted = node.hardware.nics if node.hardware else ()
    if not wanted:
        return _not_applicable("the inventory declares no network interface")
    there = {nic["name"]: nic for nic in facts["nics"]}
    wrong, blind = [], []
    for nic in wanted:
        found = there.get(nic.name)
        if found is None:
            wrong.append(f"{nic.name} is missing")
        elif not found["up"]:
            wrong.append(f"{nic.name} is down")
        elif found["speed_mbps"] is None:
            blind.append(f"{nic.name} does not say its speed")
        elif found["speed_mbps"] < nic.speed_gbps * 1000:
            wrong.append(f"{nic.name} runs at {found['speed_mbps']} Mbit/s")
    expected = ", ".join(f"{nic.name} at {nic.speed_gbps:g} Gbit/s" for nic in wanted)
    if blind and not wrong:
        return unknown(expected, ", ".join(blind))
    seen = ", ".join(wrong) or "all up at speed"
    return result(not wrong, expected, seen, "check cable, transceiver and switch port")


def _secure_boot(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del sight, asked
    if node.kind == "container":
        return _not_applicable("a container has no firmware")
    state = str(facts["secure_boot"])
    expected = "the state of Secure Boot is known"
    if state not in ("enabled", "disabled", "absent"):
        return unknown(expected, state)
    return Answer(Status.PASS, expected, state)


_NOTHING_LOCKED = "the stack lock has nothing for this release and architecture"
"""A failure of its own; what else a lock does not have is no second one."""


def _gpu_supply(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del sight
    if node.hardware is None or node.hardware.gpus is None:
        return _not_applicable("the inventory declares no GPU")
    if gpu.platform(facts) not in asked.platforms:
        return _not_applicable(_NOTHING_LOCKED)
    return _told(gpu.supply(node, facts, asked.gpu))


def _gpu_packages(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    """Whether it can be told how the GPU unit changes; a node is drained by that."""
    del sight, asked
    if node.hardware is None or node.hardware.gpus is None:
        return _not_applicable("the inventory declares no GPU")
    expected = "installed kernels and NVIDIA packages can be read"
    if facts["gpu_packages"] is None:
        return unknown(expected, "rpm -qa failed")
    return Answer(Status.PASS, expected, f"{len(facts['gpu_packages'])} of them")


def _gpu_cuda(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del sight
    if gpu.platform(facts) not in asked.platforms:
        return _not_applicable(_NOTHING_LOCKED)
    judged = gpu.cuda(node, facts, asked.gpu)
    if judged is None:
        return _not_applicable("the node serves no image that uses GPUs")
    return _told(judged)


def _told(judged: gpu.Judged) -> Answer:
    if judged.ok is None:
        return Answer(Status.UNKNOWN, judged.expected, judged.seen, judged.action)
    return result(judged.ok, judged.expected, judged.seen, judged.action)


def _ports(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del sight, asked
    if node.inference is None:
        return _not_applicable("the node serves nothing")
    port = node.inference.port
    holders = {str(p["process"] or "") for p in facts["listening_ports"] if p["port"] == port}
    foreign = sorted(holders - ENGINE_PROCESSES.get(node.inference.engine, frozenset()))
    seen = ", ".join(name or "an unnamed process" for name in foreign or sorted(holders))
    return result(
        not foreign,
        f"port {port} is free or ours",
        seen or "free",
        f"stop what listens there (ss -ltnp 'sport = :{port}'), or set another "
        "holdfast_inference.port",
    )


def _lock(node: Node, facts: _Facts, sight: Sight, asked: Asked) -> Answer:
    del node, sight
    holder = facts["locks"]
    expected = "no other run holds the node"
    if not holder:
        return Answer(Status.PASS, expected, "free")
    run = str(holder.get("run") or "unreadable")
    seen = (
        f"held by run {run} of {holder.get('controller') or 'an unnamed controller'}"
        f" (process {holder.get('pid', '?')}): {holder.get('command') or 'no command'}"
    )
    return result(
        run in (asked.run, asked.takeover),
        expected,
        seen,
        f"wait until that run ends; if it was killed, continue it with --resume {run} or replace "
        f"its lock with --break-lock {run}",
    )


CHECKS: tuple[Check, ...] = (
    Check("reachable", "the node answers", Severity.CRITICAL, _connected),
    Check("host_key", "the host key is known", Severity.CRITICAL, _known_key),
    Check("authentication", "the user is let in", Severity.CRITICAL, _let_in),
    Check("privilege", "the user can become root", Severity.CRITICAL, _privilege),
    Check("python", "Python is new enough", Severity.CRITICAL, _python),
    Check("release", "the release is supported", Severity.CRITICAL, _release),
    Check("architecture", "the architecture is in the lock", Severity.HIGH, _architecture),
    Check("disk", "disks have room", Severity.HIGH, _disk),
    Check("memory", "the declared memory is there", Severity.HIGH, _memory),
    Check("cores", "the declared CPUs are there", Severity.MEDIUM, _cores),
    Check("clock", "the clock is near ours", Severity.HIGH, _clock),
    Check("gpus", "the declared GPUs are there", Severity.CRITICAL, _gpus),
    Check("nics", "the declared interfaces are up", Severity.HIGH, _nics),
    Check("secure_boot", "Secure Boot's state is known", Severity.LOW, _secure_boot),
    Check("gpu_supply", "the GPU driver fits the node", Severity.CRITICAL, _gpu_supply),
    Check("gpu_cuda", "the GPU driver runs the image", Severity.CRITICAL, _gpu_cuda),
    Check("gpu_packages", "the installed GPU unit can be read", Severity.HIGH, _gpu_packages),
    Check("ports", "the service's port is free", Severity.HIGH, _ports),
    Check("lock", "no other run works here", Severity.CRITICAL, _lock),
)

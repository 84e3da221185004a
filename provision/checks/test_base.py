"""The base system: release, packages, units, firewall, ports, SELinux, hardware."""

from __future__ import annotations

import fnmatch
import ipaddress
from typing import Any

from provision.checks import firewall
from provision.checks.applies import (
    where_hardware_is_declared,
    where_it_has_selinux,
    where_packages_are_locked,
    where_the_firewall_is_on,
)
from provision.checks.declaration import Expected
from provision.checks.declare import CouldNotLook, Looker, Seen, check, listed
from provision.checks.packages import assert_locked, installed, made_by, release_of, signer
from provision.supply.gpu.packages import KERNELS
from provision.verdict.model import Severity

_UP = "run `holdfast up` for this node"


@check(
    "base.release",
    title="The node runs a supported release that the stack lock knows",
    expected="Enterprise Linux 9 or 10 with packages for it in the stack lock",
    severity=Severity.HIGH,
    action="install a supported release, or lock packages for this one",
    clears="/etc/os-release names EL 9 or 10 and the lock holds packages for it",
    looks=("packages",),
)
def test_release(look: Looker, seen: Seen, expected: Expected) -> None:
    """What the node says it is."""
    release = look("packages", "release")
    el, arch = release_of(look)
    seen(f"{release.get('PRETTY_NAME', '?')}, {arch}, kernel {release.get('KERNEL', '?')}")
    family = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    assert "rhel" in family, f"{release.get('PRETTY_NAME', '?')} is no Enterprise Linux"
    assert el in ("9", "10"), f"EL {el} is not supported"
    assert expected.packages_for(el, arch), f"the lock holds nothing for EL {el} on {arch}"


@check(
    "base.packages",
    title="The packages of the base role are installed as locked",
    expected="the name, epoch, version, release and architecture of the stack lock",
    severity=Severity.HIGH,
    action=_UP,
    clears="every package of the role stands in the rpm database exactly as locked",
    looks=("packages",),
    applies=where_packages_are_locked("base"),
)
def test_packages(look: Looker, seen: Seen, expected: Expected) -> None:
    """The rpm database against the lock."""
    assert_locked("base", look, seen, expected)


@check(
    "base.packages_locked",
    title="Nothing that the stack lock names is installed in another version",
    expected="one version of each locked package, the locked one",
    severity=Severity.MEDIUM,
    action="find what updated it, then " + _UP,
    clears="every installed package whose name is locked has the locked version",
    looks=("packages",),
)
def test_packages_locked(look: Looker, seen: Seen, expected: Expected) -> None:
    """Dependencies too: a newer library under a locked program is a different stack."""
    el, arch = release_of(look)
    locked: dict[str, set[str]] = {}
    for package in expected.packages_for(el, arch):
        locked.setdefault(package.name, set()).add(package.nevra)
    present = installed(look)
    both = sorted(set(locked) & set(present))
    seen(f"{len(both)} of {len(locked)} locked packages are installed, all as locked")
    wrong = [
        f"{x['nevra']} instead of {listed(sorted(locked[name]))}"
        for name in both
        for x in present[name]
        if x["nevra"] not in locked[name] and not _way_back(name, present, locked)
    ]
    assert not wrong, listed(wrong)


def _way_back(
    name: str, present: dict[str, list[dict[str, Any]]], locked: dict[str, set[str]]
) -> bool:
    """Whether a package is a kernel's that may lie beside the locked one, which is there as well.

    `gpu_stack.lock` says which kernels those are, and that none of them runs.
    """
    like = any(fnmatch.fnmatchcase(name, pattern) for pattern in KERNELS)
    return like and any(x["nevra"] in locked[name] for x in present[name])


@check(
    "base.packages_signed",
    title="The key of the stack lock signed every locked package",
    expected="each installed package that a role asked for carries its locked key's signature",
    severity=Severity.CRITICAL,
    action="find where the package came from, remove it, then " + _UP,
    clears="the signatures in the rpm database are by the locked keys",
    looks=("packages",),
)
def test_packages_signed(look: Looker, seen: Seen, expected: Expected) -> None:
    """Signatures as the rpm database keeps them."""
    el, arch = release_of(look)
    present = installed(look)
    wanted = [p for p in expected.packages_for(el, arch) if p.roles and p.name in present]
    if not wanted:
        raise CouldNotLook("none of the locked packages is installed")
    wrong = []
    for package in wanted:
        for found in present[package.name]:
            who = signer(found["signature"])
            if not made_by(who, package.fingerprint):
                wrong.append(f"{found['nevra']} ({f'signed by {who}' if who else 'unsigned'})")
    seen(f"{len(wanted)} packages, all signed by their locked keys")
    assert not wrong, "not by the locked key: " + listed(wrong)


@check(
    "base.packages_intact",
    title="The files of the locked packages are as they were packed",
    expected="rpm finds no difference in size, digest, mode, owner or link; configuration aside",
    severity=Severity.HIGH,
    action="find who changed the files; reinstall the package",
    clears="`rpm -V` is silent about the packages that the roles asked for",
    looks=("packages",),
)
def test_packages_intact(look: Looker, seen: Seen, expected: Expected) -> None:
    """Programs replaced in place, which a version number does not show."""
    el, arch = release_of(look)
    names = {p.name for p in expected.packages_for(el, arch) if p.roles}
    present = sorted(names & set(installed(look)))
    if not present:
        raise CouldNotLook("none of the locked packages is installed")
    differs = look("packages", "differs")
    seen(f"rpm compared {len(present)} packages and found no difference")
    assert not differs, listed([" ".join(line.split()) for line in differs])


@check(
    "base.units",
    title="No unit has failed",
    expected="systemd lists no failed unit",
    severity=Severity.MEDIUM,
    action="look at `systemctl status` and the journal of the units named",
    clears="`systemctl list-units --failed` is empty",
    looks=("base",),
)
def test_units(look: Looker, seen: Seen, expected: Expected) -> None:
    """What systemd holds as failed."""
    del expected
    failed = look("base", "failed")
    seen("no failed unit")
    assert not failed, "failed: " + listed(failed)


@check(
    "base.journal",
    title="The journal outlives a restart",
    expected="journald writes below /var/log/journal",
    severity=Severity.MEDIUM,
    action=_UP,
    clears="journald holds a file below /var/log/journal open",
    looks=("base",),
)
def test_journal(look: Looker, seen: Seen, expected: Expected) -> None:
    """Where the running journald writes, whatever its configuration says."""
    del expected
    found = look("base", "journal")
    seen(listed(found) or "journald holds no journal open")
    kept = [path for path in found if path.startswith("/var/log/journal/")]
    assert kept, listed(found) or "journald holds no journal open"


@check(
    "base.record",
    title="The node records that it was built by this stack lock",
    expected=lambda e: f"rack {e.rack}, stack lock {e.stack_sha256[:12]}",
    severity=Severity.MEDIUM,
    action="run `holdfast up`: the stack lock changed since, or another rack's run was here",
    clears="/etc/holdfast/stack.json names this rack and the digest of this lock",
    looks=("base",),
)
def test_record(look: Looker, seen: Seen, expected: Expected) -> None:
    """A node that was built by another lock may hold the right packages by chance only."""
    found = look("base", "record")
    state = f"rack {found.get('rack')}, stack lock {str(found.get('stack_sha256'))[:12]}"
    seen(state)
    assert found.get("rack") == expected.rack, state
    assert found.get("stack_sha256") == expected.stack_sha256, state


@check(
    "base.reboot",
    title="No reboot is waiting",
    expected="nothing in /run/holdfast/reboot-required",
    severity=Severity.MEDIUM,
    action="reboot the node when its work allows, or run `holdfast up`, which does",
    clears="the node was restarted after the change that asked for it",
    looks=("base",),
)
def test_reboot(look: Looker, seen: Seen, expected: Expected) -> None:
    """What roles asked for and did not get yet."""
    del expected
    asked = look("base", "reboot")
    seen("no reboot was asked for")
    assert not asked, listed([f"{name}: {' '.join(why.split())}" for name, why in asked.items()])


@check(
    "base.firewall",
    title="The packet filter is on and closed by default",
    expected="firewalld runs, starts at boot, and the kernel refuses what no rule lets in",
    severity=Severity.HIGH,
    action=_UP,
    clears="firewalld is active and enabled, and the input hook ends in a refusal",
    looks=("base",),
    applies=where_the_firewall_is_on,
)
def test_firewall(look: Looker, seen: Seen, expected: Expected) -> None:
    """The unit, and the rules that the kernel really holds."""
    del expected
    found = look("base", "firewall")
    unit = found["unit"]
    state = f"firewalld is {unit.get('ActiveState')} and {unit.get('UnitFileState')}"
    seen(f"{state}; the kernel's input hook refuses by default")
    assert unit.get("ActiveState") == "active", state
    assert unit.get("UnitFileState") == "enabled", state
    ruleset = found["ruleset"]
    assert firewall.closed_by_default(ruleset), "the kernel accepts what no rule refuses"
    assert not firewall.open_to_all(ruleset), "a rule lets everything in from anywhere"


@check(
    "base.firewall_openings",
    title="The packet filter lets in what is declared and nothing else",
    expected=lambda e: listed(sorted(_declared(e))),
    severity=Severity.HIGH,
    action=_UP,
    clears="the kernel's rules accept the declared ports, from the declared networks only",
    looks=("base",),
    applies=where_the_firewall_is_on,
)
def test_firewall_openings(look: Looker, seen: Seen, expected: Expected) -> None:
    """Ports and sources from the kernel's rules."""
    ruleset = look("base", "firewall")["ruleset"]
    assert firewall.closed_by_default(ruleset), "everything: the kernel refuses nothing"
    found = firewall.openings(ruleset)
    merged: dict[str, set[str]] = {}
    for opening in found:
        merged.setdefault(f"{opening.port}/{opening.protocol}", set()).update(
            opening.sources or ("anywhere",)
        )
    seen(listed([str(o) for o in found]) or "nothing")
    declared = _declared(expected)
    wrong = [f"{name} is open and not declared" for name in sorted(set(merged) - set(declared))]
    wrong += [f"{name} is declared and closed" for name in sorted(set(declared) - set(merged))]
    for name in sorted(set(merged) & set(declared)):
        extra = merged[name] - declared[name]
        if extra:
            wrong.append(f"{name} is open from {listed(sorted(extra))}")
        lacking = declared[name] - merged[name]
        if lacking and "anywhere" not in merged[name]:
            wrong.append(f"{name} is closed to {listed(sorted(lacking))}")
    assert not wrong, "; ".join(wrong)


def _declared(expected: Expected) -> dict[str, set[str]]:
    found = {f"{expected.ssh_port}/tcp": {"anywhere"}}
    if expected.serving is not None:
        sources = {str(ipaddress.ip_network(n)) for n in expected.serving.allow_from}
        found[f"{expected.serving.port}/tcp"] = sources
    return found


@check(
    "base.listeners",
    title="Nothing listens on the network that was not declared",
    expected=lambda e: "TCP ports " + listed([p.split("/")[0] for p in sorted(_declared(e))]),
    severity=Severity.MEDIUM,
    action="stop what listens, or declare it",
    clears="only sshd and the declared inference port listen beyond loopback",
    looks=("base",),
)
def test_listeners(look: Looker, seen: Seen, expected: Expected) -> None:
    """Sockets, whatever the packet filter does with them."""
    allowed = {int(name.split("/")[0]) for name in _declared(expected)}
    far = [x for x in look("base", "listeners") if not _loopback(x["address"])]
    shown = sorted({f"{x['port']} ({', '.join(x['names']) or 'unknown'})" for x in far})
    seen("listening: " + listed(shown))
    wrong = sorted(
        {f"{x['port']} ({', '.join(x['names'])})" for x in far if x["port"] not in allowed}
    )
    assert not wrong, "not declared: " + listed(wrong)


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # `*` stands for every address
        return False


@check(
    "base.selinux",
    title="SELinux is enforcing, now and after the next boot",
    expected="Enforcing, and SELINUX=enforcing in its configuration",
    severity=Severity.HIGH,
    action="find why it was turned off; set it to enforcing and relabel",
    clears="the kernel enforces and /etc/selinux/config says so",
    looks=("base",),
    applies=where_it_has_selinux,
)
def test_selinux(look: Looker, seen: Seen, expected: Expected) -> None:
    """The kernel's mode, and the one it will start with."""
    del expected
    found = look("base", "selinux")
    state = f"{found['mode']}, configured {found.get('configured') or 'absent'}"
    seen(state)
    assert found["mode"] == "Enforcing", state
    assert found.get("configured") == "enforcing", state


def _wanted_hardware(expected: Expected) -> str:
    machine = expected.machine
    if machine is None:
        return "nothing is declared"
    parts = []
    if machine.memory_gib is not None:
        parts.append(f"{machine.memory_gib} GiB of memory")
    if machine.cores is not None:
        parts.append(f"{machine.cores} cores")
    if machine.gpus:
        parts.append(f"{machine.gpus} GPUs {machine.gpu_id}")
    return ", ".join(parts) or "nothing in particular"


@check(
    "base.hardware",
    title="The node has the hardware that the inventory declares",
    expected=_wanted_hardware,
    severity=Severity.HIGH,
    action="look at the machine: a part is missing, dead, or never was there",
    clears="memory, cores and GPUs on the PCI bus are at least what is declared",
    looks=("base",),
    applies=where_hardware_is_declared,
)
def test_hardware(look: Looker, seen: Seen, expected: Expected) -> None:
    """What the kernel sees, against the inventory and never against yesterday."""
    machine = expected.machine
    assert machine is not None
    found = look("base", "hardware")
    gib = found["memory_kib"] / (1 << 20)
    gpus = [g for g in found["gpus"] if g["id"] == machine.gpu_id]
    seen(
        f"{gib:.1f} GiB, {found['cores']} cores, {len(gpus)} GPUs of {machine.gpu_id or 'no'} kind"
    )
    wrong = []
    # Firmware and kernel keep a little of the memory that was bought.
    if machine.memory_gib is not None and gib < machine.memory_gib * 0.95:
        wrong.append(f"{gib:.1f} GiB of memory, not {machine.memory_gib}")
    if machine.cores is not None and found["cores"] < machine.cores:
        wrong.append(f"{found['cores']} cores, not {machine.cores}")
    if len(gpus) < machine.gpus:
        wrong.append(f"{len(gpus)} GPUs {machine.gpu_id}, not {machine.gpus}")
    assert not wrong, "; ".join(wrong)

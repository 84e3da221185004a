"""Inference: how the running container is confined, as the kernel and podman see it."""

from __future__ import annotations

from provision.checks.applies import serving, where_it_serves, where_it_serves_with_selinux
from provision.checks.container import LOOKS, processes
from provision.checks.declaration import HIDDEN, Expected
from provision.checks.declare import CouldNotLook, Looker, Seen, check, listed
from provision.verdict.model import Severity

_UP = "run `holdfast up` for this node"
_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


@check(
    "inference.read_only_root",
    title="The container cannot write to its own root",
    expected="the kernel has the root of every process mounted read-only",
    severity=Severity.HIGH,
    action=_UP,
    clears="/proc/PID/mountinfo says `ro` for `/`, and podman says read-only",
    looks=LOOKS,
    applies=where_it_serves,
)
def test_read_only_root(look: Looker, seen: Seen, expected: Expected) -> None:
    """The kernel's word, then podman's."""
    del expected
    for process in processes(look):
        root = [m for m in process["mounts"] if m["at"] == "/"]
        assert root, f"{process['name']} shows no root mount"
        assert root[-1]["read_only"], f"{process['name']} has its root mounted for writing"
    seen("the root of every process is read-only")
    assert look("inference", "container")["read_only"], "podman made the root writable"


@check(
    "inference.mounts",
    title="Of the node, the container can write nothing",
    expected="every bind mount and volume is read-only; only memory is writable",
    severity=Severity.HIGH,
    action=_UP,
    clears="no mount of the container but tmpfs is writable, by the kernel's word",
    looks=LOOKS,
    applies=where_it_serves,
)
def test_mounts(look: Looker, seen: Seen, expected: Expected) -> None:
    """Podman's list of mounts, each as the kernel holds it; the model must be among them."""
    mounts = look("inference", "container")["mounts"]
    kernel = {m["at"]: m for m in processes(look)[0]["mounts"]}
    shown = [f"{m['source'] or m['type']} on {m['destination']}" for m in mounts]
    seen(listed(shown))
    wrong = [
        f"{m['source']} on {m['destination']}"
        for m in mounts
        if m["type"] in ("bind", "volume")
        and (m["writable"] or not kernel.get(m["destination"], {}).get("read_only", False))
    ]
    assert not wrong, "writable: " + listed(wrong)
    directory = serving(expected).directory
    sources = [m["source"].rstrip("/") for m in mounts]
    assert directory in sources, f"{directory} is not mounted; mounted: {listed(shown)}"


@check(
    "inference.no_capabilities",
    title="No process of the container has any capability, nor can get one",
    expected="all five capability sets empty",
    severity=Severity.CRITICAL,
    action=_UP,
    clears="/proc/PID/status says 0 for every capability set of every process",
    looks=LOOKS,
    applies=where_it_serves,
)
def test_no_capabilities(look: Looker, seen: Seen, expected: Expected) -> None:
    """Every process, every set."""
    del expected
    wrong = [
        f"{p['name']} {name}={p[name]}"
        for p in processes(look)
        for name in _CAPABILITIES
        if int(p[name], 16) != 0
    ]
    seen(f"empty for {listed([p['name'] for p in processes(look)])}")
    assert not wrong, listed(wrong)
    assert not look("inference", "container")["privileged"], "podman runs it privileged"


@check(
    "inference.no_new_privileges",
    title="No process of the container can gain privileges",
    expected="NoNewPrivs 1, and a system call filter",
    severity=Severity.HIGH,
    action=_UP,
    clears="/proc/PID/status says NoNewPrivs: 1 and Seccomp: 2 for every process",
    looks=LOOKS,
    applies=where_it_serves,
)
def test_no_new_privileges(look: Looker, seen: Seen, expected: Expected) -> None:
    """Every process."""
    del expected
    wrong = [
        f"{p['name']} NoNewPrivs={p['NoNewPrivs']} Seccomp={p['Seccomp']}"
        for p in processes(look)
        if p["NoNewPrivs"] != "1" or p["Seccomp"] != "2"
    ]
    seen(f"set for {listed([p['name'] for p in processes(look)])}")
    assert not wrong, listed(wrong)


@check(
    "inference.not_root",
    title="No process of the container is the node's root",
    expected="every user id of every process is above 0, as the node counts",
    severity=Severity.HIGH,
    action=_UP,
    clears="/proc/PID/status names no user id 0",
    looks=LOOKS,
    applies=where_it_serves,
)
def test_not_root(look: Looker, seen: Seen, expected: Expected) -> None:
    """User ids outside the container's own name space."""
    del expected
    found = processes(look)
    seen(listed([f"{p['name']} is {p['uid'][0]}" for p in found]))
    wrong = [f"{p['name']} is {p['uid']}" for p in found if 0 in p["uid"]]
    assert not wrong, listed(wrong)


@check(
    "inference.label_kept",
    title="Nothing turns off the container's SELinux label",
    expected="no label=disable, and no unconfined system calls",
    severity=Severity.HIGH,
    action=_UP,
    clears="podman's security options hold neither",
    looks=LOOKS,
    applies=where_it_serves,
)
def test_label_kept(look: Looker, seen: Seen, expected: Expected) -> None:
    """The options that podman started it with."""
    del expected
    found = look("inference", "container")["security"]
    words = look("inference", "unit").get("ExecStart", "").split()
    asked = [w for w in words if "label=disable" in w or "label:disable" in w]
    seen("options: " + (listed(found) or "none beyond the defaults"))
    wrong = [o for o in [*found, *asked] if "disable" in o or "unconfined" in o]
    assert not wrong, listed(wrong)


@check(
    "inference.selinux",
    title="SELinux confines the container",
    expected="every process has the type container_t",
    severity=Severity.HIGH,
    action="see that SELinux is enforcing and container-selinux is installed; then " + _UP,
    clears="/proc/PID/attr/current names container_t",
    looks=LOOKS,
    applies=where_it_serves_with_selinux,
)
def test_selinux(look: Looker, seen: Seen, expected: Expected) -> None:
    """The label that the kernel holds."""
    del expected
    found = processes(look)
    seen(listed([f"{p['name']} {p['label'] or 'no label'}" for p in found]))
    wrong = [f"{p['name']} {p['label'] or 'no label'}" for p in found if not _confined(p["label"])]
    assert not wrong, listed(wrong)


def _confined(label: str) -> bool:
    parts = label.split(":")
    return len(parts) > 2 and parts[2] == "container_t"


@check(
    "inference.secrets_hidden",
    title="Key and private key stand nowhere but in their secret",
    expected="not in a command line, an environment, a unit or what podman tells",
    severity=Severity.CRITICAL,
    action="change the secret at once: it was readable; then " + _UP,
    clears="the values are found in none of these places",
    looks=LOOKS,
    applies=where_it_serves,
)
def test_secrets_hidden(look: Looker, seen: Seen, expected: Expected) -> None:
    """Searched for on the node; the values stay there."""
    del expected
    found = look("inference", "leaks")
    if sorted(found["secrets"]) != sorted(HIDDEN):
        raise CouldNotLook(f"searched only for {listed(found['secrets']) or 'nothing'}")
    seen(f"{len(HIDDEN)} secrets searched for in {found['searched']} places, found in none")
    assert not found["found"], listed(found["found"])

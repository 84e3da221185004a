"""Inference: the running container as the kernel and podman see it."""

from __future__ import annotations

import ipaddress
from typing import Any

from provision.checks.applies import serving, where_it_serves, where_it_serves_with_a_kernel
from provision.checks.declaration import HIDDEN, UNIT, Expected
from provision.checks.declare import CouldNotLook, Looker, Seen, check, listed
from provision.checks.packages import assert_locked, release_of
from provision.verdict.model import Severity

_UP = "run `holdfast up` for this node"
_LOOKS = ("inference",)
_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def _processes(look: Looker) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = look("inference", "processes")
    if not found:
        raise CouldNotLook("the container has no process")
    return found


@check(
    "inference.packages",
    title="The packages of the inference role are installed as locked",
    expected="the name, epoch, version, release and architecture of the stack lock",
    severity=Severity.HIGH,
    action=_UP,
    clears="every package of the role stands in the rpm database exactly as locked",
    looks=("packages",),
    applies=where_it_serves,
)
def test_packages(look: Looker, seen: Seen, expected: Expected) -> None:
    """The rpm database against the lock."""
    assert_locked("inference", look, seen, expected)


@check(
    "inference.service",
    title="The inference unit runs and starts at boot",
    expected=f"{UNIT} active, wanted at boot, restarted when it fails, as its file says now",
    severity=Severity.HIGH,
    action=f"look at `systemctl status {UNIT}` and its journal",
    clears=f"systemd says that {UNIT} is active, generated, and restarts on failure",
    looks=_LOOKS,
    applies=where_it_serves,
)
def test_service(look: Looker, seen: Seen, expected: Expected) -> None:
    """The unit's state. A generated unit that nothing wants has no line in WantedBy."""
    del expected
    unit = look("inference", "unit")
    state = (
        f"{unit.get('ActiveState')}, {unit.get('UnitFileState') or 'no unit file'}, "
        f"restart {unit.get('Restart')}, restarted {unit.get('NRestarts')} times"
    )
    seen(state)
    assert unit.get("ActiveState") == "active", state
    assert unit.get("UnitFileState") in ("generated", "enabled"), state
    assert unit.get("WantedBy"), f"{state}, wanted by nothing at boot"
    assert unit.get("Restart") in ("on-failure", "always"), state
    assert unit.get("NeedDaemonReload") != "yes", "the unit's file is newer than the loaded unit"


@check(
    "inference.healthy",
    title="The container's own health check passes",
    expected="healthy",
    severity=Severity.HIGH,
    action="look at `podman healthcheck run holdfast-inference` and the unit's journal",
    clears="podman says healthy",
    looks=_LOOKS,
    applies=where_it_serves,
)
def test_healthy(look: Looker, seen: Seen, expected: Expected) -> None:
    """What podman last found."""
    del expected
    health = look("inference", "container")["health"] or "no health check is declared"
    seen(health)
    assert health == "healthy", health


@check(
    "inference.image",
    title="The container runs the locked image",
    expected=lambda e: listed(sorted(e.serving.digests.values())) if e.serving else "",
    severity=Severity.CRITICAL,
    action=_UP,
    clears="the digest of the running container's image is that of the stack lock",
    looks=("inference", "packages"),
    applies=where_it_serves,
)
def test_image(look: Looker, seen: Seen, expected: Expected) -> None:
    """The running container's image, not the unit's line."""
    _, arch = release_of(look)
    wanted = serving(expected).digests.get(arch)
    assert wanted, f"the stack lock holds no image {serving(expected).image} for {arch}"
    found = look("inference", "container")["image_digests"]
    seen(listed(found))
    assert wanted in found, f"runs {listed(found) or 'an image without a digest'}"


@check(
    "inference.never_pulls",
    title="Starting the unit can never pull an image",
    expected="--pull=never in what systemd runs",
    severity=Severity.HIGH,
    action=_UP,
    clears="systemd's ExecStart holds --pull=never and an image by digest",
    looks=_LOOKS,
    applies=where_it_serves,
)
def test_never_pulls(look: Looker, seen: Seen, expected: Expected) -> None:
    """What systemd would run, after generator and drop-ins."""
    del expected
    words = look("inference", "unit").get("ExecStart", "").split()
    pulls = _option(words, "--pull")
    named = [w for w in words if "@sha256:" in w or w.startswith("sha256:")]
    seen(f"--pull={pulls or 'not said'}, image {listed(named[:1]) or 'not by digest'}")
    assert pulls == "never", f"--pull={pulls or 'not said'}"
    assert named, "the unit names its image without a digest"


def _option(words: list[str], name: str) -> str | None:
    """An option's value, said with `=` or as the next word; the last one counts."""
    found = None
    for number, word in enumerate(words):
        if word.startswith(name + "="):
            found = word.partition("=")[2]
        elif word == name and number + 1 < len(words):
            found = words[number + 1]
    return found


@check(
    "inference.read_only_root",
    title="The container cannot write to its own root",
    expected="the kernel has the root of every process mounted read-only",
    severity=Severity.HIGH,
    action=_UP,
    clears="/proc/PID/mountinfo says `ro` for `/`, and podman says read-only",
    looks=_LOOKS,
    applies=where_it_serves,
)
def test_read_only_root(look: Looker, seen: Seen, expected: Expected) -> None:
    """The kernel's word, then podman's."""
    del expected
    for process in _processes(look):
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
    looks=_LOOKS,
    applies=where_it_serves,
)
def test_mounts(look: Looker, seen: Seen, expected: Expected) -> None:
    """Podman's list of mounts, each as the kernel holds it; the model must be among them."""
    mounts = look("inference", "container")["mounts"]
    kernel = {m["at"]: m for m in _processes(look)[0]["mounts"]}
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
    looks=_LOOKS,
    applies=where_it_serves,
)
def test_no_capabilities(look: Looker, seen: Seen, expected: Expected) -> None:
    """Every process, every set."""
    del expected
    wrong = [
        f"{p['name']} {name}={p[name]}"
        for p in _processes(look)
        for name in _CAPABILITIES
        if int(p[name], 16) != 0
    ]
    seen(f"empty for {listed([p['name'] for p in _processes(look)])}")
    assert not wrong, listed(wrong)
    assert not look("inference", "container")["privileged"], "podman runs it privileged"


@check(
    "inference.no_new_privileges",
    title="No process of the container can gain privileges",
    expected="NoNewPrivs 1, and a system call filter",
    severity=Severity.HIGH,
    action=_UP,
    clears="/proc/PID/status says NoNewPrivs: 1 and Seccomp: 2 for every process",
    looks=_LOOKS,
    applies=where_it_serves,
)
def test_no_new_privileges(look: Looker, seen: Seen, expected: Expected) -> None:
    """Every process."""
    del expected
    wrong = [
        f"{p['name']} NoNewPrivs={p['NoNewPrivs']} Seccomp={p['Seccomp']}"
        for p in _processes(look)
        if p["NoNewPrivs"] != "1" or p["Seccomp"] != "2"
    ]
    seen(f"set for {listed([p['name'] for p in _processes(look)])}")
    assert not wrong, listed(wrong)


@check(
    "inference.not_root",
    title="No process of the container is the node's root",
    expected="every user id of every process is above 0, as the node counts",
    severity=Severity.HIGH,
    action=_UP,
    clears="/proc/PID/status names no user id 0",
    looks=_LOOKS,
    applies=where_it_serves,
)
def test_not_root(look: Looker, seen: Seen, expected: Expected) -> None:
    """User ids outside the container's own name space."""
    del expected
    found = _processes(look)
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
    looks=_LOOKS,
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
    looks=_LOOKS,
    applies=where_it_serves_with_a_kernel,
)
def test_selinux(look: Looker, seen: Seen, expected: Expected) -> None:
    """The label that the kernel holds."""
    del expected
    found = _processes(look)
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
    looks=_LOOKS,
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


@check(
    "inference.port",
    title="The container listens on the declared port and on no other",
    expected=lambda e: f"TCP port {e.serving.port}" if e.serving else "",
    severity=Severity.HIGH,
    action=f"look at the journal of {UNIT}: the port may be taken by another process",
    clears="a process of the container, and no other, listens there",
    looks=_LOOKS,
    applies=where_it_serves,
)
def test_port(look: Looker, seen: Seen, expected: Expected) -> None:
    """Sockets and who holds them."""
    port = serving(expected).port
    own = {p["pid"] for p in _processes(look)}
    sockets = look("inference", "listeners")
    there = [x for x in sockets if x["port"] == port]
    seen(listed([f"{x['address']}:{x['port']} by {', '.join(x['names'])}" for x in there]))
    assert there, f"nothing listens on port {port}"
    strangers = [x for x in there if not own & set(x["pids"])]
    assert not strangers, "held by " + listed(sorted({n for x in strangers for n in x["names"]}))
    assert any(not _loopback(x["address"]) for x in there), f"port {port} is open on loopback only"
    others = sorted({x["port"] for x in sockets if own & set(x["pids"])} - {port})
    assert not others, "also on " + listed([str(p) for p in others])


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # `*` stands for every address
        return False


@check(
    "inference.bounded",
    title="Answers, context and requests at once are bounded as declared",
    expected=lambda e: (
        f"{e.serving.max_tokens} tokens an answer, {e.serving.context} of context, "
        f"{e.serving.parallel} at once"
        if e.serving
        else ""
    ),
    severity=Severity.MEDIUM,
    action=_UP,
    clears="the arguments of the running engine hold the declared bounds",
    looks=_LOOKS,
    applies=where_it_serves,
)
def test_bounded(look: Looker, seen: Seen, expected: Expected) -> None:
    """The arguments of the running process."""
    want = serving(expected)
    engine = [p for p in _processes(look) if "--port" in p["arguments"]]
    assert engine, "no process of the container is the engine"
    words = engine[0]["arguments"]
    found = [
        _option(words, "-n") or _option(words, "--predict") or _option(words, "--n-predict"),
        _option(words, "-c") or _option(words, "--ctx-size"),
        _option(words, "-np") or _option(words, "--parallel"),
    ]
    state = f"{found[0]} tokens, {found[1]} of context, {found[2]} at once"
    seen(state)
    wanted = [want.max_tokens, want.context * want.parallel, want.parallel]
    assert found == [str(x) for x in wanted], state


@check(
    "inference.model_checked",
    title="The model's digests are checked before every start",
    expected="ExecStartPre checks the model and stops the start when it differs",
    severity=Severity.HIGH,
    action=_UP,
    clears="systemd runs the model's check before the container, and does not ignore its result",
    looks=_LOOKS,
    applies=where_it_serves,
)
def test_model_checked(look: Looker, seen: Seen, expected: Expected) -> None:
    """What systemd would run, after generator and drop-ins."""
    lines = look("inference", "unit").get("ExecStartPre", "").splitlines()
    about = [x for x in lines if serving(expected).model in x]
    seen(listed(about) or "nothing is run before the start")
    assert about, "no command before the start names the model"
    kept = [x for x in about if "ignore_errors=no" in x]
    assert kept, "the result of the check is ignored"

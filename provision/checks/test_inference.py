"""Inference: the unit, the image, the port, the bounds and the model of what serves."""

from __future__ import annotations

import ipaddress

from provision.checks.applies import serving, where_it_serves, where_it_serves_with_packages
from provision.checks.container import LOOKS, option, processes
from provision.checks.declaration import MANIFESTS, UNIT, Expected
from provision.checks.declare import Looker, Seen, check, listed
from provision.checks.packages import assert_locked, release_of
from provision.verdict.model import Severity

_UP = "run `holdfast up` for this node"


@check(
    "inference.packages",
    title="The packages of the inference role are installed as locked",
    expected="the name, epoch, version, release and architecture of the stack lock",
    severity=Severity.HIGH,
    action=_UP,
    clears="every package of the role stands in the rpm database exactly as locked",
    looks=("packages",),
    applies=where_it_serves_with_packages("inference"),
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
    looks=LOOKS,
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
    looks=LOOKS,
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
    looks=LOOKS,
    applies=where_it_serves,
)
def test_never_pulls(look: Looker, seen: Seen, expected: Expected) -> None:
    """What systemd would run, after generator and drop-ins."""
    del expected
    words = look("inference", "unit").get("ExecStart", "").split()
    pulls = option(words, "--pull")
    named = [w for w in words if "@sha256:" in w or w.startswith("sha256:")]
    seen(f"--pull={pulls or 'not said'}, image {listed(named[:1]) or 'not by digest'}")
    assert pulls == "never", f"--pull={pulls or 'not said'}"
    assert named, "the unit names its image without a digest"


@check(
    "inference.port",
    title="The container listens on the declared port and on no other",
    expected=lambda e: f"TCP port {e.serving.port}" if e.serving else "",
    severity=Severity.HIGH,
    action=f"look at the journal of {UNIT}: the port may be taken by another process",
    clears="a process of the container, and no other, listens there",
    looks=LOOKS,
    applies=where_it_serves,
)
def test_port(look: Looker, seen: Seen, expected: Expected) -> None:
    """Sockets and who holds them."""
    port = serving(expected).port
    own = {p["pid"] for p in processes(look)}
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
    looks=LOOKS,
    applies=where_it_serves,
)
def test_bounded(look: Looker, seen: Seen, expected: Expected) -> None:
    """The arguments of the running process."""
    want = serving(expected)
    engine = [p for p in processes(look) if "--port" in p["arguments"]]
    assert engine, "no process of the container is the engine"
    words = engine[0]["arguments"]
    found = [
        option(words, "-n", "--predict", "--n-predict"),
        option(words, "-c", "--ctx-size"),
        option(words, "-np", "--parallel"),
    ]
    state = f"{found[0]} tokens, {found[1]} of context, {found[2]} at once"
    seen(state)
    wanted = [want.max_tokens, want.context * want.parallel, want.parallel]
    assert found == [str(x) for x in wanted], state


@check(
    "inference.model_checked",
    title="The model's digests are checked before every start",
    expected="ExecStartPre checks all files by the locked digests, and can stop the start",
    severity=Severity.HIGH,
    action=_UP,
    clears="systemd runs the model's check before the container, and does not ignore its result",
    looks=LOOKS,
    applies=where_it_serves,
)
def test_model_checked(look: Looker, seen: Seen, expected: Expected) -> None:
    """What systemd would run, after drop-ins, and the digests that it would use."""
    want = serving(expected)
    manifest = f"{MANIFESTS}/{want.model}.sha256"
    lines = look("inference", "unit").get("ExecStartPre", "").splitlines()
    about = [x for x in lines if manifest in x.split() and "sha256sum" in x and "--check" in x]
    assert about, f"before the start nothing checks {manifest}"
    assert "ignore_errors=no" in about[-1], "the result of the check is ignored"
    told = dict(reversed(x.split(None, 1)) for x in look("inference", "manifest").splitlines() if x)
    wanted = {f"{want.directory}/{f.path}": f.sha256 for f in want.files}
    seen(f"{manifest} is checked: {listed(sorted(told))}")
    assert {k.lstrip("*"): v for k, v in told.items()} == wanted, f"{manifest} says {told}"

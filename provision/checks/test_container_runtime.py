"""The container runtime: podman as locked, quadlet whole, and no way to pull by surprise."""

from __future__ import annotations

from provision.checks.applies import serving, where_it_serves, where_packages_are_locked
from provision.checks.declaration import CONTAINER, Expected
from provision.checks.declare import Looker, Seen, check, listed
from provision.checks.packages import assert_locked, release_of
from provision.verdict.model import Severity

_UP = "run `holdfast up` for this node"


@check(
    "container_runtime.packages",
    title="The packages of the container runtime are installed as locked",
    expected="the name, epoch, version, release and architecture of the stack lock",
    severity=Severity.HIGH,
    action=_UP,
    clears="every package of the role stands in the rpm database exactly as locked",
    looks=("packages",),
    applies=where_packages_are_locked("container_runtime"),
)
def test_packages(look: Looker, seen: Seen, expected: Expected) -> None:
    """The rpm database against the lock."""
    assert_locked("container_runtime", look, seen, expected)


@check(
    "container_runtime.podman",
    title="podman works",
    expected="podman describes its host, as root",
    severity=Severity.HIGH,
    action="run `podman info` on the node and mend what it says",
    clears="`podman info` answers",
    looks=("container_runtime",),
)
def test_podman(look: Looker, seen: Seen, expected: Expected) -> None:
    """A runtime that is installed and broken serves nothing."""
    del expected
    found = look("container_runtime", "podman")
    state = f"podman {found['version']}, {found['runtime']}, storage {found['driver']}"
    seen(state)
    assert not found["rootless"], f"{state}, without privilege"


@check(
    "container_runtime.no_search",
    title="A short image name is never looked up in a registry",
    expected="no unqualified-search registry",
    severity=Severity.MEDIUM,
    action=_UP,
    clears="podman's search list is empty",
    looks=("container_runtime",),
)
def test_no_search(look: Looker, seen: Seen, expected: Expected) -> None:
    """A short name that a registry may answer is somebody else's image."""
    del expected
    found = look("container_runtime", "podman")["search"]
    seen("podman searches no registry")
    assert not found, "podman searches " + listed(found)


@check(
    "container_runtime.trust",
    title="podman accepts no image that nobody loaded on purpose",
    expected="the default of the policy is to reject",
    severity=Severity.HIGH,
    action=_UP,
    clears="the policy that podman reads as root rejects by default, and accepts no registry",
    looks=("container_runtime",),
)
def test_trust(look: Looker, seen: Seen, expected: Expected) -> None:
    """The policy that root's podman reads."""
    del expected
    found = look("container_runtime", "policy")
    default = [str(rule.get("type")) for rule in found["policy"].get("default", [])]
    seen(f"{found['path']} has the default {listed(default) or 'none'}")
    assert default == ["reject"], f"{found['path']} has the default {listed(default) or 'none'}"
    registries = found["policy"].get("transports", {}).get("docker", {})
    open_to = [
        name or "every registry"
        for name, rules in registries.items()
        if any(rule.get("type") == "insecureAcceptAnything" for rule in rules)
    ]
    assert not open_to, f"{found['path']} accepts anything from {listed(open_to)}"


@check(
    "container_runtime.no_auto_update",
    title="No timer replaces images",
    expected="podman-auto-update.timer neither active nor enabled",
    severity=Severity.MEDIUM,
    action="run `systemctl disable --now podman-auto-update.timer`",
    clears="systemd says that the timer is inactive and disabled",
    looks=("container_runtime",),
)
def test_no_auto_update(look: Looker, seen: Seen, expected: Expected) -> None:
    """What is pinned must not move by itself."""
    del expected
    unit = look("container_runtime", "auto_update")
    state = f"the timer is {unit.get('ActiveState')}, {unit.get('UnitFileState') or 'absent'}"
    seen(state)
    assert unit.get("ActiveState") == "inactive", state
    assert unit.get("UnitFileState") != "enabled", state


@check(
    "container_runtime.units",
    title="podman makes the inference unit from its container file",
    expected=f"{CONTAINER}.container is read without complaint",
    severity=Severity.HIGH,
    action=_UP,
    clears="podman's unit generator makes a unit of every container file",
    looks=("container_runtime",),
    applies=where_it_serves,
)
def test_units(look: Looker, seen: Seen, expected: Expected) -> None:
    """The generator passes over a file with an unknown key in silence."""
    del expected
    found = look("container_runtime", "quadlet")
    seen("made: " + listed(found["units"]))
    assert f"{CONTAINER}.container" in found["files"], "found: " + (
        listed(found["files"]) or "none"
    )
    assert f"{CONTAINER}.service" in found["units"], "made: " + (listed(found["units"]) or "none")


@check(
    "container_runtime.image",
    title="The locked image is in the node's store",
    expected=lambda e: listed(sorted(e.serving.digests.values())) if e.serving else "",
    severity=Severity.HIGH,
    action=_UP,
    clears="podman lists an image with the locked digest",
    looks=("container_runtime", "packages"),
    applies=where_it_serves,
)
def test_image(look: Looker, seen: Seen, expected: Expected) -> None:
    """By digest; a name proves nothing."""
    _, arch = release_of(look)
    wanted = serving(expected).digests.get(arch)
    assert wanted, f"the stack lock holds no image {serving(expected).image} for {arch}"
    found = {d for image in look("container_runtime", "images") for d in image["digests"]}
    seen("in the store: " + listed(sorted(found)))
    assert wanted in found, "in the store: " + (listed(sorted(found)) or "nothing")

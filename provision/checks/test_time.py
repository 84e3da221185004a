"""Time: chronyd keeps the clock by the declared servers, and nothing else does."""

from __future__ import annotations

from provision.checks.applies import where_packages_are_locked, where_servers_are_declared
from provision.checks.declaration import Expected
from provision.checks.declare import Looker, Seen, check, listed
from provision.checks.packages import assert_locked
from provision.verdict.model import Severity

_UP = "run `holdfast up` for this node"


@check(
    "time.packages",
    title="The packages of the time role are installed as locked",
    expected="the name, epoch, version, release and architecture of the stack lock",
    severity=Severity.HIGH,
    action=_UP,
    clears="every package of the role stands in the rpm database exactly as locked",
    looks=("packages",),
    applies=where_packages_are_locked("time"),
)
def test_packages(look: Looker, seen: Seen, expected: Expected) -> None:
    """The rpm database against the lock."""
    assert_locked("time", look, seen, expected)


@check(
    "time.service",
    title="chronyd runs and starts at boot",
    expected="chronyd.service active and enabled",
    severity=Severity.MEDIUM,
    action=_UP,
    clears="systemd says that chronyd.service is active and enabled",
    looks=("time",),
)
def test_service(look: Looker, seen: Seen, expected: Expected) -> None:
    """The unit's state."""
    del expected
    unit = look("time", "unit")
    state = f"chronyd.service is {unit.get('ActiveState')} and {unit.get('UnitFileState')}"
    seen(state)
    assert unit.get("ActiveState") == "active", state
    assert unit.get("UnitFileState") == "enabled", state


@check(
    "time.servers",
    title="chronyd asks the declared servers and no other",
    expected=lambda e: listed(list(e.time_servers)),
    severity=Severity.HIGH,
    action=_UP,
    clears="the sources of the running chronyd are the declared servers",
    looks=("time",),
    applies=where_servers_are_declared,
)
def test_servers(look: Looker, seen: Seen, expected: Expected) -> None:
    """The running daemon's sources, not its file."""
    found = sorted(s["name"] for s in look("time", "sources"))
    seen("asks " + (listed(found) or "nobody"))
    assert found == sorted(expected.time_servers), "asks " + (listed(found) or "nobody")


@check(
    "time.synchronised",
    title="The clock is right",
    expected=lambda e: f"synchronised, offset at most {e.max_offset_s:g} s",
    severity=Severity.HIGH,
    action="look at `chronyc sources`: the servers must be reachable on UDP port 123",
    clears="chronyd follows a source and the offset is within the declared limit",
    looks=("time",),
    applies=where_servers_are_declared,
)
def test_synchronised(look: Looker, seen: Seen, expected: Expected) -> None:
    """What chronyd measured."""
    found = look("time", "tracking")
    state = f"{found['leap']}, stratum {found['stratum']}, offset {found['offset_s']:.6f} s"
    # Without a source chronyd goes on by what it last knew, and still calls that normal.
    followed = [s["name"] for s in look("time", "sources") if s["state"] == "*" and s["reach"]]
    state = f"{state}, follows {listed(followed) or 'nobody'}"
    seen(state)
    assert followed, state
    assert found["leap"] != "Not synchronised", state
    assert abs(found["offset_s"]) <= expected.max_offset_s, state


@check(
    "time.alone",
    title="Nothing but chronyd sets the clock",
    expected="no other time service is active",
    severity=Severity.MEDIUM,
    action="disable the other service",
    clears="systemd-timesyncd, ntpd and ntpsec are inactive",
    looks=("time",),
)
def test_alone(look: Looker, seen: Seen, expected: Expected) -> None:
    """Two keepers of one clock pull against each other."""
    del expected
    active = [n for n, state in look("time", "others").items() if state not in ("inactive", "")]
    seen("no other time service is active")
    assert not active, "active: " + listed(active)

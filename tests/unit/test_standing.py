"""What the restore journey judges by is itself seen to fail."""

from __future__ import annotations

import pytest

from tests.rehearsal import standing

FILE = ["file", "0644", "0:0", "digest", {}]


def standing_with(section: str, name: str, value: object, packages=None) -> standing.Standing:
    seen = {s: {} for s in standing.SECTIONS}
    seen["files"] = {"/etc/x": FILE, "/var/log/secure": FILE}
    if value is not None:
        seen[section] = {**seen[section], name: value}
    return standing.Standing(seen, packages or {"x": frozenset({"/etc/x"})})


NOTHING = standing_with("files", "/etc/x", FILE)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("files", "/etc/new", FILE),
        ("files", "/etc/x", ["file", "0600", *FILE[2:]]),
        ("files", "/etc/x", ["file", "0644", "0:5", *FILE[3:]]),
        ("files", "/etc/x", ["file", "0644", "0:0", "other", {}]),
        ("files", "/etc/x", [*FILE[:4], {"security.capability": "00"}]),
        ("files", "/etc/x", ["link", "0777", "0:0", "/etc/y", {}]),
        # What may hold something else may not have other rights.
        ("files", "/var/log/secure", ["file", "0600", "0:0", "other", {}]),
        ("units", "autofs.service", ["masked", "inactive/dead"]),
        ("mounts", "/tmp", ["tmpfs", "tmpfs", "rw,noexec"]),
        ("sysctls", "net/ipv4/ip_forward", "1"),
        ("accounts", "shadow root", ["hash", "1"]),
    ],
)
def test_whatever_a_restore_leaves_is_named(section, name, value):
    (line,) = standing.remains(NOTHING, standing_with(section, name, value))
    assert line.startswith(f"{section}: {name}: ")
    (line,) = standing.remains(standing_with(section, name, value), NOTHING)
    assert line.startswith(f"{section}: {name}: ")


def test_what_a_package_brought_is_its_own_and_a_log_may_grow():
    came = {"x": frozenset({"/etc/x"}), "aide": frozenset({"/etc/aide.conf"})}
    assert standing.remains(NOTHING, standing_with("files", "/etc/aide.conf", FILE, came)) == []
    grown = [*FILE[:3], "other", {}]
    assert standing.remains(NOTHING, standing_with("files", "/var/log/secure", grown)) == []
    # A file that was there before is nobody's gift.
    changed = standing_with("files", "/etc/x", [*FILE[:3], "other", {}], came)
    assert len(standing.remains(NOTHING, changed)) == 1


def test_each_allowance_of_a_restore_says_why():
    for section, allowed in standing.allowances().items():
        for allowance in allowed:
            assert len(allowance.reason) > 3, (section, allowance.pattern)

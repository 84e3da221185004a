"""Several controls that ask for one place: each that is broken is named, one write mends all."""

from __future__ import annotations

import stat

import pytest

from tests.unit.hardening_support import Run, System, control
from tests.unit.test_hardening_types import CASES, IDS, prepared

BANNER = {"type": "content", "path": "/etc/motd", "text": "Authorized users only.\n"}
RIGHTS = {"type": "file", "path": "/etc/motd", "mode": "0644"}
ELSE = " (another control does it)"


@pytest.fixture
def system(tmp_path):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    return System(root)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_two_controls_that_want_one_thing_are_both_named(system, case):
    (first,) = prepared(system, case)
    wants = [first, {**first, "id": "second"}]
    run = Run(system, wants, phase=case.phase)
    assert run.wrong == []
    assert run.passed.controls == ["c", "second"]
    assert [said for said in run.said if said.startswith("second: ")] != []
    assert run.commit() == []
    again = Run(system, wants, phase=case.phase)
    assert (again.wrong, again.said) == ([], [])


def test_rights_that_the_content_brings_back_are_named_with_the_control_of_rights(system):
    path = system.write("/etc/motd", BANNER["text"], 0o646)
    wants = [control(BANNER, name="banner"), control(RIGHTS, name="rights")]
    run = Run(system, wants)
    assert [said.partition(": ")[0] for said in run.said] == ["banner", "rights"]
    assert run.said[1] == "rights: set mode 0644 on /etc/motd" + ELSE
    run.commit()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert Run(system, wants).said == []


def test_a_file_that_is_yet_to_come_has_no_wrong_rights(system):
    wants = [control(BANNER, name="banner"), control(RIGHTS, name="rights")]
    assert Run(system, wants).said == ["banner: write /etc/motd"]


def test_rights_that_were_right_before_are_not_named_with_the_content(system):
    system.write("/etc/motd", "Welcome to EL 10\n", 0o644)
    wants = [control(BANNER, name="banner"), control(RIGHTS, name="rights")]
    assert Run(system, wants).said == ["banner: write /etc/motd"]


def test_rights_of_what_goes_are_not_named(system):
    system.write("/etc/motd", "x\n", 0o666)
    gone = {"type": "content", "path": "/etc/motd", "text": "x\n", "state": "absent"}
    wants = [control(gone, name="gone"), control(RIGHTS, name="rights")]
    assert Run(system, wants).said == ["gone: remove /etc/motd"]

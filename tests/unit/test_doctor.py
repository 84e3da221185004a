"""`holdfast doctor`: what is missing is said, with the package that brings it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from provision.cli import doctor
from provision.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


def test_missing_commands_name_the_package_of_the_distribution():
    def nowhere(command):
        return None

    mends = {n.name: n.mend for n in doctor.look("debian", nowhere)}
    assert mends["systemd-nspawn"] == "apt-get install systemd-container"
    assert mends["rpmbuild"] == "apt-get install rpm"
    mends = {n.name: n.mend for n in doctor.look("el", nowhere)}
    assert mends["rpmbuild"] == "dnf install rpm-build"
    assert mends["ssh"] == "dnf install openssh-clients"
    assert "mmdebstrap" not in mends


def test_missing_gates(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_which", lambda command: None)
    assert main(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "missing"
    assert {"name", "when", "state", "seen", "why", "mend"} == set(document["needs"][0])
    assert main(["doctor"]) == 1
    assert "✘ missing" in capsys.readouterr().out


def test_rehearsal_can_be_left_out(monkeypatch, capsys):
    there = {"ssh", "ssh-keygen"}
    monkeypatch.setattr(doctor, "_which", lambda c: f"/bin/{c}" if c in there else None)
    assert main(["doctor", "--no-rehearsal"]) == 0
    text = capsys.readouterr().out
    assert "nothing is missing" in text
    assert "systemd-nspawn" not in text


@pytest.mark.parametrize(
    ("today", "state"), [(date(2026, 1, 1), "ok"), (date(2026, 11, 23), "old")]
)
def test_ansible_near_its_end_is_old(monkeypatch, today, state):
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.19.14")
    assert doctor._ansible(today).state == state


def test_ansible_that_nobody_tested(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.99.0")
    need = doctor._ansible()
    assert need.state == "old"
    assert "2.21" in need.mend


def test_ansible_that_is_not_there(monkeypatch):
    def missing(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", missing)
    assert doctor._ansible().state == "missing"


@pytest.mark.parametrize(
    ("release", "family"),
    [
        ({"ID": "debian"}, "debian"),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "debian"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "el"),
        ({"ID": "arch"}, "other"),
    ],
)
def test_distribution_family(monkeypatch, release, family):
    monkeypatch.setattr(doctor.platform, "freedesktop_os_release", lambda: release)
    assert doctor.distribution_family() == family


def test_what_only_tests_need_is_not_asked_for():
    asked = {need.name for need in doctor.look("debian", lambda _: None)}
    assert asked & {row[0] for row in doctor.system_needs() if row[1] == "tests"} == set()
    assert "ssh" in asked


def test_table_is_whole():
    rows = list(doctor.system_needs())
    assert len({row[0] for row in rows}) == len(rows)
    assert {row[1] for row in rows} == {"always", "rehearsal", "image", "tests"}
    assert all(all(cell.strip() == cell != "" for cell in row) for row in rows)


def test_what_only_tests_need_is_no_matter_of_a_controllers():
    only = {row[0] for row in doctor.system_needs() if row[1] == "tests"}
    assert only
    assert only.isdisjoint(n.name for n in doctor.look("debian", lambda command: None))


def test_setup_reads_the_same_table():
    assert doctor.NEEDS in (ROOT / "scripts/setup").read_text()

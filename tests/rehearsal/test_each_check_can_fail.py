"""Every check is seen to fail: a check that cannot fail proves nothing."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from provision.checks.hardened.registry import KINDS
from provision.checks.verify import load_checks, suite_files
from provision.inference.smoke import CHECKS
from tests.rehearsal.conftest import SimulatedRack, not_passed
from tests.rehearsal.defects import ROUNDS, Round

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("second")]

DECLARED = {
    "base.hardware",
    "base.record",
    "container_runtime.image",
    "inference.image",
}
"""Checks that are seen to fail by declaring something else."""
ELSEWHERE = {"base.selinux", "inference.selinux"}
"""Checks that need a kernel of their own."""
HARDENING = {f"hardening.{kind}" for kind in KINDS}
"""Checks of a profile; this rack has none. tests/unit/test_hardening_controls.py shows each fail,
and tests/soak/test_every_control_broken.py does so on a node."""
WITHOUT_PACKAGES = {"repositories.packages", "model_store.packages", "inference.packages"}
"""Checks of roles that ask for no package here; they are one function with the others."""
WITHOUT_GPUS = {"gpu_stack.lock"}
"""Checks of nodes with GPUs; tests/rehearsal/test_21_units.py shows them fail there."""


def other_package(folder: Path, name: str) -> bytes:
    """An RPM of this name in a version that no lock names, without a signature."""
    spec = folder / "other.spec"
    spec.write_text(
        f"Name: {name}\nVersion: 99\nRelease: 1\nSummary: other\nLicense: MIT\n"
        "BuildArch: noarch\n%description\nother\n%files\n"
    )
    subprocess.run(
        ["rpmbuild", "-bb", "--define", f"_rpmdir {folder}", "--define", f"_topdir {folder}",
         "--define", "_rpmfilename other.rpm", str(spec)],
        check=True, capture_output=True,
    )  # fmt: skip
    return (folder / "other.rpm").read_bytes()


def test_every_check_is_in_the_table() -> None:
    planted = {
        check for one in ROUNDS for check, status in one.statuses.items() if status == "fail"
    }
    every = {c.id for c in load_checks(suite_files())} | set(CHECKS)
    # No answer from podman is no evidence against it, so this one is at worst unknown.
    planted.add("container_runtime.podman")
    assert planted | DECLARED | ELSEWHERE | HARDENING | WITHOUT_PACKAGES | WITHOUT_GPUS == every


def test_an_untouched_rack_passes(lone_rack: SimulatedRack) -> None:
    ran = lone_rack.holdfast("verify", lone_rack.inventory, "--json")
    assert not_passed(ran) == {"n1": {}}, ran.said()
    assert ran.code == 0


@pytest.mark.parametrize("planted", ROUNDS, ids=lambda r: r.name.replace(" ", "-"))
def test_planted_defects_are_found(
    lone_rack: SimulatedRack, tmp_path: Path, planted: Round
) -> None:
    key = (lone_rack.inventory.parent / "secrets/api-key").read_text().strip()
    package = base64.b64encode(other_package(tmp_path, "crun")).decode()
    lone_rack.ssh("n1", f"echo {package} | base64 -d > /root/other.rpm")
    try:
        for defect in planted.defects:
            lone_rack.ssh("n1", "set -e\n" + defect.plant.replace("@KEY@", key))
        ran = lone_rack.holdfast("verify", lone_rack.inventory, "--json")
    finally:
        for defect in reversed(planted.defects):
            lone_rack.ssh("n1", defect.mend)
    assert not_passed(ran) == {"n1": planted.statuses}, ran.said()
    assert ran.code == 1
    assert key not in ran.out


def test_nothing_is_left_of_the_defects(lone_rack: SimulatedRack) -> None:
    # Each round asks for exactly its own findings, so it also shows that the one before is mended.
    after = lone_rack.holdfast("verify", lone_rack.inventory, "--json")
    assert not_passed(after) == {"n1": {}}, after.said()


def test_what_is_declared_and_not_there_is_found(lone_rack: SimulatedRack) -> None:
    lock = json.loads((lone_rack.inventory.parent / "stack.lock.json").read_text())
    for image in lock["images"]:
        image["digest"] = "sha256:" + "00" * 32
    (lone_rack.inventory.parent / "other.lock.json").write_text(json.dumps(lock))
    changed = lone_rack.edited(
        "other.yml",
        lambda text: text.replace("stack.lock.json", "other.lock.json").replace(
            "memory_gib: 1\n", "memory_gib: 60000\n"
        ),
    )
    ran = lone_rack.holdfast("verify", changed, "--json")
    wanted = dict.fromkeys(DECLARED, "fail")
    assert not_passed(ran) == {"n1": wanted}, ran.said()

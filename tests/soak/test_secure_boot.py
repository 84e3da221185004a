"""An image's disk starts under Secure Boot, and one whose boot program was altered does not.

As an operator I want to see that what I signed starts, twice, and that firmware with my keys
refuses what nobody signed, before I switch Secure Boot on in a rack.

`HOLDFAST_SOAK_IMAGE` and `HOLDFAST_SOAK_KEYS` name an image's folder and the keys it was signed
with; without them one is built. Emulated, one start takes minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.cli.main import main
from provision.image import booting
from provision.image.qemu import Outcome
from provision.image.sandbox import Sandbox
from provision.image.stage_pack.disk import BOOT_PATHS
from provision.verdict.model import Status

pytestmark = [pytest.mark.soak, pytest.mark.needs("ovmf", "user_namespaces")]

WAIT_S = 3600.0


@dataclass(frozen=True)
class Signed:
    """An image's disk, and the keys that it was signed with."""

    disk: Path
    keys: Path


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    image, keys = os.environ.get("HOLDFAST_SOAK_IMAGE"), os.environ.get("HOLDFAST_SOAK_KEYS")
    if image and keys:
        return Signed(booting.disks_of(Path(image))[0], Path(keys))
    folder = tmp_path_factory.mktemp("image")
    own = folder / "keys"
    assert main(["image", "key", str(own)]) == 0
    assert main(["image", "key", str(own), "--secure-boot", "Soak"]) == 0
    assert main(["image", "build", "gpu-node", "--base", "rehearsal", "--format", "raw", "--key",
                 str(own / "image.key"), "--secure-boot", str(own), "--out",
                 str(folder / "out")]) == 0  # fmt: skip
    return Signed(booting.disks_of(folder / "out")[0], own)


def test_a_signed_disk_starts_twice_under_secure_boot(signed: Signed) -> None:
    booted = booting.boot(signed.disk, keys=signed.keys, wait_s=WAIT_S)
    found = {one.check: one for one in booting.findings("disk", booted)}
    for check in ("boot.secure", "boot.first", "boot.second"):
        assert found[check].status is Status.PASS, found[check]


def one_bit(program: Path) -> None:
    """Change one bit in the middle, which is in the kernel or its initial RAM disk."""
    with program.open("r+b") as stream:
        stream.seek(program.stat().st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes((byte ^ 1,)))


def no_signature(program: Path) -> None:
    """Take the signature away."""
    subprocess.run(["sbattach", "--remove", program], check=True, capture_output=True)


@pytest.mark.parametrize("alter", [one_bit, no_signature])
def test_firmware_refuses_a_boot_program_that_is_not_what_was_signed(
    signed: Signed, tmp_path: Path, alter: Callable[[Path], None]
) -> None:
    disk = tmp_path / "disk.raw"
    sandbox = Sandbox(writable=(tmp_path,))
    booting._copy(signed.disk, disk, sandbox)
    esp = booting._parts(disk, sandbox, disk)[booting._ESP]
    program = booting._program(disk, esp, sandbox, tmp_path)
    alter(program)
    subprocess.run(["mcopy", "-o", "-i", f"{disk}@@{esp}", program,
                    f"::/{BOOT_PATHS[booting.ARCH]}"], check=True)  # fmt: skip
    booted = booting.boot(disk, keys=signed.keys, wait_s=WAIT_S)
    assert booted.first.outcome is Outcome.REFUSED, booted.first
    assert "Access Denied" in booted.first.line
    assert booted.second is None
    shutil.rmtree(tmp_path)

"""Stage sign on a small disk: what firmware starts is signed, everything else is as it was."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from provision.core.events import NullSink
from provision.core.problems import HoldfastError
from provision.image import gate, stage_sign
from provision.image.keys import open_signer, read_public
from provision.image.lint.words import CHECKS
from provision.image.sandbox import Sandbox
from provision.image.secureboot import fingerprint, make_image_key, make_keys
from provision.image.stage_pack.disk import to_qcow2
from provision.image.stage_sign import SECURE_BOOT, SIGNER
from provision.image.uki import find_stub
from provision.image.verification import verify_image
from provision.image.work import Given, StageRecord, Work
from provision.verdict.model import Finding, Status
from tests.unit.signed_support import EPOCH, digest

pytestmark = pytest.mark.slow

OFFSET = 1024 * 1024
BOOT = "EFI/BOOT/BOOTX64.EFI"


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_image_key(folder, None)
    make_keys(folder, "Tests")
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    """What the stages before it would have made, of a disk of 9 MiB."""
    folder = tmp_path_factory.mktemp("inputs")
    found = {name: folder / name for name in stage_sign.NEEDS}
    for path in found.values():
        path.mkdir()
    (found["seal"] / "files.tsv").write_text('"/"\td\t0755\t0\t0\t0\t-\t-\n')
    for name in ("spdx.json", "cyclonedx.json"):
        (found["sbom"] / name).write_text("{}\n")
    (found["label"] / "labels.tsv").write_text("")
    (found["scan"] / "results.json").write_text('{"rules":{}}\n')
    (found["kernel"] / "kver").write_text("6.0\n")
    (found["kernel"] / "cmdline").write_text("quiet\n")
    _write_gate(found, Status.PASS)
    _pack(found["pack"])
    return found


def _write_gate(inputs: dict[str, Path], status: Status, forced: str = "") -> None:
    files = hashlib.sha256((inputs["seal"] / "files.tsv").read_bytes()).hexdigest()
    names = [*gate.MUST, *(f"lint.{name}" for name in CHECKS)]
    findings = [Finding("gpu-node", name, "A check", status) for name in names]
    made = gate.make("gpu-node", files, findings, day=dt.date(2026, 11, 23), at=EPOCH)
    if forced:
        made = gate.force(made, forced)
    (inputs["scan"] / "gate.json").write_text(made.to_text())


def _pack(out: Path) -> None:
    """A disk with a partition that firmware reads, in both forms, and files beside it."""
    stub = find_stub(Path("/"), "x86_64")
    esp = out / "esp"
    esp.write_bytes(b"\0" * 8 * OFFSET)
    tool("mkfs.vfat", "--invariant", str(esp))
    tool("mmd", "-i", str(esp), "::/EFI", "::/EFI/BOOT")
    tool("mcopy", "-i", str(esp), str(stub), f"::/{BOOT}")
    for name in ("raw", "qcow2", "netboot", "tar"):
        (out / name).mkdir()
    (out / "raw/d.raw").write_bytes(b"\0" * OFFSET + esp.read_bytes())
    esp.unlink()
    to_qcow2(Sandbox(writable=(out,), epoch=EPOCH), out / "raw/d.raw", out / "qcow2/d.qcow2")
    shutil.copyfile(stub, out / "netboot/uki.efi")
    (out / "netboot/initrd").write_text("initrd")
    (out / "tar/d.tar").write_text("tar")
    boots = {"bootable": True, "esp": {"offset": OFFSET, "size": 8 * OFFSET}, "boot_path": BOOT}
    more = {"raw/d.raw": boots, "qcow2/d.qcow2": boots,
            "netboot/uki.efi": {"bootable": True, "roothash": digest("root")},
            "netboot/initrd": {}, "tar/d.tar": {"differs": ["etc/fstab"]}}  # fmt: skip
    told = [
        {"name": Path(path).name, "format": path.split("/")[0], "path": path, "bootable": False,
         "size": (out / path).stat().st_size,
         "sha256": hashlib.sha256((out / path).read_bytes()).hexdigest(), **about}
        for path, about in more.items()
    ]  # fmt: skip
    (out / "artefacts.json").write_text(json.dumps(told))


def tool(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def signs(program: Path, keys: Path) -> bool:
    argv = ["sbverify", "--cert", str(keys / "db.crt"), str(program)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def run(inputs: dict[str, Path], keys: Path, out: Path, *, secure_boot: bool = True) -> None:
    extra = {SIGNER: open_signer(str(keys / "image.key"))}
    if secure_boot:
        extra[SECURE_BOOT] = keys
    given = Given(extra=extra)
    definition = SimpleNamespace(
        name="gpu-node", title="A node", release=10, arch="x86_64", profile="cis_l1_server",
        digest=digest("definition"),
    )  # fmt: skip
    out.mkdir()
    stage_sign.run(
        Work(
            stage="sign", definition=definition,
            options=stage_sign.options(definition, given), inputs=inputs, out=out, epoch=EPOCH,
            sandbox=Sandbox(writable=(out,), epoch=EPOCH), events=NullSink(), given=given,
            stages={"seal": StageRecord(digest("seal"), {"rpm": "4"})},
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def signed(inputs, keys, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("signed") / "out"
    run(inputs, keys, out)
    return out


def boot_program(disk: Path, folder: Path) -> Path:
    found = folder / "boot.efi"
    tool("mcopy", "-n", "-o", "-i", f"{disk}@@{OFFSET}", f"::/{BOOT}", str(found))
    return found


def test_what_firmware_starts_is_signed_in_every_form(inputs, keys, signed, tmp_path):
    assert not signs(boot_program(inputs["pack"] / "raw/d.raw", tmp_path), keys)
    assert signs(boot_program(signed / "raw/d.raw", tmp_path), keys)
    tool("qemu-img", "convert", "-O", "raw", str(signed / "qcow2/d.qcow2"), str(tmp_path / "q"))
    assert signs(boot_program(tmp_path / "q", tmp_path), keys)
    assert signs(signed / "netboot/uki.efi", keys)
    tool("fsck.vfat", "-n", "--", str(_partition(signed / "raw/d.raw", tmp_path)))


def _partition(disk: Path, folder: Path) -> Path:
    path = folder / "esp"
    path.write_bytes(disk.read_bytes()[OFFSET:])
    return path


def test_the_image_verifies_and_says_by_what(inputs, keys, signed):
    found = verify_image(signed, read_public(keys / "image.pub")).manifest
    assert found.secure_boot == fingerprint(keys)
    assert {a.name: a.roothash for a in found.artefacts}["netboot/uki.efi"] == digest("root")
    assert {a.name for a in found.artefacts if a.bootable} == {
        "raw/d.raw", "qcow2/d.qcow2", "netboot/uki.efi",
    }  # fmt: skip
    for name in ("tar/d.tar", "netboot/initrd"):
        assert (signed / name).read_bytes() == (inputs["pack"] / name).read_bytes()
    assert {a.differs for a in found.artefacts} == {(), ("/etc/fstab",)}
    assert found.gate.passed
    assert found.stages["seal"].tools == {"rpm": "4"}
    leftover = {p.name for p in signed.rglob("*") if p.suffix in (".signed", ".unsigned", ".disk")}
    assert leftover == set()


def test_without_keys_for_secure_boot_nothing_is_changed(inputs, keys, tmp_path):
    run(inputs, keys, tmp_path / "out", secure_boot=False)
    found = verify_image(tmp_path / "out", read_public(keys / "image.pub")).manifest
    assert found.secure_boot is None
    for one in json.loads((inputs["pack"] / "artefacts.json").read_text()):
        assert found.part(one["path"]).sha256 == one["sha256"]


def test_what_the_gate_refuses_is_not_signed_and_force_leaves_its_mark(inputs, keys, tmp_path):
    try:
        _write_gate(inputs, Status.FAIL)
        with pytest.raises(HoldfastError) as caught:
            run(inputs, keys, tmp_path / "refused")
        assert caught.value.exit_code == 1
        assert not (tmp_path / "refused/envelope.dsse.json").exists()
        _write_gate(inputs, Status.FAIL, forced="a trial")
        run(inputs, keys, tmp_path / "forced")
    finally:
        _write_gate(inputs, Status.PASS)
    found = verify_image(tmp_path / "forced", read_public(keys / "image.pub")).manifest
    assert (found.gate.passed, found.gate.forced) == (False, "a trial")
    assert "a trial" in (tmp_path / "forced/statement.json").read_text()


def test_a_key_is_asked_for(inputs):
    with pytest.raises(HoldfastError, match="no key to sign the image with"):
        stage_sign.options(SimpleNamespace(digest=digest("x")), Given())

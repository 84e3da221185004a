"""A whole signed image: its bills of materials, its signature by openssl, what firmware starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from provision.image.keys import read_public
from provision.image.secureboot import make_image_key, make_keys
from provision.image.stage_sbom.packages import DATABASES
from provision.image.verification import verify_image

pytestmark = pytest.mark.soak

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The image's folder, the keys', and the sealed tree that it was made from."""
    folder = tmp_path_factory.mktemp("image")
    make_image_key(folder / "keys", None)
    make_keys(folder / "keys", "Tests")
    argv = [sys.executable, "-m", "provision.cli.main", "image", "build", "gpu-node", "--base",
            "rehearsal", "--format", "raw", "--format", "tar", "--key",
            str(folder / "keys/image.key"), "--secure-boot", str(folder / "keys"), "--force",
            "a test of what comes after the gate", "--out", str(folder / "out"),
            "--json"]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    stages = {one["stage"]: one["out"] for one in json.loads(done.stdout)["stages"]}
    return folder / "out", folder / "keys", Path(stages["seal"])


def test_every_package_is_in_both_documents(built: tuple[Path, Path, Path], tmp_path: Path):
    out, _, seal = built
    place = next(p for p in DATABASES if (seal / "root" / p / "rpmdb.sqlite").is_file())
    shutil.copytree(seal / "root" / place, tmp_path / "var/lib/rpm")
    form = r"%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\n"
    said = subprocess.run(
        ["rpm", "--root", str(tmp_path), "--define", "_dbpath /var/lib/rpm", "-qa", "--qf", form],
        check=True, capture_output=True, text=True,
    ).stdout.replace(".(none)", "").split()  # fmt: skip
    components = json.loads((out / "cyclonedx.json").read_text())["components"]
    listed = {c["bom-ref"].removeprefix("rpm:") for c in components if c["type"] == "library"}
    assert listed == set(said)
    packages = json.loads((out / "spdx.json").read_text())["packages"]
    assert len(packages) == len(said) + 1


def test_both_documents_are_valid(built: tuple[Path, Path, Path], tmp_path: Path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    text = (built[0] / "cyclonedx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    shutil.copyfile(built[0] / "spdx.json", tmp_path / "image.spdx.json")
    found = validate_full_spdx_document(parse_file(str(tmp_path / "image.spdx.json")))
    assert [message.validation_message for message in found] == []


def test_holdfast_and_openssl_verify_it(built: tuple[Path, Path, Path]):
    out, keys, _ = built
    manifest = verify_image(out, read_public(keys / "image.pub")).manifest
    assert manifest.gate.forced or manifest.gate.passed
    shutil.copyfile(keys / "image.pub", out.parent / "image.pub")
    text = (ROOT / "docs/how-to/verify-images.md").read_text(encoding="utf-8")
    script = text.split("```sh\n")[1].split("```")[0]
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=out, check=True)


def test_what_firmware_starts_of_the_disk_is_signed(built: tuple[Path, Path, Path], tmp_path: Path):
    out, keys, _ = built
    table = subprocess.run(["sfdisk", "--json", out / "raw/gpu-node.raw"], check=True,
                           capture_output=True, text=True).stdout  # fmt: skip
    first = json.loads(table)["partitiontable"]["partitions"][0]["start"] * 512
    program = tmp_path / "boot.efi"
    subprocess.run(["mcopy", "-n", "-i", f"{out}/raw/gpu-node.raw@@{first}",
                    "::/EFI/BOOT/BOOTX64.EFI", program], check=True)  # fmt: skip
    subprocess.run(["sbverify", "--cert", keys / "db.crt", program], check=True)

"""Both bills of materials cover the RPM database, are what their schemas ask for, and repeat."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from provision.core.events import NullSink
from provision.core.problems import HoldfastError
from provision.image import stage_sbom
from provision.image.manifest import CYCLONEDX, FILES, SPDX
from provision.image.sandbox import Sandbox
from provision.image.stage_sbom import cyclonedx, spdx
from provision.image.stage_sbom.contents import Contents, File, Package, expression_of
from provision.image.stage_sbom.packages import copy_database
from provision.image.work import Given, Work
from provision.supply.model import StackLock
from tests.unit.signed_support import EPOCH, LICENCES, digest, make_tree, write_files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seal(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("seal")
    write_files(make_tree(folder), folder / FILES)
    return folder


def work_on(seal: Path, out: Path) -> Work:
    out.mkdir(parents=True, exist_ok=True)
    about = SimpleNamespace(name="gpu-node", title="A node with GPUs", release=9, arch="x86_64")
    return Work(
        stage="sbom",
        definition=about,  # the stage reads these four and no more
        options=stage_sbom.Options(),
        inputs={"seal": seal},
        out=out,
        epoch=EPOCH,
        sandbox=Sandbox(writable=(out,), epoch=EPOCH),
        events=NullSink(),
        given=Given(),
    )


@pytest.fixture(scope="module")
def made(seal, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made") / "sbom"
    stage_sbom.run(work_on(seal, out))
    return out


def document(made: Path, name: str) -> dict:
    return json.loads((made / name).read_text())


def test_every_package_of_the_database_is_in_both(seal, made, tmp_path):
    # By two other paths than the stage's: rpm with the tree as its root, and the database's rows.
    copy = tmp_path / "root"
    shutil.copytree(seal / "root/var/lib/rpm", copy / "var/lib/rpm")
    form = r"%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\n"
    said = subprocess.run(
        ["rpm", "--root", copy, "--define", "_dbpath /var/lib/rpm", "-qa", "--qf", form],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    rows = sqlite3.connect(copy / "var/lib/rpm/rpmdb.sqlite").execute(
        "select count(*) from Packages"
    )
    assert len(said) == rows.fetchone()[0] == len(LICENCES)
    listed = {c["bom-ref"].removeprefix("rpm:") for c in document(made, CYCLONEDX)["components"]
              if c["type"] == "library"}  # fmt: skip
    assert listed == set(said)
    names = {(p["name"], p["versionInfo"]) for p in document(made, SPDX)["packages"][1:]}
    assert names == {(n, f"{number}:1.2~rc1-3+x.el9") for number, n in enumerate(LICENCES)}


def test_every_file_is_in_both_by_its_digests(seal, made):
    regular = [line.split("\t") for line in (seal / FILES).read_text().splitlines()
               if line.split("\t")[1] == "f"]  # fmt: skip
    wanted = {json.loads(cells[0]): cells[6] for cells in regular}
    assert "/etc/own" in wanted
    told = {f["fileName"][1:]: f["checksums"][1]["checksumValue"]
            for f in document(made, SPDX)["files"]}  # fmt: skip
    assert told == wanted
    components = document(made, CYCLONEDX)["components"]
    files = [f for c in components for f in [c, *c.get("components", [])] if f["type"] == "file"]
    assert {f["name"]: f["hashes"][1]["content"] for f in files} == wanted


def test_spdx_is_valid(made):
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    shown = made / "gpu-node.spdx.json"
    shown.write_bytes((made / SPDX).read_bytes())
    try:
        found = validate_full_spdx_document(parse_file(str(shown)))
    finally:
        shown.unlink()
    assert [m.validation_message for m in found] == []


def test_cyclonedx_is_valid(made):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (made / CYCLONEDX).read_text()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"type":"library"', '"type":"thing"')) is not None


def test_the_same_tree_has_the_same_documents(seal, made, tmp_path):
    stage_sbom.run(work_on(seal, tmp_path / "again"))
    for name in (SPDX, CYCLONEDX):
        assert (tmp_path / "again" / name).read_bytes() == (made / name).read_bytes()


def test_what_rpm_says_is_told_as_it_is(made):
    (alpha, beta) = document(made, CYCLONEDX)["components"][:2]
    assert alpha["purl"] == (
        "pkg:rpm/rocky/alpha@1.2~rc1-3%2Bx.el9?arch=noarch&upstream=alpha-1.2~rc1-3%2Bx.el9.src.rpm"
    )
    assert "epoch=1" in beta["purl"]
    assert alpha["licenses"] == [{"expression": "MIT AND GPL-2.0-or-later"}]
    assert beta["licenses"] == [{"license": {"name": LICENCES["beta"]}}]
    found = document(made, SPDX)
    (extracted,) = found["hasExtractedLicensingInfos"]
    assert extracted["extractedText"] == LICENCES["beta"]
    assert extracted["licenseId"] in [p["licenseDeclared"] for p in found["packages"]]


def test_a_file_that_changed_after_it_was_sealed_stops_the_stage(seal, tmp_path):
    copy = tmp_path / "seal"
    shutil.copytree(seal, copy, symlinks=True)
    (copy / "root/etc/own").write_text("ouRs")
    with pytest.raises(HoldfastError, match="/etc/own is not what stage seal saw"):
        stage_sbom.run(work_on(copy, tmp_path / "out"))


def test_a_tree_without_database_or_packages_is_refused(seal, tmp_path):
    with pytest.raises(HoldfastError, match="has no RPM database"):
        copy_database(tmp_path, tmp_path / "db")
    root = tmp_path / "root"
    (root / "var/lib").mkdir(parents=True)
    # A link could lead to this machine's own database.
    (root / "var/lib/rpm").symlink_to(seal / "root/var/lib/rpm")
    with pytest.raises(HoldfastError, match="has no RPM database"):
        copy_database(root, tmp_path / "db")


# What the stack lock adds.

PACKAGE = Package("kmod-nvidia-open", 3, "580.105.08", "1.el9", "x86_64", "MIT", "", "", "A driver")


def lock_of(weights: str) -> StackLock:
    licence = {"licence": "MIT", "licence_class": "open", "reason": "a test"}
    kernel = "kernel-core-0:5.14.0-1.el9.x86_64"
    rpm = {"version": "580.105.08", "release": "1.el9", "epoch": 3, "arch": "x86_64", "size": 1,
           "name": PACKAGE.name, "sha256": digest("rpm"), "key": "k", "repository": "r",
           "el": "9", "roles": [], **licence}  # fmt: skip
    file = {"path": "m.gguf", "sha256": weights, "size": 3}
    archive = {"path": "a.tar", "sha256": digest("archive"), "size": 1}
    return StackLock.model_validate_json(json.dumps({
        "schema": "holdfast.stack/2", "name": "s", "created": "2026-11-23T00:00:00Z",
        "origins": {}, "keys": {}, "repositories": [], "rpms": [rpm], "wheels": [],
        "images": [{"name": "engine", "reference": "x/engine", "digest": f"sha256:{digest('i')}",
                    "arch": "x86_64", "archive": archive, "origin": "o", **licence}],
        "models": [{"name": "tiny", "format": "gguf", "entry": "m.gguf", "path": "models/tiny",
                    "files": [file], "origin": "o", **licence}],
        "gpu": [{"name": "u", "el": "9", "arch": "x86_64", "provider": "cuda_open_dkms",
                 "driver": "580.105.08", "userspace": [PACKAGE.nevra],
                 "kernels": [{"kernel": kernel, "module": PACKAGE.nevra}]}],
    }))  # fmt: skip


def contents(*files: File, weights: str = "") -> Contents:
    return Contents(
        name="gpu-node", title="A node", release=9, arch="x86_64", epoch=EPOCH,
        distribution="rhel", tree=digest("tree"), tool="holdfast-0.1.0", packages=[PACKAGE],
        files={file.path: file for file in files}, lock=lock_of(weights or digest("m")),
    )  # fmt: skip


def file(path: str, text: str) -> File:
    return File(path, digest(text)[:40], digest(text))


def test_a_driver_is_one_and_its_package_is_pinned():
    (driver,) = cyclonedx.document(contents())["components"]
    assert driver["type"] == "device-driver"
    assert driver["hashes"] == [{"alg": "SHA-256", "content": digest("rpm")}]
    assert driver["purl"].startswith("pkg:rpm/redhat/kmod-nvidia-open@580.105.08-1.el9?")
    package = spdx.document(contents())["packages"][1]
    assert package["checksums"][0]["checksumValue"] == digest("rpm")
    other = replace(PACKAGE, release="2.el9")
    unpinned = replace(contents(), packages=[other])
    assert cyclonedx.document(unpinned)["components"][0]["type"] == "library"


def test_a_model_and_an_image_are_in_where_their_bytes_are():
    found = contents(file("/srv/models/tiny/m.gguf", "m"), file("/x/manifest", "i"))
    kinds = {c["type"]: c["name"] for c in cyclonedx.document(found)["components"]}
    assert kinds["machine-learning-model"] == "tiny"
    assert kinds["container"] == "engine"
    names = [p["name"] for p in spdx.document(found)["packages"]]
    assert names == ["gpu-node", PACKAGE.name, "tiny", "engine"]
    other = contents(file("/srv/models/tiny/m.gguf", "other"))
    assert [p["name"] for p in spdx.document(other)["packages"]] == ["gpu-node", PACKAGE.name]


@pytest.mark.parametrize(
    ("licence", "expression"),
    [
        ("MIT", "MIT"),
        ("GPL-2.0-or-later and (MIT or BSD-3-Clause)",
         "GPL-2.0-or-later AND (MIT OR BSD-3-Clause)"),
        ("GPL-2.0-only WITH Classpath-exception-2.0",
         "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("GPLv2+", None),
        ("Public Domain", None),
        ("", None),
    ],
)  # fmt: skip
def test_licences_are_expressions_only_where_they_are(licence, expression):
    assert expression_of(licence) == expression

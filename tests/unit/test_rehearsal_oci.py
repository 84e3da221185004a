"""The engine's image: the same archive each time, whole by its digests, and small."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile

import pytest

from provision.core.problems import HoldfastError
from provision.rehearsal import oci
from tests.unit.rehearsal_support import engine_archive, members


def test_is_the_same_each_time(tmp_path, monkeypatch):
    first = engine_archive(tmp_path / "a", monkeypatch)
    second = engine_archive(tmp_path / "b", monkeypatch)
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.digest == second.digest
    assert engine_archive(tmp_path / "c", monkeypatch, b"other").digest != first.digest


def test_every_blob_is_what_its_name_says(tmp_path, monkeypatch):
    image = engine_archive(tmp_path, monkeypatch)
    found = members(image.path)
    assert json.loads(found["oci-layout"][1]) == {"imageLayoutVersion": "1.0.0"}
    (described,) = json.loads(found["index.json"][1])["manifests"]
    assert described["digest"] == image.digest
    for name, (_, body) in found.items():
        if name.startswith("blobs/"):
            assert hashlib.sha256(body).hexdigest() == name.removeprefix("blobs/sha256/")
    manifest = json.loads(found[f"blobs/{image.digest.replace(':', '/')}"][1])
    for part in (manifest["config"], *manifest["layers"]):
        assert len(found[f"blobs/{part['digest'].replace(':', '/')}"][1]) == part["size"]


def test_the_layer_holds_the_server_and_what_it_links_to(tmp_path, monkeypatch):
    image = engine_archive(tmp_path, monkeypatch)
    found = members(image.path)
    manifest = json.loads(found[f"blobs/{image.digest.replace(':', '/')}"][1])
    config = json.loads(found[f"blobs/{manifest['config']['digest'].replace(':', '/')}"][1])
    layer = gzip.decompress(found[f"blobs/{manifest['layers'][0]['digest'].replace(':', '/')}"][1])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    inside = members(layer)
    files = sorted(name for name, (entry, _) in inside.items() if entry.isfile())
    assert files == ["etc/group", "etc/nsswitch.conf", "etc/passwd", "usr/bin/curl",
                     "usr/bin/llama-server", "usr/lib/libc.so"]  # fmt: skip
    assert inside["lib"][0].linkname == "usr/lib"
    assert all(entry.uid == 0 and entry.mtime == 0 for entry, _ in inside.values())
    user = config["config"]["User"].split(":")[0]
    assert f"engine:x:{user}:".encode() in inside["etc/passwd"][1]
    assert user != "0"


def test_an_archive_of_somebody_else_is_taken_as_it_is(tmp_path, monkeypatch):
    made = engine_archive(tmp_path, monkeypatch)
    taken = oci.adopt(made.path, tmp_path / "taken.tar")
    assert (taken.digest, taken.reference) == (made.digest, made.reference)
    assert taken.path.read_bytes() == made.path.read_bytes()


def test_what_is_no_image_is_refused(tmp_path, monkeypatch):
    plain = tmp_path / "plain.tar"
    plain.write_bytes(b"no tar at all")
    with pytest.raises(HoldfastError, match="not an OCI archive") as raised:
        oci.adopt(plain, tmp_path / "out.tar")
    assert raised.value.exit_code == 2
    assert not (tmp_path / "out.tar").exists()

    made = engine_archive(tmp_path / "made", monkeypatch)
    spoiled = tmp_path / "spoiled.tar"
    with tarfile.open(spoiled, "w") as archive:
        for name, (entry, body) in members(made.path).items():
            part = bytes(len(body)) if name.startswith("blobs/") else body
            source = tmp_path / "part"
            source.write_bytes(part)
            with source.open("rb") as stream:
                archive.addfile(entry, stream)
    with pytest.raises(HoldfastError, match="other bytes than its name says"):
        oci.adopt(spoiled, tmp_path / "out.tar")

    monkeypatch.setattr(oci, "_architecture", lambda: "sparc")
    with pytest.raises(HoldfastError, match=r"the image is for .* and this machine is sparc"):
        oci.adopt(made.path, tmp_path / "out.tar")

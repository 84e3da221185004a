"""Artefacts are opened again without a mount: what was privileged in them is privileged after."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from provision.cli import main
from provision.core.problems import HoldfastError
from provision.image.lint import privileged
from provision.image.lint.tree import Tree
from provision.image.opened import opened
from provision.image.sandbox import Sandbox
from tests.unit.lint_support import make, put, run

ROOT_UUID = "11111111-2222-4333-8444-555555555555"
VAR_UUID = "11111111-2222-4333-8444-666666666666"
# cap_net_raw, effective and permitted, as the kernel keeps it (vfs_cap_data, revision 2).
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")

pytestmark = pytest.mark.needs("root")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree with all kinds of privilege, and a second file system."""
    root = make(tmp_path_factory.mktemp("opened"))
    put(root, "usr/bin/a b", "x", 0o755)
    os.setxattr(root / "usr/bin/a b", "security.capability", CAPABILITY)
    put(root, "var/log/own", "x", 0o640)
    os.chown(root / "var/log/own", 0, 12)
    put(
        root,
        "etc/fstab",
        f"UUID={ROOT_UUID} / ext4 defaults 0 1\nUUID={VAR_UUID} /var ext4 nodev 0 2\n",
    )
    return root


def state(root: Path) -> dict[str, tuple[str, int, int, int, str]]:
    """What matters of every path."""
    return {
        path: (entry.kind, entry.mode, entry.uid, entry.gid, entry.target)
        for path, entry in Tree(root).entries.items()
    }


def _open(artefact: Path, folder: Path) -> Path:
    into = folder / "into"
    into.mkdir()
    return opened(artefact, Sandbox(writable=(folder,)), into)


def _disk(tree: Path, folder: Path) -> Path:
    """A disk of two ext4 file systems, made by other tools than those that read it."""
    var = folder / "var"
    run("cp", "-a", tree / "var", var)
    rest = folder / "rest"
    run("cp", "-a", tree, rest)
    run("rm", "-rf", rest / "var")
    (rest / "var").mkdir()
    parts = [(rest, ROOT_UUID), (var, VAR_UUID)]
    disk = folder / "disk.raw"
    with disk.open("wb") as stream:
        stream.truncate(68 << 20)
    table = "label: gpt\nstart=2048, size=65536, type=L\nstart=67584, size=65536, type=L\n"
    run("sfdisk", "-q", disk, stdin=table.encode())
    for number, (source, uuid) in enumerate(parts):
        image = folder / f"{number}.ext4"
        run("mke2fs", "-q", "-t", "ext4", "-U", uuid, "-d", source, image, "32M")
        start = 1 + 32 * number
        run("dd", f"if={image}", f"of={disk}", "bs=1M", f"seek={start}", "conv=notrunc")
    return disk


def test_a_disk_is_opened_with_its_file_systems(tree, tmp_path):
    root = _open(_disk(tree, tmp_path), tmp_path)
    found, wanted = state(root), state(tree)
    assert found == wanted
    assert privileged.rows(Tree(root)) == privileged.rows(Tree(tree))
    assert any("net_raw+ep" in row for row in privileged.rows(Tree(root)))


def test_a_qcow2_is_opened_like_a_disk(tree, tmp_path):
    disk = _disk(tree, tmp_path)
    packed = tmp_path / "disk.qcow2"
    run("qemu-img", "convert", "-O", "qcow2", disk, packed)
    disk.unlink()
    assert state(_open(packed, tmp_path)) == state(tree)


def _tar(tree: Path, path: Path) -> Path:
    run("tar", "--create", "--xattrs", "--xattrs-include=*", f"--directory={tree}",
        f"--file={path}", ".")  # fmt: skip
    return path


def test_a_tar_archive_is_opened(tree, tmp_path):
    root = _open(_tar(tree, tmp_path / "a.tar"), tmp_path)
    assert state(root) == state(tree)
    assert privileged.rows(Tree(root)) == privileged.rows(Tree(tree))


def test_an_oci_layout_is_opened_layer_by_layer(tree, tmp_path):
    layout = tmp_path / "oci"
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(raw: bytes) -> str:
        name = hashlib.sha256(raw).hexdigest()
        (blobs / name).write_bytes(raw)
        return f"sha256:{name}"

    second = tmp_path / "second.tar"
    with tarfile.open(second, "w") as archive:
        info = tarfile.TarInfo("etc/more")
        archive.addfile(info)
    layers = [_tar(tree, tmp_path / "a.tar").read_bytes(), second.read_bytes()]
    manifest = blob(json.dumps({"layers": [{"digest": blob(raw)} for raw in layers]}).encode())
    (layout / "oci-layout").write_text("{}")
    (layout / "index.json").write_text(json.dumps({"manifests": [{"digest": manifest}]}))
    root = _open(layout, tmp_path)
    assert {*state(root)} - {*state(tree)} == {"/etc/more"}
    packed = tmp_path / "image.oci.tar"
    run("tar", "--create", f"--directory={layout}", f"--file={packed}", ".")
    (tmp_path / "again").mkdir()
    assert state(_open(packed, tmp_path / "again")) == state(root)
    (layout / "index.json").write_text(json.dumps({"manifests": [{"digest": "sha256:../x"}]}))
    with pytest.raises(HoldfastError, match="no OCI layout"):
        opened(layout, Sandbox(), tmp_path)


def test_a_folder_is_looked_at_where_it_is(tree, tmp_path):
    assert opened(tree, Sandbox(), tmp_path) == tree
    assert opened(tree.parent, Sandbox(), tmp_path) == tree
    (tmp_path / "empty").mkdir()
    with pytest.raises(HoldfastError, match="no root file system"):
        opened(tmp_path / "empty", Sandbox(), tmp_path)


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "x").write_text("no image")
    with pytest.raises(HoldfastError, match="no image that can be opened") as caught:
        opened(tmp_path / "x", Sandbox(), tmp_path)
    assert caught.value.exit_code == 2


def call(capsys, *words: object) -> tuple[int, str, str]:
    """Run the command."""
    code = main.main([str(word) for word in words])
    said = capsys.readouterr()
    return int(code), said.out, said.err


def test_the_verb_says_what_is_wrong_records_and_then_passes(tree, tmp_path, capsys):
    archive = _tar(tree, tmp_path / "a.tar")
    listed = tmp_path / "privileged.tsv"
    code, out, _ = call(capsys, "image", "lint", archive, "--json")
    document = json.loads(out)
    assert code == 1
    wrong = {f["check"] for f in document["findings"] if f["status"] in ("fail", "unknown")}
    assert {"lint.privileged-programs", "lint.logs"} <= wrong
    code, out, _ = call(capsys, "image", "lint", archive, "--record", "--privileged", listed)
    assert (code, listed.read_text().count("/usr/bin/su")) == (0, 1)
    skip = [
        "--skip",
        "logs",
        "--because",
        "the test's own",
        "--skip",
        "owners",
        "--because",
        "its group",
    ]
    code, out, _ = call(capsys, "image", "lint", archive, "--privileged", listed, *skip)
    assert code == 0, out
    assert "the test's own" in out


def test_the_verb_refuses_what_it_cannot_do(tree, tmp_path, capsys):
    for words, said in (
        ([], "there is nothing to look at"),
        ([tree, "--skip", "logs"], "takes a --because"),
        ([tree, "--skip", "log", "--because", "x"], "did you mean"),
        ([tmp_path / "none"], "there is no"),
        ([tree, "--record"], "nothing says where to"),
    ):
        code, _, told = call(capsys, "image", "lint", *words)
        assert code == 2, words
        assert said in told, (words, told)


def test_the_list_of_checks(capsys):
    code, out, _ = call(capsys, "image", "lint", "--list", "--json")
    rows = json.loads(out)["checks"]
    assert code == 0
    assert {"id", "why", "fix", "severity", "title", "gates"} <= rows[0].keys()

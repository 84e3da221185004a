"""Each format is read back by another tool than wrote it, and is the same each time."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from provision.core.problems import HoldfastError
from provision.image.labels import written
from provision.image.layout import Slot, layout_of
from provision.image.stage_pack import MAKERS, TOOLS, archive
from provision.image.stage_pack.archive import Archive
from provision.image.stage_pack.filling import cluster
from tests.unit.image_tree_support import (
    CAPABILITY,
    definition,
    kernel_stage,
    plant,
    run_stage,
    stub,
)

pytestmark = pytest.mark.needs("root")

LABEL = "system_u:object_r:bin_t:s0"
FORMATS = tuple(MAKERS)


@pytest.fixture(scope="module")
def stages(tmp_path_factory) -> dict[str, Path]:
    """The outputs that pack reads, made once."""
    folder = tmp_path_factory.mktemp("stages")
    configured = plant(folder / "configure")
    place = configured / "root/usr/lib/systemd/boot/efi"
    place.mkdir(parents=True)
    stub(folder).rename(place / "linuxx64.efi.stub")
    sealed = run_stage("seal", folder / "seal", {"configure": configured}, definition())
    label = folder / "label"
    label.mkdir()
    (label / "labels.tsv").write_text(written([("/", LABEL), ("/usr/bin/tool", LABEL),
                                               ("/var/log/audit", LABEL)]))  # fmt: skip
    (label / "policy.json").write_text('{"policy": null, "says": "these are made up"}')
    return {"seal": sealed, "kernel": kernel_stage(folder / "kernel"), "label": label}


@pytest.fixture(scope="module")
def packed(stages, tmp_path_factory) -> Path:
    """Every format of the tree."""
    out = tmp_path_factory.mktemp("packed") / "out"
    return run_stage("pack", out, stages, definition(formats=FORMATS))


def said(*words: str | Path) -> str:
    return subprocess.run([str(word) for word in words], check=True, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL).stdout  # fmt: skip


def part_of(disk: Path, slot: Slot, folder: Path) -> Path:
    """One file system of a disk, as a file."""
    with disk.open("rb") as stream:
        stream.seek(slot.start)
        target = folder / "part"
        target.write_bytes(stream.read(slot.size))
    return target


def slot(mount: str) -> Slot:
    return next(one for one in layout_of(definition()).slots if one.mount == mount)


def test_artefacts_are_what_lies_there(packed):
    listed = json.loads((packed / "artefacts.json").read_text())
    for one in listed:
        content = (packed / one["path"]).read_bytes()
        assert (one["size"], one["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert {one["format"] for one in listed} == set(FORMATS)
    files = {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()}
    assert files == {one["path"] for one in listed} | {"artefacts.json"}
    bootable = {one["name"] for one in listed if one["bootable"]}
    assert bootable == {"small-node.raw", "small-node.qcow2", "uki.efi"}


@pytest.mark.slow
@pytest.mark.needs("faketime")
def test_another_place_and_another_day_give_the_same_bytes(stages, packed, tmp_path, monkeypatch):
    # The wrapper that is called faketime wants to write outside of the sandbox.
    [library, *_] = sorted(Path("/usr").glob("lib*/**/faketime/libfaketime.so.1"))
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        real = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        # The files stay as old as they are.
        day = f"LD_PRELOAD={library} FAKETIME=+40d NO_FAKE_STAT=1"
        (tools / name).write_text(f'#!/bin/sh\n{day} exec {real} "$@"\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    again = run_stage("pack", tmp_path / "far/away/out", stages, definition(formats=FORMATS))
    first, second = ((where / "artefacts.json").read_text() for where in (packed, again))
    assert json.loads(first) == json.loads(second)


def test_the_table_of_a_disk_is_the_layout(packed):
    disk = packed / "raw/small-node.raw"
    assert "No errors detected" in said("sfdisk", "--verify", disk)
    table = json.loads(said("sfdisk", "--json", disk))["partitiontable"]
    layout = layout_of(definition())
    assert table["id"].lower() == layout.uuid
    assert [
        (row["start"] * 512, row["size"] * 512, row["type"].lower(), row["uuid"].lower())
        for row in table["partitions"]
    ] == [(one.start, one.size, one.kind, one.part) for one in layout.slots]


@pytest.mark.parametrize("mount", ["/", "/var", "/var/log/audit"])
def test_file_systems_are_whole(packed, tmp_path, mount):
    part = part_of(packed / "raw/small-node.raw", slot(mount), tmp_path)
    assert "WARNING" not in said("e2fsck", "-fn", part)
    assert f"UUID:          {slot(mount).uuid}" in said("dumpe2fs", "-h", part).replace(
        "Filesystem UUID", "UUID"
    )


def test_a_disk_keeps_owners_modes_labels_capabilities_and_times(packed, tmp_path):
    part = part_of(packed / "raw/small-node.raw", slot("/"), tmp_path)

    def stat(path: str) -> str:
        return said("debugfs", "-R", f'stat "{path}"', part)

    assert re.search(r"Mode:\s+04755", stat("/usr/bin/su"))
    assert re.search(r"User:\s+1000\s+Group:\s+1000", stat("/home/ann/notes"))
    assert 'Fast link dest: "usr/bin"' in stat("/bin")
    assert "Links: 2" in stat("/usr/bin/tool-too")
    assert LABEL in said("debugfs", "-R", "ea_get /usr/bin/tool security.selinux", part)
    assert f"({len(CAPABILITY)})" in stat("/usr/bin/ping")
    epoch = f"{definition().epoch:#x}"
    for path in ("/", "/lost+found", '/usr/share/a ""quoted"" name', "/usr/share/größe", "/bin"):
        times = re.findall(
            r"^ ?(ctime|atime|mtime|crtime): (0x[0-9a-f]+)", stat(path), re.MULTILINE
        )
        assert times, path
        assert {when for _, when in times} == {epoch}, path


def test_each_file_system_has_its_own_part_of_the_tree(packed, tmp_path):
    disk = packed / "raw/small-node.raw"
    root = said("debugfs", "-R", "ls -p /var", part_of(disk, slot("/"), tmp_path))
    assert "log" not in root
    var = said("debugfs", "-R", "ls -p /log/audit", part_of(disk, slot("/var"), tmp_path))
    assert ".keep" not in var
    audit = part_of(disk, slot("/var/log/audit"), tmp_path)
    assert ".keep" in said("debugfs", "-R", "ls -p /", audit)
    assert LABEL in said("debugfs", "-R", "ea_get / security.selinux", audit)


def test_firmware_finds_its_program(packed, stages):
    listed = json.loads((packed / "artefacts.json").read_text())
    [raw] = [one for one in listed if one["format"] == "raw"]
    inside = f"{packed / raw['path']}@@{raw['esp']['offset']}"
    assert (
        said("mtype", "-i", inside, f"::/{raw['boot_path']}")
        == (stages["kernel"] / "uki.efi").read_text()
    )
    # What a package put there comes too.
    assert said("mtype", "-i", inside, "::/EFI/vendor/grub.cfg") == "menu\n"


def test_qcow2_holds_the_same_disk(packed):
    said("qemu-img", "compare", "-f", "raw", "-F", "qcow2", packed / "raw/small-node.raw",
         packed / "qcow2/small-node.qcow2")  # fmt: skip
    assert "No errors" in said("qemu-img", "check", packed / "qcow2/small-node.qcow2")


def test_a_file_system_that_is_too_small_is_named(stages, tmp_path):
    small = [{"mount": "/", "size_mib": 24}, {"mount": "/usr/share", "size_mib": 1}]
    with pytest.raises(HoldfastError, match="/usr/share of 1 MiB"):
        run_stage("pack", tmp_path / "out", stages, definition(partitions=small))


def test_a_partition_for_firmware_has_enough_clusters():
    assert [cluster(mib << 20) for mib in (33, 64, 512)] == [1, 1, 8]
    with pytest.raises(SystemExit):
        cluster(32 << 20)


def test_tar_is_read_by_tar(packed, tmp_path):
    archive = packed / "tar/small-node.tar.zst"
    said("tar", "--extract", "--zstd", "--file", archive, "--directory", tmp_path,
         "--xattrs", "--xattrs-include=security.capability", "--numeric-owner", "-p")  # fmt: skip
    assert (tmp_path / "usr/share/größe").read_text() == "more than ASCII\n"
    assert (tmp_path / "home/ann/notes").stat().st_uid == 1000
    assert (tmp_path / "usr/bin/tool").stat().st_nlink == 2
    assert (tmp_path / "usr/bin/su").stat().st_mode & 0o7777 == 0o4755
    assert (tmp_path / "etc/dangling").is_symlink()
    assert os.getxattr(tmp_path / "usr/bin/ping", "security.capability") == CAPABILITY
    # Where the root is on no disk of the definition's, nothing of it is mounted.
    table = (tmp_path / "etc/fstab").read_text()
    assert "UUID=" not in table
    assert "tmpfs /tmp" in table


def test_tar_carries_labels_and_one_order(packed, tmp_path):
    plain = tmp_path / "plain.tar"
    said("zstd", "-d", "-q", "-o", plain, packed / "tar/small-node.tar.zst")
    with tarfile.open(plain) as tar:
        names = tar.getnames()
        assert names == sorted(names, key=str.encode)
        headers = tar.getmember("usr/bin/tool").pax_headers
        assert headers["SCHILY.xattr.security.selinux"] == LABEL
        assert {one.mtime <= definition().epoch for one in tar} == {True}


@pytest.mark.parametrize(("made", "kind"), [("oci", "oci-archive"), ("warewulf", "docker-archive")])
def test_containers_tools_read_the_image(packed, tmp_path, made, kind):
    source = f"{kind}:{packed}/{made}/small-node.{made}.tar"
    about = json.loads(said("skopeo", "inspect", source))
    assert about["Labels"]["org.opencontainers.image.title"] == "small-node"
    assert about["Created"] == "2026-01-02T00:00:00Z"
    assert "containers.bootc" not in about["Labels"]
    # It checks every digest on the way.
    said("skopeo", "--insecure-policy", "--tmpdir", tmp_path, "copy", source,
         f"oci:{tmp_path}/copy:it")  # fmt: skip
    index = json.loads((tmp_path / "copy/index.json").read_text())
    assert len(index["manifests"]) == 1


def test_bootc_is_promised_only_where_it_can_work(stages, tmp_path):
    configured = plant(tmp_path / "configure")
    for name in ("usr/bin/bootc", "usr/bin/ostree", "usr/lib/ostree/prepare-root.conf"):
        (configured / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (configured / "root" / name).write_text("here")
    sealed = run_stage("seal", tmp_path / "seal", {"configure": configured}, definition())
    out = run_stage("pack", tmp_path / "out", {**stages, "seal": sealed},
                    definition(formats=["oci"]))  # fmt: skip
    source = f"oci-archive:{out}/oci/small-node.oci.tar"
    about = json.loads(said("skopeo", "inspect", source))
    assert about["Labels"]["containers.bootc"] == "1"
    assert len(about["Layers"]) == 2


def test_warewulf_gets_a_profile_and_what_to_leave_out(packed, tmp_path):
    text = (packed / "warewulf/small-node.profile.yml").read_text()
    assert "image name: small-node\n" in text
    assert '        - "console=ttyS0"\n' in text
    with tarfile.open(packed / "warewulf/small-node.warewulf.tar") as outer:
        outer.extract("layer.tar", tmp_path, filter="data")
    names = said("tar", "--list", "--zstd", "--file", tmp_path / "layer.tar").splitlines()
    assert "etc/warewulf/excludes" in names
    assert "etc/warewulf/" in names


def test_the_root_of_a_netboot_is_whole(packed):
    root = packed / "netboot/rootfs.erofs"
    said("fsck.erofs", root)
    assert "Filesystem created:" in said("dump.erofs", "-s", root)
    assert "1000" in said("dump.erofs", "--path=/home/ann/notes", root)


def test_20_changes_anywhere_in_the_root_are_refused(packed, tmp_path):
    root, tree = packed / "netboot/rootfs.erofs", packed / "netboot/rootfs.verity"
    [top] = re.findall(
        "holdfast.roothash=([0-9a-f]{64}) ", (packed / "netboot/cmdline").read_text()
    )
    said("veritysetup", "verify", root, tree, top)
    whole, places = root.read_bytes(), random.Random(7)
    for number in range(20):
        at = places.randrange(len(whole))
        changed = bytearray(whole)
        changed[at] ^= 1 << places.randrange(8)
        other = tmp_path / "changed"
        other.write_bytes(changed)
        done = subprocess.run(["veritysetup", "verify", other, tree, top], capture_output=True,
                              check=False)  # fmt: skip
        assert done.returncode != 0, (number, at)


def test_the_command_line_is_in_what_firmware_starts(packed, tmp_path):
    uki = packed / "netboot/uki.efi"
    section = tmp_path / "section"
    for name, expected in (
        (".cmdline", (packed / "netboot/cmdline").read_text().rstrip("\n")),
        (".linux", "kernel"),
        (".initrd", "initrd"),
        (".uname", "6.1.0\n"),
    ):
        said("objcopy", f"--dump-section={name}={section}", uki, tmp_path / "copy")
        assert section.read_bytes().rstrip(b"\0").decode() == expected, name


def test_without_verity_nobody_is_told_that_the_root_is_proven(stages, tmp_path):
    out = run_stage("pack", tmp_path / "out", stages,
                    definition(formats=["netboot"], root={"verity": False}))  # fmt: skip
    assert "holdfast.unproven=1" in (out / "netboot/cmdline").read_text()
    assert not (out / "netboot/rootfs.verity").exists()


def test_an_archive_does_not_follow_from_how_many_processors_there_are(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    words = random.Random(1)
    (root / "big").write_bytes(b"".join(words.randbytes(40) * 9 for _ in range(90_000)))
    (tmp_path / "labels.tsv").touch()
    told = Archive(str(root), str(tmp_path / "a.zst"), 0, str(tmp_path / "labels.tsv"))
    all_of_them = os.sched_getaffinity(0)
    found = archive.write(told)
    try:
        os.sched_setaffinity(0, {min(all_of_them)})
        assert archive.write(told) == found
    finally:
        os.sched_setaffinity(0, all_of_them)
    for workers in ("1", "3"):
        plain = subprocess.run(["zstd", "-dqc", told.target], check=True, capture_output=True)
        argv = ["zstd", "-q", f"-{archive.LEVEL}", f"-T{workers}", "-c"]
        again = subprocess.run(argv, input=plain.stdout, check=True, capture_output=True)
        assert hashlib.sha256(again.stdout).hexdigest() == found.digest

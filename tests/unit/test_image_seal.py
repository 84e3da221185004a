"""A sealed tree has nothing of one machine's, and says the same whenever it was made."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import time
from pathlib import Path

import pytest

from provision.core.problems import HoldfastError
from provision.image import identity, sealing
from provision.image.filelist import read_files
from provision.image.layout import fstab, layout_of
from tests.unit.image_tree_support import definition, plant, run_stage

pytestmark = pytest.mark.needs("root")

LEFT = {
    "etc/ssh/ssh_host_ed25519_key": "etc/ssh/ssh_host_*",
    "var/lib/systemd/random-seed": "var/lib/systemd/random-seed",
    "var/lib/NetworkManager/secret_key": "var/lib/NetworkManager/*",
    "var/lib/dnf/history.sqlite": "var/lib/dnf/*",
    "var/log/journal/0123/system.journal": "var/log/journal/*",
    "var/log/dnf.rpm.log": "var/log/dnf*",
    "var/cache/dnf/repo/packages.xml": "var/cache/**/*",
    "etc/resolv.conf": "etc/resolv.conf",
    "root/.bash_history": "root/.*_history",
    "home/ann/.ssh_history": "home/*/.*_history",
    "tmp/left": "tmp",
    "dev/null": "dev",
}


def seal(folder: Path, out: Path, **given) -> Path:
    return run_stage("seal", out, {"configure": folder}, definition(**given))


def test_nothing_of_one_machine_is_left(tmp_path):
    folder = plant(tmp_path / "configure")
    for path in LEFT:
        (folder / "root" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "root" / path).write_text("left")
    (folder / "root/var/log/messages").write_text("it began")
    (folder / "root/etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    sealed = seal(folder, tmp_path / "seal")
    root = sealed / "root"
    assert [path for path in LEFT if (root / path).exists()] == []
    assert (root / "var/log/messages").read_text() == ""
    assert (root / "etc/machine-id").read_text() == "uninitialized\n"
    assert (root / "var/cache/dnf/repo").is_dir()
    said = {line.split("\t")[0] for line in (sealed / "removed.tsv").read_text().splitlines()}
    assert json.dumps("etc/resolv.conf") in said
    # What was given is as it was.
    assert (folder / "root/etc/resolv.conf").read_text() == "left"


@pytest.mark.parametrize("row", identity.ROWS, ids=lambda row: row.pattern)
def test_each_row_finds_what_it_names(row, tmp_path):
    example = row.pattern.replace("**/", "deep/er/").replace("[0-9]", "1").replace("*", "x")
    path = tmp_path / example
    path.parent.mkdir(parents=True, exist_ok=True)
    if row.treatment == "clear":
        path.mkdir()
        (path / "inside").write_text("left")
    else:
        path.write_text("left")
    assert sealing.clean(tmp_path)
    if row.treatment == "clear":
        assert list(path.iterdir()) == []
    elif path.exists():
        assert path.read_text() == ""


def test_no_link_leads_out_of_the_tree(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("stays")
    root = tmp_path / "root"
    (root / "var").mkdir(parents=True)
    for name in ("tmp", "run", "var/log", "var/cache"):
        (root / name).symlink_to(outside)
    sealing.clean(root)
    assert (outside / "precious").read_text() == "stays"


def test_root_has_no_password_and_backups_hold_nothing_older(tmp_path):
    root = seal(plant(tmp_path / "configure"), tmp_path / "seal") / "root"
    shadow = (root / "etc/shadow").read_text()
    assert shadow.splitlines()[0].startswith("root:!:20000:")
    # ann's was changed on a day that is yet to come.
    assert f"ann:!:{definition().epoch // 86400}:" in shadow
    assert (root / "etc/shadow-").read_text() == shadow
    assert stat.S_IMODE((root / "etc/shadow").stat().st_mode) == 0


def test_the_package_database_is_whole_and_alone(tmp_path):
    folder = plant(tmp_path / "configure")
    place = folder / "root/var/lib/rpm/rpmdb.sqlite"
    database = sqlite3.connect(place)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE held (name TEXT)")
    database.execute("INSERT INTO held VALUES ('alpha')")
    database.commit()
    kept = place.with_name("copy")
    for suffix in ("", "-wal", "-shm"):
        shutil.copyfile(f"{place}{suffix}", f"{kept}{suffix}")
    database.close()
    for suffix in ("", "-wal", "-shm"):
        shutil.move(f"{kept}{suffix}", f"{place}{suffix}")
    sealed = seal(folder, tmp_path / "seal") / "root/var/lib/rpm"
    assert [path.name for path in sealed.iterdir()] == ["rpmdb.sqlite"]
    with sqlite3.connect(f"file:{sealed}/rpmdb.sqlite?mode=ro", uri=True) as read:
        assert read.execute("SELECT name FROM held").fetchall() == [("alpha",)]


def test_what_the_build_compiled_goes_and_what_a_package_brought_stays(tmp_path):
    folder = plant(tmp_path / "configure")
    epoch = definition().epoch
    for name, when in (("packaged", epoch - 5), ("built", epoch + 5)):
        path = folder / f"root/usr/lib/python/{name}/__pycache__/a.pyc"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"compiled")
        os.utime(path, (when, when))
    root = seal(folder, tmp_path / "seal") / "root/usr/lib/python"
    assert (root / "packaged/__pycache__/a.pyc").exists()
    assert not (root / "built/__pycache__").exists()


def test_the_list_says_what_is_there(tmp_path):
    sealed = seal(plant(tmp_path / "configure"), tmp_path / "seal")
    listed = read_files(sealed / "files.tsv")
    found = {f"/{path}" for path in sealing.walked(sealed / "root")} - {"/etc/holdfast/image.json"}
    assert set(listed) == found | {"/"}
    assert listed["/usr/bin/su"].permissions == "4755"
    assert listed["/usr/bin/ping"].capability
    assert (listed["/home/ann/notes"].uid, listed["/home/ann/notes"].gid) == (1000, 1000)
    assert listed["/etc/dangling"].holds == "./nowhere/"
    assert listed["/run-queue"].type == "p"
    about = json.loads((sealed / "root/etc/holdfast/image.json").read_text())
    assert about["files"] == sealing.sha256(sealed / "files.tsv")


def test_another_day_and_another_order_give_the_same(tmp_path):
    first = plant(tmp_path / "first/configure")
    second = plant(tmp_path / "second/elsewhere/configure")
    for path in (second / "root").rglob("*"):
        os.utime(path, (time.time() + 999, time.time() + 999), follow_symlinks=False)
    one, two = seal(first, tmp_path / "one"), seal(second, tmp_path / "two")
    assert (one / "files.tsv").read_bytes() == (two / "files.tsv").read_bytes()
    assert times(one / "root") == times(two / "root")
    assert max(times(one / "root").values()) == definition().epoch


def times(root: Path) -> dict[str, float]:
    return {path: (root / path).lstat().st_mtime for path in sealing.walked(root)}


def test_a_date_to_come_is_refused(tmp_path):
    with pytest.raises(HoldfastError, match="yet to come"):
        seal(plant(tmp_path / "configure"), tmp_path / "seal", date="2999-01-01")


def test_a_mount_point_that_is_a_link_is_refused(tmp_path):
    folder = plant(tmp_path / "configure")
    (folder / "root/var/log/audit/.keep").unlink()
    (folder / "root/var/log/audit").rmdir()
    (folder / "root/var/log/audit").symlink_to("/srv")
    with pytest.raises(HoldfastError, match="is a link"):
        seal(folder, tmp_path / "seal")


def test_fstab_keeps_what_the_definition_does_not_name():
    wanted = definition()
    existing = "# by hand\ntmpfs /dev/shm tmpfs nodev 0 0\n/dev/sda1 / xfs ro 0 0\n"
    text = fstab(wanted, existing)
    assert "# by hand\ntmpfs /dev/shm tmpfs nodev 0 0\n" in text
    assert "/dev/sda1" not in text
    assert f"UUID={layout_of(wanted).root.uuid} / ext4 defaults 0 1\n" in text
    assert "tmpfs /tmp tmpfs defaults,mode=1777,size=64m,nodev,nosuid 0 0\n" in text
    assert "UUID=" not in fstab(wanted, text, disks=False)
    assert fstab(wanted, text) == text


def test_numbers_follow_from_the_image_alone():
    one, same, other = layout_of(definition()), layout_of(definition()), layout_of(
        definition(name="other-node")
    )  # fmt: skip
    assert one == same
    ids = [slot.uuid for slot in one.slots] + [slot.part for slot in one.slots]
    assert len(set(ids)) == len(ids)
    assert not set(ids) & {slot.uuid for slot in other.slots}
    ends = [slot.start + slot.size for slot in one.slots]
    assert [slot.start for slot in one.slots] == [1 << 20, *ends[:-1]]
    assert one.size == ends[-1] + (1 << 20)


def test_a_disk_without_a_root_is_refused():
    with pytest.raises(HoldfastError, match="one root"):
        layout_of(definition(partitions=[{"mount": "/var", "size_mib": 8}]))

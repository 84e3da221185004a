"""The lint of images: each check is seen to pass on one tree, and to fail on that tree broken."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from provision.core.problems import HoldfastError
from provision.image.lint import privileged
from provision.image.lint.checks import CHECKS
from provision.image.lint.docs import page
from provision.image.lint.inspect import inspect
from provision.image.lint.judge import finding_of, lint
from provision.image.lint.tree import Tree
from provision.image.lint.words import Check, Found, Outcome, Told
from provision.image.sandbox import Sandbox
from provision.verdict.model import Severity, Status
from tests.unit.lint_support import BREAKS, CANARY, KERNEL, MODULES, copied, make, module, put


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    """A tree without a fault."""
    return make(tmp_path_factory.mktemp("lint"))


def looked(root: Path, known: tuple[str, ...] | None, only: str = "") -> dict[str, Outcome]:
    """What every check says of a tree, or one of them."""
    skip = set(CHECKS) - {only} if only else ()
    return {one.check: one for one in inspect(Tree(root), Told(known, (CANARY,)), skip)}


@pytest.fixture(scope="module")
def known(fine):
    """The programs with another's rights that the tree has when it is as it should be."""
    return tuple(privileged.rows(Tree(fine)))


def test_a_tree_without_a_fault_passes_every_check(fine, known):
    for name, outcome in looked(fine, known).items():
        assert not outcome.unseen, (name, outcome.unseen)
        assert not outcome.absent, (name, outcome.absent)
        if not CHECKS[name].notes:
            assert not outcome.found, (name, outcome.found)


@pytest.mark.parametrize("case", BREAKS)
def test_each_fault_is_found_where_it_is(fine, known, case, tmp_path):
    path, breaks = BREAKS[case]
    root = copied(fine, tmp_path / "root")
    breaks(root)
    outcome = looked(root, known, case.split()[0])[case.split()[0]]
    assert path in [one.path for one in outcome.found], (outcome.found, outcome.unseen)
    finding = finding_of("image", CHECKS[case.split()[0]], outcome)
    assert finding.status is Status.FAIL
    assert path in finding.seen
    assert finding.action
    assert finding.clears


def _module(root: Path, folder: Path, name: str, path: str = "", **more: object) -> None:
    put(root, path or f"{MODULES}/{name}.ko", module(folder, name, **more))


def test_an_unsigned_module_is_found(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    _module(root, tmp_path, "bare", signed=False)
    found = looked(root, known, "signed-modules")["signed-modules"].found
    assert [one.path for one in found] == [f"/{MODULES}/bare.ko"]


def test_a_module_of_another_kernel_is_found(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    _module(root, tmp_path, "old", kernel="6.12.0-1.el10.x86_64")
    (found,) = looked(root, known, "driver-match")["driver-match"].found
    assert found.path == f"/{MODULES}/old.ko"
    assert "6.12.0-1.el10.x86_64" in found.words


def test_a_driver_of_another_version_than_its_module_is_found(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    _module(root, tmp_path, "nvidia", version="580.105.08")
    put(root, "usr/lib64/libcuda.so.580.95.05", "x")
    found = {
        one.path: one.words for one in looked(root, known, "driver-match")["driver-match"].found
    }
    assert found["/usr/lib64/libcuda.so.580.95.05"] == "is of driver 580.95.05"
    assert found[f"/{MODULES}/nvidia.ko"] == "is of driver 580.105.08"


def test_a_weak_update_that_leads_nowhere_is_found(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    link = root / f"usr/lib/modules/{KERNEL}/weak-updates/nvidia.ko"
    link.parent.mkdir(parents=True)
    link.symlink_to("/usr/lib/modules/gone/nvidia.ko")
    assert [one.path for one in looked(root, known, "driver-match")["driver-match"].found]


def test_what_modinfo_cannot_read_is_unseen_and_no_pass(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    put(root, f"{MODULES}/broken.ko", b"no module")
    assert "broken.ko" in looked(root, known, "signed-modules")["signed-modules"].unseen


def test_a_tree_without_modules_has_none_to_judge(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    shutil.rmtree(root / "usr/lib/modules")
    assert looked(root, known, "signed-modules")["signed-modules"].absent
    assert looked(root, known)["one-kernel"].absent


def test_a_broken_rpm_database_is_unseen_and_an_empty_one_fails(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    database = root / "usr/lib/sysimage/rpm/rpmdb.sqlite"
    database.write_bytes(b"SQLite format 3\x00" + b"\xff" * 4096)
    outcome = looked(root, known, "rpm-database")["rpm-database"]
    assert outcome.unseen or outcome.found
    shutil.rmtree(root / "usr/lib/sysimage/rpm")
    assert looked(root, known, "rpm-database")["rpm-database"].unseen == "there is no rpm database"


def test_reading_the_rpm_database_changes_nothing(fine, known):
    def state() -> dict[str, tuple[int, int]]:
        return {p.name: (p.stat().st_size, p.stat().st_mtime_ns)
                for p in (fine / "usr/lib/sysimage/rpm").iterdir()}  # fmt: skip

    before = state()
    looked(fine, known)
    assert state() == before


def test_a_file_of_no_package_is_noted_and_does_not_gate(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    put(root, "usr/bin/own", "x")
    outcome = looked(root, known, "unowned-files")["unowned-files"]
    assert "/usr/bin/own" in [one.path for one in outcome.found]
    assert "/usr/bin/rpm" not in [one.path for one in outcome.found]
    assert finding_of("image", CHECKS["unowned-files"], outcome).status is Status.PASS


@pytest.mark.needs("root")
def test_devices_capabilities_and_strange_owners_are_found(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    os.mknod(root / "etc/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
    put(root, "usr/bin/ping", "x", 0o755)
    # cap_net_raw, effective and permitted, as the kernel keeps it (vfs_cap_data, revision 2).
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(root / "usr/bin/ping", "security.capability", capability)
    os.chown(root / "etc/hostname", 4242, 0)
    found = looked(root, known)
    assert [one.path for one in found["devices"].found] == ["/etc/disk"]
    assert [one.path for one in found["owners"].found] == ["/etc/hostname"]
    (one,) = found["privileged-programs"].found
    assert one.path == "/usr/bin/ping"
    assert "net_raw+ep" in one.words


def test_without_a_recorded_list_nothing_is_proven_of_privileged_programs(fine):
    outcome = looked(fine, None)["privileged-programs"]
    assert outcome.unseen
    finding = finding_of("image", CHECKS["privileged-programs"], outcome)
    assert finding.status is Status.UNKNOWN


def test_tables_that_are_missing_are_unseen(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    (root / "etc/passwd").unlink()
    found = looked(root, known)
    for name in ("uid-zero", "empty-passwords", "owners"):
        assert found[name].unseen, name


def test_a_link_never_leads_out_of_the_tree(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    (root / "etc/machine-id").unlink()
    outside = tmp_path / "outside"
    outside.write_text("0123456789abcdef\n")
    (root / "etc/machine-id").symlink_to(f"../../../../../..{outside}")
    assert not looked(root, known)["machine-id"].found
    tree = Tree(root)
    (root / "etc/loop").symlink_to("loop")
    assert tree.resolve("/etc/loop") is None
    assert tree.resolve("/etc/../../../etc/passwd") == "/etc/passwd"


def test_a_check_that_breaks_is_unseen(fine):
    def look(_tree, _told):
        raise ValueError("it broke")
        yield

    broken = Check("broken", "t", "w", "f", Severity.LOW, look)
    from provision.image.lint.inspect import _one

    outcome = _one(Tree(fine), Told(), broken)
    assert "it broke" in outcome.unseen


def test_many_things_are_counted_and_some_are_named():
    check = CHECKS["logs"]
    outcome = Outcome("logs", [Found(f"/var/log/{n}", "is there") for n in range(20)], more=5)
    assert "and 13 more" in finding_of("image", check, outcome).seen


def test_in_the_sandbox_it_says_the_same(fine, known, tmp_path):
    found = lint(fine, Sandbox(), image="x", privileged=known)
    status = {finding.check: finding.status for finding in found.findings}
    assert set(status) == {f"lint.{name}" for name in CHECKS}
    assert set(status.values()) == {Status.PASS}
    assert found.privileged == known
    assert found.paths == len(Tree(fine).entries)


def test_what_is_skipped_says_why_and_is_no_pass(fine, known):
    found = lint(fine, Sandbox(), image="x", privileged=None,
                 skip={"privileged-programs": "nobody looked yet"})  # fmt: skip
    (one,) = [f for f in found.findings if f.check == "lint.privileged-programs"]
    assert (one.status, one.reason) == (Status.WAIVED, "nobody looked yet")


def test_an_unknown_check_and_a_missing_reason_are_refused(fine):
    with pytest.raises(HoldfastError) as caught:
        lint(fine, Sandbox(), image="x", skip={"machine-ids": "x", "logs": " "})
    told = str(caught.value)
    assert "machine-id" in told
    assert "without a reason" in told
    assert caught.value.exit_code == 2


def test_a_recorded_list_is_read_as_it_was_written(tmp_path):
    rows = ("/usr/bin/su\t4755\troot\troot\t-",)
    privileged.write(tmp_path / "a/list.tsv", rows)
    assert privileged.read(tmp_path / "a/list.tsv") == rows
    assert privileged.read(tmp_path / "none.tsv") is None
    (tmp_path / "bad.tsv").write_text("usr/bin/su 4755\n")
    with pytest.raises(HoldfastError, match="a row has"):
        privileged.read(tmp_path / "bad.tsv")


def test_the_page_has_every_check():
    text = page()
    for name, check in CHECKS.items():
        assert f"`{name}`" in text
        assert check.why in text


def test_every_check_says_what_a_reader_needs():
    for check in CHECKS.values():
        assert check.title[0].isupper()
        assert check.why
        assert check.fix
    named = {case.split()[0] for case in BREAKS}
    elsewhere = {"signed-modules", "driver-match", "rpm-database", "unowned-files", "devices",
                 "owners"}  # fmt: skip
    assert set(CHECKS) == named | elsewhere


def test_the_answer_survives_names_that_are_no_text(fine, known, tmp_path):
    root = copied(fine, tmp_path / "root")
    with open(os.fsencode(root) + b"/tmp/\xff\xfe", "wb"):
        pass
    found = lint(root, Sandbox(), image="x", privileged=known)
    (one,) = [f for f in found.findings if f.check == "lint.build-leftovers"]
    assert one.status is Status.FAIL
    json.dumps(one.to_json())

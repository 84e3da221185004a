"""Labels are those that libselinux gives, and a tree without a policy says that it has none."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
from pathlib import Path

import pytest

from provision.core.problems import HoldfastError
from provision.image.filelist import Entry
from provision.image.filelist import written as listed
from provision.image.labels import Matcher, Text, read_labels
from tests.unit.image_tree_support import definition, run_stage

CONTEXTS = r"""
# a comment
/.*                         system_u:object_r:default_t:s0
/                       -d  system_u:object_r:root_t:s0
/usr(/.*)?                  system_u:object_r:usr_t:s0
/usr/(s)?bin/.*             system_u:object_r:bin_t:s0
/usr/lib(64)?/.*\.so(\.[^/]*)* --  system_u:object_r:lib_t:s0
/usr/lib/lib[a-c]x.*\.so    --  system_u:object_r:odd_lib_t:s0
/usr/bin/passwd         --  system_u:object_r:passwd_exec_t:s0
/usr/bin/pass.*         --  system_u:object_r:late_t:s0
/var/log(/.*)?              system_u:object_r:var_log_t:s0
/var/log/audit(/.*)?        system_u:object_r:auditd_log_t:s15:c0.c1023
/proc/.*                    <<none>>
/dev/sd[^/]*            -b  system_u:object_r:fixed_disk_device_t:s0
/etc/a\+b\.conf             system_u:object_r:plus_t:s0
/opt/x?y                    system_u:object_r:maybe_t:s0
/srv/(one|two)/.*           system_u:object_r:either_t:s0
/run/.*                     system_u:object_r:var_run_t:s0
"""
LOCAL = "/usr/bin/late    --  system_u:object_r:local_t:s0\n"
ALIASES = "/var/run /run\n/lib /usr/lib\n"
PATHS = {
    "/": "d", "/usr": "d", "/usr/bin/ls": "f", "/usr/sbin/ls": "l", "/usr/bin/passwd": "f",
    "/usr/bin/passwd2": "f", "/usr/bin/late": "f", "/usr/lib64/libx.so.1.2": "f",
    "/usr/lib/libx.so": "d", "/usr/lib/libax9.so": "f", "/lib/libax9.so": "f", "/libel": "f",
    "/var/log/audit/audit.log": "f", "/var/log/auditing": "f", "/proc/1": "d", "/dev/sda": "b",
    "/dev/sda1/x": "b", "/etc/a+b.conf": "f", "/opt/y": "f", "/opt/xy": "f", "/opt/xxy": "f",
    "/srv/two/a": "f", "/srv/three/a": "f", "/var/run/x.pid": "f", "/var/running": "f",
    "/usr/share/größe": "f", "/usr/bin/with space": "f",
}  # fmt: skip
MODES = {"f": 0o100000, "d": 0o040000, "l": 0o120000, "b": 0o060000}


def matcher() -> Matcher:
    return Matcher(
        [Text("file_contexts", CONTEXTS), Text("file_contexts.local", LOCAL)],
        [Text("subs", ""), Text("subs_dist", ALIASES)],
    )


class _Option(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("value", ctypes.c_char_p))


def test_labels_are_libselinux_s(tmp_path):
    for name, text in (("", CONTEXTS), (".local", LOCAL), (".subs_dist", ALIASES)):
        (tmp_path / f"file_contexts{name}").write_text(text)
    library = ctypes.CDLL(ctypes.util.find_library("selinux"))
    library.selabel_open.restype = ctypes.c_void_p
    option = (_Option * 1)(_Option(3, str(tmp_path / "file_contexts").encode()))
    opened = library.selabel_open(0, option, 1)
    assert opened
    ours, theirs = {}, {}
    for path, kind in PATHS.items():
        found = ctypes.c_char_p()
        failed = library.selabel_lookup_raw(
            ctypes.c_void_p(opened), ctypes.byref(found), path.encode(), MODES[kind]
        )
        theirs[path] = None if failed or found.value is None else found.value.decode()
        ours[path] = matcher().label(path, kind)
    assert ours == theirs
    assert len(set(ours.values())) > 12


@pytest.mark.parametrize(
    "line", ["/usr", "/usr -q system_u:object_r:usr_t:s0", "/usr( system_u:object_r:usr_t:s0"]
)
def test_a_bad_line_is_named(line):
    with pytest.raises(HoldfastError) as caught:
        Matcher([Text("file_contexts", f"# one\n{line}\n")])
    assert str(caught.value.problems[0].position) == "file_contexts:2:1"


def sealed(folder: Path) -> Path:
    root = folder / "root"
    (root / "usr").mkdir(parents=True)
    entries = [Entry("/", "d", 0o755, 0, 0, 0, "-", "-"),
               Entry("/usr", "d", 0o755, 0, 0, 0, "-", "-"),
               Entry("/proc", "d", 0o755, 0, 0, 0, "-", "-")]  # fmt: skip
    (folder / "files.tsv").write_text("".join(listed(entries)))
    return folder


def policy(root: Path, *, named: str = "targeted") -> None:
    place = root / "etc/selinux/targeted/contexts/files"
    place.mkdir(parents=True)
    (place / "file_contexts").write_text(CONTEXTS)
    (root / "etc/selinux/config").write_text(f"SELINUX=enforcing\nSELINUXTYPE={named}\n")


def test_a_tree_without_a_policy_says_so(tmp_path):
    out = run_stage("label", tmp_path / "out", {"seal": sealed(tmp_path / "seal")}, definition())
    assert read_labels(out / "labels.tsv") == {}
    about = json.loads((out / "policy.json").read_text())
    assert about["policy"] is None
    assert "no SELinux policy" in about["says"]


def test_every_path_is_labelled_by_the_tree_s_policy(tmp_path):
    tree = sealed(tmp_path / "seal")
    policy(tree / "root")
    out = run_stage("label", tmp_path / "out", {"seal": tree}, definition())
    labels = read_labels(out / "labels.tsv")
    assert labels["/"] == "system_u:object_r:root_t:s0"
    assert labels["/usr"] == "system_u:object_r:usr_t:s0"
    # What seal writes after it listed the tree is a path too.
    assert "/etc/holdfast/image.json" in labels
    assert json.loads((out / "policy.json").read_text())["policy"] == "targeted"


@pytest.mark.parametrize("named", ["mls", ""])
def test_a_policy_that_is_not_there_is_no_policy(tmp_path, named):
    tree = sealed(tmp_path / "seal")
    policy(tree / "root", named=named)
    with pytest.raises(HoldfastError, match="polic"):
        run_stage("label", tmp_path / "out", {"seal": tree}, definition())

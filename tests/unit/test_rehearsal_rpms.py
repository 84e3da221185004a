"""RPMs out of Debian packages: versions, file lists, and one that rpm itself reads."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from provision.core.problems import HoldfastError
from provision.rehearsal import repodata, rpms
from provision.rehearsal.base import licence_of
from provision.rehearsal.rpms import Package, build_rpms

PACKAGE = Package(
    name="hello-el",
    source="hello",
    debian_version="1:2.10~rc1-3+deb13u1",
    summary="Says hello",
    licence="GPL-3+",
    paths=("/usr", "/usr/bin/hello", "/etc/hello.conf", "/gone", "/bin/hello"),
    requires=("hello-data",),
    provides=("/bin/hello",),
    post="echo installed",
)


@pytest.mark.parametrize(
    ("debian", "epoch", "version", "release"),
    [
        ("1:2.10~rc1-3+deb13u1", 1, "2.10~rc1", "3+deb13u1.hfr10"),
        ("257.9-1~deb13u1", 0, "257.9", "1~deb13u1.hfr10"),
        ("20250419", 0, "20250419", "0.hfr10"),
        ("2.0-rc-1-4", 0, "2.0.rc.1", "4.hfr10"),
        ("5:1.2:3-1", 5, "1.2.3", "1.hfr10"),
    ],
)
def test_versions(debian, epoch, version, release):
    package = replace(PACKAGE, debian_version=debian)
    assert (package.epoch, package.version, package.release("10")) == (epoch, version, release)


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    for name, mode in (("usr/bin/hello", 0o755), ("etc/hello.conf", 0o640)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
        (root / name).chmod(mode)
    (root / "bin").symlink_to("usr/bin")
    (root / "etc/with space").write_text("")
    return root


def test_file_lines_say_mode_owner_and_kind(tree):
    (tree / "etc/passwd").write_text(f"somebody:x:{os.getuid()}:0::/:/bin/sh\n")
    names = ("/usr", "/usr/bin/hello", "/bin/hello", "/bin", "/etc/hello.conf", "/gone")
    lines = list(rpms._file_lines(tree, (*names, "/etc/with space")))
    mode = (tree / "usr").stat().st_mode & 0o7777
    assert lines == [
        "%attr(-, somebody, root) /bin\n",
        # /bin/hello is /usr/bin/hello, and stands there once
        "%attr(0755, somebody, root) /usr/bin/hello\n",
        "%attr(0640, somebody, root) %config(noreplace) /etc/hello.conf\n",
        f"%attr({mode:04o}, somebody, root) %dir /usr\n",
    ]


def test_a_built_rpm_is_what_was_described(tree, tmp_path):
    (built,) = build_rpms("t", [PACKAGE], tree, tmp_path / "out", major="10", compress=True)
    entry = repodata.entry(built, "10", "some-key")
    assert entry["name"] == "hello-el"
    assert (entry["epoch"], entry["version"]) == (1, "2.10~rc1")
    assert entry["size"] == built.stat().st_size

    def ask(*words: str) -> list[str]:
        done = subprocess.run(["rpm", "-qp", "--nosignature", *words, built], capture_output=True,
                              text=True, check=True)  # fmt: skip
        return done.stdout.splitlines()

    assert ask("--list") == ["/etc/hello.conf", "/usr", "/usr/bin/hello"]
    assert ask("--configfiles") == ["/etc/hello.conf"]
    assert "hello-data" in ask("--requires")
    assert "/bin/hello" in ask("--provides")
    assert "echo installed" in ask("--scripts")
    assert ask("--qf", "%{SUMMARY}|%{LICENSE}") == ["Says hello|GPL-3+"]
    assert (tree / "usr/bin/hello").read_text() == "usr/bin/hello"


def test_a_name_without_a_file_is_no_package(tree, tmp_path):
    nothing = replace(PACKAGE, paths=("/usr", "/gone"))
    with pytest.raises(HoldfastError, match="hello-el would have no file"):
        build_rpms("t", [nothing], tree, tmp_path / "out", major="10", compress=True)


def test_a_failed_build_says_what_rpmbuild_said(tree, tmp_path):
    bad = replace(PACKAGE, requires=("a > b > c",))
    with pytest.raises(HoldfastError, match="rpmbuild failed"):
        build_rpms("t", [bad], tree, tmp_path / "out", major="10", compress=False)


def test_licences_are_read_from_debians_files(tmp_path):
    path = tmp_path / "copyright"
    assert licence_of(path) == "unknown"
    path.write_text("free form text\n")
    assert licence_of(path) == "see the package's copyright file"
    path.write_text("Files: *\nLicense: MIT\n\nFiles: b\nLicense: GPL-2+\nLicense: MIT\n")
    assert licence_of(path) == "MIT and GPL-2+"

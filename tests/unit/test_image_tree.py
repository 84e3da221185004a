"""Resolve and tree for Enterprise Linux: a lock, real RPMs, real dnf, an empty root, no network."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.core.events import NullSink
from provision.core.problems import HoldfastError
from provision.image.build import Built, build
from provision.image.sandbox import Sandbox
from provision.image.store import Store
from provision.image.work import Given
from provision.rehearsal import repodata
from provision.rehearsal.shell import run
from tests.unit.image_definitions import definition

pytestmark = [pytest.mark.slow, pytest.mark.needs("user_namespaces")]

SPEC = """
Name: {name}
Version: 1
Release: 1.el10
Summary: {name}
License: MIT
BuildArch: noarch
{more}
%description
{name}
%install
mkdir -p %{{buildroot}}/etc %{{buildroot}}/usr/bin
echo {name} > %{{buildroot}}/etc/{name}
%files
%attr(0640, root, root) /etc/{name}
"""


@dataclass(frozen=True)
class Origin:
    """A folder as an origin serves it, and the lock that pins it."""

    files: Path
    lock: Path

    def given(self) -> Given:
        return Given(lock=self.lock, files=self.files)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """Three RPMs, one of which needs another, signed by nobody and pinned by digest."""
    home = tmp_path_factory.mktemp("origin")
    folder = home / "files/el10/x86_64"
    folder.mkdir(parents=True)
    kinds = {"alpha": "Requires: beta", "beta": "", "gamma": ""}
    for name, more in kinds.items():
        spec = home / f"{name}.spec"
        spec.write_text(SPEC.format(name=name, more=more))
        named = "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"
        run(["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {home}/build",
             "--define", f"_rpmdir {folder}", "--define", named, spec])  # fmt: skip
    (home / "gpg").mkdir(mode=0o700)
    with repodata.short_way(home / "gpg") as private:
        key = repodata.make_key(private)
    rpms = [
        {**repodata.entry(path, "10", repodata.KEY_NAME), "roles": [], "licence": "MIT",
         "licence_class": "open", "reason": "for this test"}
        for path in sorted(folder.glob("*.rpm"))
    ]  # fmt: skip
    lock = home / "stack.lock.json"
    lock.write_text(json.dumps(_lock(rpms, key)))
    return Origin(home / "files", lock)


def _lock(rpms: list[dict[str, Any]], key: dict[str, str]) -> dict[str, Any]:
    repository = {
        "id": repodata.REPOSITORY, "name": "Test", "origin": "here", "path": "el10/x86_64",
        "key": repodata.KEY_NAME, "release": "10", "arch": "x86_64",
    }  # fmt: skip
    here = {"kind": "mirror", "address": "http://192.0.2.1", "reason": "for this test"}
    return {
        "schema": "holdfast.stack/1", "name": "test", "created": "2026-11-23T00:00:00Z",
        "origins": {"here": here}, "keys": {repodata.KEY_NAME: key},
        "repositories": [repository], "rpms": rpms, "images": [], "models": [], "wheels": [],
    }  # fmt: skip


def built(origin: Origin, home: Path, *packages: str) -> Built:
    one = definition(profile="none", roles={}, packages=list(packages))
    store = Store(home / "store")
    return build(one, origin.given(), NullSink(), until="tree", store=store, environ={})


def test_the_tree_holds_what_was_named_and_what_that_needs(origin, tmp_path):
    tree = built(origin, tmp_path, "alpha").outputs["tree"] / "root"
    said = Sandbox().run(["rpm", "--root", os.fspath(tree), "--dbpath", "/usr/lib/sysimage/rpm",
                          "-qa", "--qf", "%{NAME}\\n"])  # fmt: skip
    assert sorted(said.split()) == ["alpha", "beta"]
    assert (tree / "etc/alpha").read_text() == "alpha\n"
    assert Sandbox().run(["stat", "-c", "%u:%g %a", tree / "etc/alpha"]) == "0:0 640\n"
    # What dnf leaves of itself says when and where it ran.
    assert not list(tree.glob("var/lib/dnf")) + list(tree.glob("root/.rpmdb"))


def test_two_trees_of_one_lock_have_the_same_database(origin, tmp_path):
    databases = []
    for number in "ab":
        tree = built(origin, tmp_path / number, "alpha").outputs["tree"] / "root"
        databases.append((tree / "usr/lib/sysimage/rpm/rpmdb.sqlite").read_bytes())
    assert databases[0] == databases[1]


def test_what_the_lock_does_not_name_is_told_the_nearest(origin, tmp_path):
    with pytest.raises(HoldfastError, match="there is no package 'alpa'") as raised:
        built(origin, tmp_path, "alpa")
    assert "did you mean 'alpha'?" in str(raised.value)


def test_another_file_than_was_pinned_is_refused(origin, tmp_path):
    copy = tmp_path / "files"
    Sandbox((tmp_path,)).copy(origin.files, copy)
    rpm = next(copy.rglob("beta-*.rpm"))
    rpm.write_bytes(rpm.read_bytes()[:-1] + b"x")
    with pytest.raises(HoldfastError, match="another file than was pinned"):
        built(Origin(copy, origin.lock), tmp_path, "alpha")
    rpm.unlink()
    with pytest.raises(HoldfastError, match="it cannot be read"):
        built(Origin(copy, origin.lock), tmp_path, "alpha")


def test_without_a_lock_it_is_said_what_to_give(tmp_path):
    one = definition(profile="none", roles={}, packages=["alpha"])
    with pytest.raises(HoldfastError, match="no stack lock names them") as raised:
        build(one, Given(), NullSink(), until="tree", store=Store(tmp_path), environ={})
    assert "--base rehearsal" in str(raised.value)

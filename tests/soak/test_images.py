"""Whole builds of an image on the rehearsal's base: a second run changes nothing, nor does a kill.

They take minutes each, and the first one builds the base.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.cli.main import main
from provision.core.events import NullSink
from provision.core.paths import cache_home
from provision.image import stage_configure, stages
from provision.image.build import Built, build
from provision.image.definition import Definition
from provision.image.load import load, ours
from provision.image.sandbox import Sandbox
from provision.image.store import Store
from provision.image.work import Given, Work
from provision.rehearsal.image_base import image_base

pytestmark = [pytest.mark.soak, pytest.mark.needs("user_namespaces")]


@pytest.fixture(scope="module")
def definition() -> Definition:
    return load(ours()["gpu-node"]).definition.model_copy(
        update={"base": "rehearsal", "formats": ("tar",)}
    )


@pytest.fixture(scope="module")
def given(definition: Definition) -> Given:
    return Given(base=image_base(str(definition.release), definition.epoch, NullSink()))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of these tests' own; pytest cannot remove what belongs to other owners."""
    folder = tmp_path_factory.mktemp("images")
    yield folder
    Sandbox().remove(folder)


@pytest.fixture(scope="module")
def built(definition: Definition, given: Given, home: Path) -> Built:
    return build(definition, given, NullSink(), until="seal", store=Store(home), environ={})


def work_of(built: Built, given: Given, out: Path) -> Work:
    """A run of configure on `out`, as the engine makes one."""
    known = stages.known()["configure"]
    return Work(
        stage="configure",
        definition=known.fields(built.definition),
        options=known.stage.options(built.definition, given),
        inputs=dict(built.outputs),
        out=out,
        epoch=built.epoch,
        sandbox=Sandbox((out,), built.epoch),
        events=NullSink(),
        given=given,
    )


def test_the_second_run_of_the_roles_changes_nothing(built, given, home):
    out = home / "again"
    out.mkdir()
    Sandbox((out,)).copy(built.outputs["configure"] / "root", out / "root")
    first = json.loads((built.outputs["configure"] / "changes.json").read_text())["changes"]
    assert len(first) >= 5
    assert stage_configure.configure(work_of(built, given, out), out / "root") == []


def test_another_base_has_another_id_and_the_same_one_is_used_again(built, given, home):
    again = build(built.definition, given, NullSink(), until="seal", store=Store(home), environ={})
    assert all(one.reused for one in again.stages)
    later = replace(given)
    changed = built.definition.model_copy(update={"roles": {**built.definition.roles, "time": {
        "servers": ["192.0.2.1"]}}})  # fmt: skip
    known = stages.known()
    for name, same in (("tree", True), ("configure", False)):
        ids = [_id(known, one, later, name) for one in (built.definition, changed)]
        assert (ids[0] == ids[1]) is same, name


def _id(known: Any, definition: Definition, given: Given, last: str) -> str:
    records: dict[str, Any] = {}
    for name, one in known.items():
        records[name] = stages.identify(one, definition, given, records, epoch=definition.epoch)
        if name == last:
            return str(records[name].id)
    raise AssertionError(last)


KILLED = {
    "resolve": 0.1,
    "tree": 2.0,
    "configure": 6.0,
    "seal": 1.5,
    "kernel": 3.0,
    "scan": 4.0,
    "label": 0.0,
    "sbom": 0.5,
    "pack": 1.0,
    "sign": 0.1,
}
"""Every stage, in the order in which they are killed: how long after its start, in seconds."""
DIFFERENT = {"envelope.dsse.json", "removed.tsv", "results.xml.gz"}
"""A signature, the names of authselect's backups, which the image is without, and OpenSCAP's own
document follow from chance and from the clock."""


class Killer:
    """The same build again and again in one cache, as somebody calls it."""

    def __init__(self, cache: Path, key: Path) -> None:
        self.cache = cache
        self.environment = {**os.environ, "XDG_CACHE_HOME": str(cache.parent)}
        self.words = ("image", "build", "gpu-node", "--base", "rehearsal", "--format", "tar",
                      "--key", str(key))  # fmt: skip

    def _run(self, *words: str) -> str:
        argv = [sys.executable, "-m", "provision", *words]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill(self, victim: str, after_s: float) -> None:
        """Begin the build, and kill it so long after the stage `victim` began."""
        argv = [sys.executable, "-m", "provision", *self.words]
        process = subprocess.Popen(argv, env=self.environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event.get("kind") == "stage.start" and event.get("phase") == victim:
                time.sleep(after_s)
                break
        process.kill()
        process.wait()
        assert process.returncode == -signal.SIGKILL, f"{victim}: it had ended before"
        assert not self.whole(victim), f"{victim} was done before it was killed"

    def whole(self, stage: str) -> list[Path]:
        """The outputs of a stage that look finished."""
        return sorted(mark.parent for mark in self.cache.glob(f"image/{stage}-*/.whole"))

    def finish(self) -> dict[str, str]:
        """Let the build come to its end; the digest of all that it made from seal on."""
        told = json.loads(self._run(*self.words, "--json"))
        found = {}
        for stage in told["stages"][3:]:
            out = Path(stage["out"])
            for path in sorted(out.rglob("*")):
                name = path.relative_to(out)
                if name.parts[0] != "root" and path.is_file() and path.name not in DIFFERENT:
                    text = hashlib.sha256(path.read_bytes()).hexdigest()
                    found[f"{stage['stage']}/{name}"] = text
        return found


def test_a_build_that_was_killed_in_every_stage_comes_to_the_same_bytes(given, home):
    assert set(KILLED) == set(stages.known())
    assert given.base is not None
    assert main(["image", "key", str(home / "keys")]) == 0
    key = home / "keys/image.key"
    # One that nobody killed, in the cache that is there; the other begins with the base alone.
    whole = Killer(cache_home(), key).finish()
    cache = home / "killed/holdfast"
    cache.mkdir(parents=True)
    (cache / "rehearsal").symlink_to(given.base.parent)
    killer = Killer(cache, key)
    for victim, after_s in KILLED.items():
        killer.kill(victim, after_s)
    again = killer.finish()
    assert len(whole) > len(KILLED)
    assert again == whole

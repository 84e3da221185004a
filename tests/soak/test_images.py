"""Whole builds of an image on the rehearsal's base: a second run changes nothing, nor does a kill.

They take minutes each, and the first one builds the base.
"""

from __future__ import annotations

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

from provision.core.events import NullSink
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


@pytest.mark.parametrize("victim", ["resolve", "tree", "configure", "seal"])
def test_a_build_that_was_killed_in_a_stage_comes_to_the_same_bytes(victim, built, home):
    folder = home / f"killed-{victim}"
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    cache = folder / "holdfast"
    cache.mkdir(parents=True)
    # The base is an input here, and is not built anew.
    (cache / "rehearsal").symlink_to(Path(image_base("10", built.epoch, NullSink())).parent)
    argv = [sys.executable, "-m", "provision", "image", "build", "gpu-node", "--base", "rehearsal",
            "--format", "tar", "--until", "seal"]  # fmt: skip
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event.get("kind") == "stage.start" and event.get("phase") == victim:
            time.sleep(0.5)
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    assert process.returncode == -signal.SIGKILL
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = next((cache / "image").glob("seal-*/out/files.tsv"))
    assert files.read_bytes() == (built.outputs["seal"] / "files.tsv").read_bytes()

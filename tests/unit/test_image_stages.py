"""Stages: what names an output, what is made again, and what a kill leaves."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision.core.events import ListSink
from provision.core.once import WHOLE
from provision.core.problems import HoldfastError, fail
from provision.core.shapes import Model
from provision.image import build as builds
from provision.image import stages
from provision.image.build import build, collect
from provision.image.definition import Definition
from provision.image.progress import BuildShow
from provision.image.stages import Known, identify
from provision.image.store import Store
from provision.image.work import Given, StageRecord, Work
from tests.unit.image_definitions import definition


class Options(Model):
    """What a made-up stage takes."""

    flavour: str = "plain"


def stage(
    name: str,
    make: Callable[[Work], None],
    *,
    needs: tuple[str, ...] = (),
    reads: tuple[str, ...] = ("name",),
    version: int = 1,
    flavour: str = "plain",
    parts: dict[str, str] | None = None,
) -> Known:
    """A stage that is no module."""
    body = SimpleNamespace(
        VERSION=version,
        NEEDS=needs,
        READS=reads,
        TOOLS=(),
        PARTS=parts or {},
        Options=Options,
        options=lambda one, given: Options(flavour=flavour),
        run=make,
    )
    return Known(name, f"makes {name}", body)


def first(work: Work) -> None:
    (work.out / "thing").write_text(work.definition.name)


def second(work: Work) -> None:
    (work.out / "more").write_text((work.inputs["first"] / "thing").read_text() + "!")


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, Known]:
    """The stages that there are for a test; none of the real ones."""
    found: dict[str, Known] = {}
    monkeypatch.setattr(stages, "known", lambda: found)
    monkeypatch.setattr(stages, "sources", lambda name: {f"stage_{name}.py": "0" * 64})
    return found


def put(table: dict[str, Known], *known: Known) -> None:
    table.clear()
    table.update({one.name: one for one in known})


def states(events: ListSink) -> list[tuple[str | None, Any]]:
    return [(e.phase, e.data["state"]) for e in events.seen if e.kind == "stage.end"]


def run(store: Store, one: Definition | None = None, **given: Any) -> tuple[Any, ListSink]:
    events = ListSink()
    return build(one or definition(), Given(), events, store=store, environ={}, **given), events


def test_what_is_there_is_used_again(table, tmp_path):
    put(table, stage("first", first), stage("second", second, needs=("first",)))
    store = Store(tmp_path / "s")
    built, events = run(store)
    assert (built.outputs["second"] / "more").read_text() == "node!"
    assert states(events) == [("first", "made"), ("second", "made")]
    again, events = run(store)
    assert states(events) == [("first", "reused"), ("second", "reused")]
    assert again.outputs == built.outputs
    assert all(one.reused for one in again.stages)


def ids(table: dict[str, Known], one: Definition, epoch: int = 0) -> dict[str, str]:
    records: dict[str, StageRecord] = {}
    for known in table.values():
        records[known.name] = identify(known, one, Given(), records, epoch=epoch)
    return {name: record.id for name, record in records.items()}


def test_an_id_changes_exactly_with_what_the_stage_depends_on(table):
    plain = [stage("first", first), stage("second", second, needs=("first",))]
    put(table, *plain)
    before = ids(table, definition())
    # What no stage reads changes nothing.
    assert ids(table, definition(title="Another")) == before
    # What the first reads changes it, and what builds on it.
    other = ids(table, definition(name="other"))
    assert all(other[name] != before[name] for name in before)
    put(table, plain[0], stage("second", second, needs=("first",), flavour="sour"))
    changed = ids(table, definition())
    assert changed["first"] == before["first"]
    assert changed["second"] != before["second"]
    put(table, stage("first", first, version=2), plain[1])
    assert all(ids(table, definition())[name] != before[name] for name in before)
    put(table, *plain)
    assert all(ids(table, definition(), epoch=1)[name] != before[name] for name in before)


def test_a_changed_source_makes_another_id(table, monkeypatch):
    put(table, stage("first", first))
    before = ids(table, definition())
    monkeypatch.setattr(stages, "sources", lambda name: {"stage_first.py": "1" * 64})
    assert ids(table, definition()) != before


def test_an_edit_during_a_build_does_not_name_what_the_old_text_made(monkeypatch, tmp_path):
    stages.sources.cache_clear()
    text = tmp_path / "text"
    text.write_text("old")
    monkeypatch.setattr(stages.known()["tree"].stage, "SOURCES", (text,), raising=False)
    before = stages.sources("tree")
    text.write_text("new")
    assert stages.sources("tree") == before
    stages.sources.cache_clear()
    assert stages.sources("tree") != before
    stages.sources.cache_clear()


def test_a_tool_of_another_version_makes_another_id(table, monkeypatch):
    put(table, stage("first", first))
    monkeypatch.setattr(stages, "versions", lambda tools: {"mke2fs": "1.47.0"})
    before = ids(table, definition())
    monkeypatch.setattr(stages, "versions", lambda tools: {"mke2fs": "1.47.1"})
    assert ids(table, definition()) != before


def test_a_missing_tool_is_named():
    with pytest.raises(HoldfastError, match="no-such-tool is not installed"):
        stages.versions(("no-such-tool",))


def test_a_stage_sees_only_the_fields_that_it_names(table, tmp_path):
    def looks(work: Work) -> None:
        assert work.definition.title

    put(table, stage("first", looks))
    with pytest.raises(AttributeError, match="title"):
        run(Store(tmp_path / "s"))
    put(table, stage("first", looks, reads=("title",)))
    run(Store(tmp_path / "s"))


def test_what_failed_is_told_and_leaves_nothing(table, tmp_path):
    def fails(work: Work) -> None:
        (work.out / "half").write_text("x")
        raise fail("power", "the power went")

    put(table, stage("first", first), stage("second", fails, needs=("first",)))
    store, events = Store(tmp_path / "s"), ListSink()
    with pytest.raises(HoldfastError, match="the power went"):
        build(definition(), Given(), events, store=store, environ={})
    assert states(events) == [("first", "made"), ("second", "failed")]
    assert not list(store.home.glob("second-*[!k]"))
    put(table, stage("first", first), stage("second", second, needs=("first",)))
    _, events = run(store)
    assert states(events) == [("first", "reused"), ("second", "made")]


def test_what_reads_a_part_is_made_again_only_with_that_part(table, tmp_path):
    def whole(work: Work) -> None:
        name = work.definition.name
        (work.out / "parts.json").write_text(json.dumps({"early": name[0]}))

    put(table, stage("first", whole),
        stage("second", lambda work: None, needs=("first",), reads=(), parts={"first": "early"}),
        stage("third", lambda work: None, needs=("first",), reads=()))  # fmt: skip
    store = Store(tmp_path / "s")
    run(store, definition(name="node"))
    _, events = run(store, definition(name="nodes"))
    assert dict(states(events)) == {"first": "made", "second": "reused", "third": "made"}
    _, events = run(store, definition(name="other"))
    assert set(dict(states(events)).values()) == {"made"}


def test_stages_that_need_the_same_run_at_once(table, tmp_path):
    both = threading.Barrier(2, timeout=20)

    def meets(work: Work) -> None:
        assert work.stages.keys() == {"first"}
        both.wait()

    put(table, stage("first", first), stage("left", meets, needs=("first",)),
        stage("right", meets, needs=("first",)),
        stage("last", lambda work: None, needs=("left", "right")))  # fmt: skip
    built, events = run(Store(tmp_path / "s"))
    assert list(built.outputs) == ["first", "left", "right", "last"]
    assert states(events)[0] == ("first", "made")
    assert states(events)[-1] == ("last", "made")


@pytest.mark.needs("user_namespaces")
def test_what_runs_beside_a_stage_that_failed_is_ended(table, tmp_path):
    begun = threading.Event()

    def long(work: Work) -> None:
        begun.set()
        work.sandbox.run(["sleep", "600"])

    def fails(work: Work) -> None:
        assert begun.wait(20)
        raise fail("gate", "the gate refused this tree")

    put(table, stage("first", first), stage("long", long, needs=("first",)),
        stage("gate", fails, needs=("first",)),
        stage("last", lambda work: None, needs=("long", "gate")))  # fmt: skip
    store, events = Store(tmp_path / "s"), ListSink()
    with pytest.raises(HoldfastError, match="the gate refused"):
        build(definition(), Given(), events, store=store, environ={})
    assert states(events) == [("first", "made"), ("gate", "failed"), ("long", "stopped")]
    assert [path.name[:5] for path in store.entries()] == ["first"]
    assert not list(store.home.glob("*.part"))


def _killed_in_the_middle(home: str, told: Any) -> None:
    def make(out: Path) -> None:
        (out / "half").write_text("x")
        told.send("here")
        time.sleep(60)

    Store(Path(home)).get("first", "a" * 64, make, {})


def test_a_killed_stage_is_made_anew(tmp_path):
    store = Store(tmp_path / "s")
    hears, told = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    victim = context.Process(target=_killed_in_the_middle, args=(str(store.home), told))
    victim.start()
    assert hears.recv() == "here"
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    assert store.entries() == []
    out, made = store.get("first", "a" * 64, lambda out: (out / "whole").touch() or None, {})
    assert made
    assert sorted(path.name for path in out.iterdir()) == ["whole"]


def test_until_ends_there_and_an_unknown_stage_is_told(table, tmp_path):
    put(table, stage("first", first), stage("second", second, needs=("first",)))
    built, _ = run(Store(tmp_path / "s"), until="first")
    assert list(built.outputs) == ["first"]
    with pytest.raises(HoldfastError, match="did you mean 'second'"):
        run(Store(tmp_path / "s"), until="secnd")


def test_the_epoch_is_the_date_or_what_the_environment_says():
    one = definition()
    assert builds.epoch_of(one, {}) == one.epoch
    assert builds.epoch_of(one, {"SOURCE_DATE_EPOCH": "7"}) == 7
    with pytest.raises(HoldfastError, match="not a number"):
        builds.epoch_of(one, {"SOURCE_DATE_EPOCH": "now"})


def test_the_result_is_copied_into_a_new_folder_only(table, tmp_path):
    put(table, stage("first", first))
    built, _ = run(Store(tmp_path / "s"))
    target = tmp_path / "out"
    assert [path.name for path in collect(built, target)] == ["thing"]
    assert (target / "thing").read_text() == "node"
    with pytest.raises(HoldfastError, match="not empty"):
        collect(built, target)


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """A store with six outputs of one stage, the first used the longest ago."""
    store = Store(tmp_path / "s")
    for number in range(6):
        store.get("tree", f"{number}" * 64, lambda out: (out / "x").touch() or None, {})
        used = time.time() - 10 * 24 * 3600 + number
        os.utime(store.place("tree", f"{number}" * 64) / WHOLE, (used, used))
    return store


def test_what_nobody_used_for_long_goes_and_the_last_ones_stay(old):
    (old.home / "seal-dead.part").mkdir()
    gone = {path.name for path in old.prune(kept=4)}
    assert gone == {"tree-0000000000000000", "tree-1111111111111111", "seal-dead.part"}
    assert len(old.entries()) == 4


def test_what_was_used_today_stays(old):
    old.used("tree", "0" * 64)
    assert "tree-0000000000000000" not in {path.name for path in old.prune(kept=1)}


def test_every_stage_that_is_there_keeps_the_contract():
    found = stages.known()
    names = list(found)
    assert names[:3] == ["resolve", "tree", "configure"]
    for name, one in found.items():
        assert set(one.stage.NEEDS) <= set(names[: names.index(name)]), name
        assert set(one.stage.READS) <= set(Definition.model_fields), name
        assert isinstance(one.stage.VERSION, int)
        assert issubclass(one.stage.Options, Model)


def test_sources_of_a_stage_hold_what_it_imports():
    found = stages.sources("tree")
    assert "stage_tree.py" in found
    assert "sandbox.py" in found  # work.py imports it
    assert "stage_resolve.py" in found  # inside a function
    assert "build.py" not in found
    assert any(name.endswith("roles/base/tasks/main.yml") for name in stages.sources("configure"))


def test_a_build_is_shown_stage_by_stage(table, tmp_path):
    put(table, stage("first", first), stage("second", second, needs=("first",)))
    _, events = run(Store(tmp_path / "s"))
    show = BuildShow()
    for event in events.seen:
        show.follow(event)
    rows = show.view(events.seen[-1].at, width=60, height=20, unicode=False)
    text = ["".join(words for words, _ in row) for row in rows]
    assert text[0].startswith("holdfast image build   node")
    assert text[1].startswith("v first   made in")
    lines = [line for event in events.seen for line in show.plain(event)]
    assert lines[0].startswith("first made in")

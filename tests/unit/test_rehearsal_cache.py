"""What is made once: whole or not there, by one process, and named by what it was made of."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from provision.core.events import ListSink, NullSink
from provision.core.paths import cache_home
from provision.core.problems import HoldfastError
from provision.rehearsal import base, cache
from provision.rehearsal.cache import made_once, remove_tree
from provision.rehearsal.recipe import load_recipe


def test_is_made_once_and_says_so():
    events, made = ListSink(), []

    def make(part: Path) -> None:
        made.append(part.name)
        (part / "thing").write_text("x")

    first = made_once("thing", "abc", make, events, says="making")
    again = made_once("thing", "abc", make, events, says="making")
    assert first == again == cache_home() / "rehearsal/thing-abc"
    assert (first / "thing").read_text() == "x"
    assert made == ["thing-abc.part"]
    assert [event.data["state"] for event in events.seen] == ["start", "end"]


def test_what_failed_is_not_there_and_is_made_anew():
    def fails(part: Path) -> None:
        (part / "half").write_text("x")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        made_once("thing", "abc", fails, NullSink(), says="")
    assert not (cache_home() / "rehearsal/thing-abc").exists()
    found = made_once("thing", "abc", lambda part: None, NullSink(), says="")
    assert sorted(path.name for path in found.iterdir()) == [".whole"]


def _make_slowly(log: str) -> None:
    def make(part: Path) -> None:
        with Path(log).open("a") as stream:
            stream.write("made\n")
        time.sleep(0.5)

    found = made_once("slow", "k", make, NullSink(), says="")
    assert (found / ".whole").exists()


def test_two_processes_wait_for_each_other(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_make_slowly, args=(str(log),)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(30)
    assert [one.exitcode for one in both] == [0, 0]
    assert log.read_text() == "made\n"


def test_a_changed_source_makes_another_base(monkeypatch):
    names = []
    monkeypatch.setattr(base, "made_once", lambda name, key, *a, **k: names.append((name, key)))
    recipe = load_recipe()
    base.node_base(recipe, "10", NullSink())
    base.node_base(recipe, "10", NullSink())
    base.node_base(recipe, "9", NullSink())
    assert names[0] == names[1] != names[2]
    changed = SimpleNamespace(**{**recipe.__dict__, "digest_source": b"another recipe"})
    base.node_base(changed, "10", NullSink())
    monkeypatch.setattr(base, "source_of", lambda *modules: [b"another text"])
    base.node_base(recipe, "10", NullSink())
    assert len(set(names)) == 4


def test_the_digest_keeps_parts_apart():
    assert cache.digest_of([b"ab", b"c"]) != cache.digest_of([b"a", b"bc"])


def test_a_tree_with_something_mounted_stays(tmp_path, monkeypatch):
    place = tmp_path / "a rack"
    (place / "root").mkdir(parents=True)
    mounted = str(place / "root").replace(" ", r"\040")
    read_text = Path.read_text

    def mountinfo(self: Path, *args, **kwargs) -> str:
        if str(self) == "/proc/self/mountinfo":
            return f"22 1 0:21 / / rw - ext4 a rw\n30 22 0:40 / {mounted} rw - overlay o rw\n"
        return read_text(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", mountinfo)
    for path in (place, place / "root"):
        with pytest.raises(HoldfastError, match="is mounted"):
            remove_tree(path)
        assert (place / "root").is_dir()
    mounted = str(tmp_path / "a rack of others")
    remove_tree(place)
    assert not place.exists()
    remove_tree(place)

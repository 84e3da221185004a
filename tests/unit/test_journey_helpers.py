"""What the kill journeys judge by is itself seen to fail."""

from __future__ import annotations

import json

import pytest

from provision.core.events import Event, FileSink
from provision.rehearsal.node import Node
from tests.rehearsal import killing
from tests.rehearsal.likeness import QUESTIONS, Entry, Likeness, differences

FILE = Entry("file", 0o644, "0:0", "aa")
OTHER = Entry("file", 0o644, "0:0", "bb")
OPEN = Entry("file", 0o666, "0:0", "aa")


def node_with(files=None, units=None, **answers):
    return Likeness(files or {}, units or {}, {q: answers.get(q, "") for q in QUESTIONS})


@pytest.mark.parametrize(
    ("path", "here", "there", "differs"),
    [
        ("/etc/chrony.conf", FILE, FILE, False),
        ("/etc/chrony.conf", FILE, OTHER, True),
        ("/etc/chrony.conf", FILE, None, True),
        ("/etc/machine-id", FILE, OTHER, False),
        ("/etc/machine-id", FILE, OPEN, True),
        ("/etc/machine-id", FILE, None, True),
        ("/var/log/dnf.log", None, FILE, False),
        ("/var/log/dnf.log", OPEN, FILE, True),
    ],
)
def test_files_differ_only_where_the_list_says_so(path, here, there, differs):
    one = node_with({path: here} if here else {})
    twin = node_with({path: there} if there else {})
    assert bool(differences(one, twin)) is differs


def test_units_and_answers_are_compared():
    running = node_with(units={"chronyd.service": ("enabled", "active")})
    stopped = node_with(units={"chronyd.service": ("enabled", "failed")})
    assert len(differences(stopped, running)) == 1
    gone = node_with(**{QUESTIONS[0]: "podman\n"})
    assert len(differences(gone, node_with())) == 1


def history(folder, *entries):
    path = folder / "upper/var/lib/holdfast/history.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(
        "".join(json.dumps({"event": f"lock.{e}", "run": r}) + "\n" for e, r in entries)
    )
    return Node("n1", 1, folder, "hf-1")


def test_one_writer(tmp_path):
    took, gave = "acquired", "released"
    good = history(
        tmp_path / "good", (took, "a"), (took, "a"), (gave, "a"), (took, "b"), (gave, "b")
    )
    killing.assert_one_writer(good)
    for number, entries in enumerate(
        [((took, "a"), (took, "b")), ((took, "a"), (gave, "b")), ((took, "a"),)]
    ):
        with pytest.raises(AssertionError):
            killing.assert_one_writer(history(tmp_path / str(number), *entries))


def test_a_session_at_work_after_its_successor_began_is_late(tmp_path):
    watcher = killing.Watcher(Node("n1", 1, tmp_path, "hf-1"))
    watcher.first_seen = {10: 1.0, 20: 6.0}
    watcher.samples = [(t, frozenset({10} if t < 8 else {20})) for t in range(1, 12)]
    assert watcher.late(5.0, 9.0) == []
    assert watcher.late(5.0, 6.5) == [7]


def test_a_phase_that_is_done_twice_is_found(tmp_path):
    sink = FileSink(tmp_path / "events.jsonl")
    checked = Event("phase.end", "n1", "base", {"status": "ok", "check": True})
    began = Event("phase.start", "n1", "base", {"check": False})
    failed = Event("phase.end", "n1", "base", {"status": "failed", "check": False})
    done = Event("phase.end", "n1", "base", {"status": "changed", "check": False})
    for event in (checked, began, failed, began, done):
        sink.emit(event)
    killing.assert_nothing_redone(tmp_path)
    sink.emit(began)
    with pytest.raises(AssertionError, match="done again"):
        killing.assert_nothing_redone(tmp_path)

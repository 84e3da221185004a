"""The history of audits: what is kept, how it is compared, and what no node can do to it."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any

import pytest

from provision.checks.audit_result import read
from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError
from provision.fleet.history import DAY_S, KEEP_DAYS, History, place
from provision.fleet.kept import Recorded, Visit
from provision.fleet.report import changes
from provision.fleet.tables import MIGRATIONS
from tests.unit.fleet_support import raw, result

pytestmark = pytest.mark.slow

T0 = 1_790_000_000.0
WIDTH = ("gpu.pcie.width", "0000:45:00.0", "1652260436019")
"""What is not well on a node of the kind `pcie`: check, GPU's bus and serial number."""


@pytest.fixture
def history(tmp_path):
    with History(tmp_path / "audit" / "lab.sqlite") as found:
        yield found


def visit(kind: str, node: str = "n01", at: float = T0, age: float = 60.0, **given: Any) -> Visit:
    told = result(kind, node, ended=at - age, **given)
    return Visit(node, "fresh", result=read(raw(told), node), age=age)


def record(history: History, *visits: Visit, at: float = T0) -> Recorded:
    return history.record(visits, at=at, verb="report")


def said(recorded: Recorded, *visits: Visit) -> list[tuple[str, str, str]]:
    return [(c.kind, c.check, c.what) for c in changes(recorded, visits)]


def rows(history: History, table: str) -> int:
    return int(history.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_the_file_is_private_and_in_wal_mode_and_keeps_its_keys(history):
    assert history.path.stat().st_mode & 0o777 == 0o600
    assert history.path.parent.stat().st_mode & 0o777 == 0o700
    assert history.db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    with pytest.raises(sqlite3.IntegrityError):
        history.db.execute("INSERT INTO visit VALUES (99, 'n01', 'fresh', '', 'pass', NULL)")


def test_each_rack_has_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert place("lab") == tmp_path / "holdfast/audit/lab.sqlite"


def test_one_result_is_one_audit_however_often_it_is_seen(history):
    seen = visit("pcie")
    record(history, seen)
    again = record(history, Visit("n01", "fresh", result=seen.result, age=120), at=T0 + 60)
    assert (rows(history, "audit"), rows(history, "visit"), rows(history, "pull")) == (1, 2, 2)
    assert (again.began, again.ended) == ((), ())


def test_a_trouble_is_one_spell_from_its_beginning_to_its_end(history):
    first = record(history, visit("healthy"))
    assert first.since is None
    bad = visit("pcie", at=T0 + 300)
    began = record(history, bad, at=T0 + 300)
    assert began.since == T0
    (spell,) = began.began
    assert (spell.check, spell.entity, spell.board) == WIDTH
    assert (spell.status, spell.began) == ("fail", T0 + 240)
    assert ("worse", "gpu.pcie.width") in [c[:2] for c in said(began, bad)]
    still = visit("pcie", at=T0 + 600)
    assert said(record(history, still, at=T0 + 600), still) == []
    well = visit("healthy", at=T0 + 900)
    ended = record(history, well, at=T0 + 900)
    assert said(ended, well) == [("better", "gpu.pcie.width", "no longer fails")]
    (kept,) = history.spells()
    assert (kept.began, kept.last, kept.ended) == (T0 + 240, T0 + 540, T0 + 840)


def test_what_fails_on_more_parts_is_a_spell_for_each(history):
    record(history, visit("healthy"))
    both = record(history, visit("two", at=T0 + 300), at=T0 + 300)
    assert sorted(s.check for s in both.began) == ["gpu.pcie.width", "gpu.temperature.core"]
    one = record(history, visit("pcie", at=T0 + 600), at=T0 + 600)
    assert [s.check for s in one.ended] == ["gpu.temperature.core"]
    assert one.began == ()


def test_a_check_that_gave_no_result_does_not_end_its_trouble(history):
    record(history, visit("pcie"))
    told = result("healthy", ended=T0 + 240)
    told["findings"] = [f for f in told["findings"] if f["check"] != "gpu.pcie.width"]
    told["counts"]["pass"] -= 1
    hidden = Visit("n01", "fresh", result=read(raw(told), "n01"), age=60)
    assert hidden.status == "unknown"
    assert record(history, hidden, at=T0 + 300).ended == ()


def test_failing_after_unknown_is_the_same_trouble(history):
    """It was not well in between, so it did not begin again."""
    for step, status in enumerate(["fail", "unknown", "fail", "pass", "fail"]):
        told = result("healthy", ended=T0 + step * 300)
        finding = next(f for f in told["findings"] if f["check"] == "gpu.fabric")
        told["counts"]["pass"] -= status != "pass"
        if status != "pass":
            told["counts"][status] += 1
        told["status"] = finding["status"] = status
        if status == "unknown":
            finding["parts"] = []
        elif status == "fail":
            finding["parts"][2]["status"] = "fail"
        record(history, Visit("n01", "fresh", result=read(raw(told), "n01")), at=T0 + step * 300)
    told = [(s.status, s.entity != "", s.fresh) for s in history.spells()][::-1]
    assert told == [
        ("fail", True, True), ("unknown", False, False), ("fail", True, False),
        ("fail", True, True),
    ]  # fmt: skip
    assert len(history.repeats(T0 - 1)) == 2


def test_nodes_seen_for_the_first_time_have_nothing_to_compare_with(history):
    record(history, visit("healthy"))
    both = (visit("healthy", at=T0 + 300), visit("pcie", "n02", at=T0 + 300))
    assert said(record(history, *both, at=T0 + 300), *both) == []


def test_what_changes_about_a_node_is_said(history):
    record(history, visit("healthy", boot="one"))
    away = Visit("n01", "unreachable", "no route to host")
    found = said(record(history, away, at=T0 + 300), away)
    assert found == [("worse", "", "the result was fresh, now unreachable: no route to host")]
    told = result("healthy", ended=T0 + 540, boot="two", serials=lambda n: f"new{n}")
    told["versions"]["driver"] = "590.44.01"
    back = Visit("n01", "fresh", result=read(raw(told), "n01"), age=60)
    found = said(record(history, back, at=T0 + 600), back)
    assert ("better", "", "the result was unreachable, now fresh") in found
    assert any("another GPU sits here: serial new0, before 16519" in what for *_, what in found)
    more = visit("healthy", at=T0 + 900, boot="three", serials=lambda n: f"new{n}")
    found = said(record(history, more, at=T0 + 900), more)
    assert ("other", "", "the node was restarted") in found
    assert any("the driver was 590.44.01, now 580" in what for *_, what in found)


def test_a_lost_gpu_is_still_known_by_its_serial_number(history):
    """It answers nothing any more; who it was stands in the history."""
    record(history, visit("healthy"))
    lost = visit("lost", at=T0 + 300)
    found = said(record(history, lost, at=T0 + 300), lost)
    (gone,) = [what for kind, check, what in found if kind == "worse" and not check]
    assert gone == "the GPU with serial 1650745265159 is no longer shown"
    again = visit("lost", at=T0 + 600)
    assert said(record(history, again, at=T0 + 600), again) == []
    back = visit("healthy", at=T0 + 900)
    found = said(record(history, back, at=T0 + 900), back)
    assert ("better", "", gone.replace("no longer shown", "shown again")) in found


def test_an_older_result_does_not_take_the_place_of_a_newer_one(history):
    record(history, visit("pcie", at=T0 + 300), at=T0 + 300)
    old = record(history, visit("healthy", at=T0 + 600, age=7200), at=T0 + 600)
    assert old.ended == ()
    assert b"gpu.pcie.width" in history.latest()["n01"][0]
    assert history.latest()["n01"][1] == T0 + 240


def test_a_node_cannot_speak_for_another(history):
    record(history, visit("pcie"), visit("healthy", "n02"))
    record(history, visit("healthy", at=T0 + 300), visit("pcie", "n02", at=T0 + 300), at=T0 + 300)
    assert {(s.node, s.ended is None) for s in history.spells()} == {("n01", False), ("n02", True)}


def test_a_node_that_names_thousands_of_things_fills_a_bounded_place(history):
    for step in range(3):
        told = result("healthy", ended=T0 + step)
        finding = told["findings"][0]
        finding["parts"] = [
            {"entity": f"{step}-{n:03}" * 60, "status": "fail", "seen": "x" * 1100}
            for n in range(900)
        ]
        finding["status"] = told["status"] = "fail"
        told["counts"]["pass"] -= 1
        told["counts"]["fail"] += 1
        if step == 0:
            told["gpus"] *= 8
        record(history, Visit("n01", "fresh", result=read(raw(told), "n01")), at=T0 + step)
    assert rows(history, "spell") == 3 * 256
    assert history.db.execute(
        "SELECT max(length(entity)), max(length(seen)) FROM spell"
    ).fetchone()[:] == (200, 1000)


def test_what_is_old_is_forgotten_and_what_lasts_is_not(history):
    record(history, visit("two"))
    record(history, visit("pcie", at=T0 + 300), at=T0 + 300)
    assert history.keep_days == KEEP_DAYS
    later = T0 + (KEEP_DAYS + 1) * DAY_S
    record(history, Visit("n01", "unreachable", "gone"), at=later)
    assert [s.check for s in history.spells()] == ["gpu.pcie.width"]
    assert (rows(history, "pull"), rows(history, "audit"), rows(history, "latest")) == (1, 0, 0)
    assert history.db.execute("PRAGMA foreign_key_check").fetchall() == []


def test_how_long_is_kept_can_be_set_and_stays_so(history):
    history.record([visit("two")], at=T0, verb="run", keep_days=2)
    record(history, visit("healthy", at=T0 + 3 * DAY_S), at=T0 + 3 * DAY_S)
    assert (history.keep_days, rows(history, "pull")) == (2, 1)


def test_a_pull_is_kept_whole_or_not_at_all(history):
    record(history, visit("healthy"))
    good = visit("pcie", at=T0 + 300)
    twice = [good, visit("pcie", "n02", at=T0 + 300), good]
    with pytest.raises(HoldfastError):
        record(history, *twice, at=T0 + 300)
    with History(history.path) as again:
        assert (rows(again, "pull"), rows(again, "spell"), rows(again, "visit")) == (1, 0, 1)


def test_two_pulls_at_once_wait_for_each_other(tmp_path):
    path = tmp_path / "lab.sqlite"
    visit("pcie")  # made once, before several threads want it
    wrong: list[Exception] = []

    def pull(number: int) -> None:
        try:
            with History(path) as own:
                for step in range(5):
                    at = T0 + number + step * 10
                    record(own, visit("pcie", f"n{number}", at=at), at=at)
        except (HoldfastError, sqlite3.Error) as error:
            wrong.append(error)

    threads = [threading.Thread(target=pull, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with History(path) as found:
        assert (wrong, rows(found, "pull"), len(found.spells())) == ([], 20, 4)


def test_an_older_file_is_brought_to_this_release(tmp_path):
    path = tmp_path / "lab.sqlite"
    with History(path) as old:
        record(old, visit("pcie"))
    newer = (*MIGRATIONS, "ALTER TABLE pull ADD COLUMN who TEXT NOT NULL DEFAULT 'nobody'")
    with History(path, newer) as found:
        assert found.db.execute("SELECT who FROM pull").fetchone()[0] == "nobody"
        assert len(found.spells()) == 1
    with pytest.raises(HoldfastError, match="newer release") as refused:
        History(path)
    assert refused.value.exit_code is ExitCode.NOT_DONE


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "lab.sqlite"
    with History(path) as old:
        record(old, visit("pcie"))
    broken = (*MIGRATIONS, "ALTER TABLE pull ADD COLUMN who TEXT; CREATE TABLE pull (id)")
    with pytest.raises(HoldfastError, match="already exists"):
        History(path, broken)
    with History(path) as found:
        assert len(found.spells()) == 1


@pytest.mark.parametrize("kind", ["text", "other", "folder", "cut"])
def test_another_file_is_not_taken_for_a_history(tmp_path, kind):
    path = tmp_path / "lab.sqlite"
    if kind == "text":
        path.write_text("not a database, but long enough to be looked at as one" * 40)
    elif kind == "other":
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE mine (x)")
    elif kind == "folder":
        path.mkdir()
    else:
        with History(path) as old:
            record(old, visit("pcie"))
        path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(HoldfastError) as refused:
        History(path).spells()
    assert str(path) in str(refused.value)
    assert refused.value.problems[0].hint
    assert path.exists()


def test_shell_patterns_choose_spells(history):
    record(history, visit("two"), visit("lost", "gpu-b2"))
    every = {s.check for s in history.spells()}
    assert {"gpu.pcie.width", "gpu.temperature.core"} < every
    below = {s.check for s in history.spells(check="gpu.pcie")}
    assert "gpu.pcie.width" in below
    assert all(name.startswith("gpu.pcie.") for name in below)
    assert {s.check for s in history.spells(check="gpu.*.width")} == {"gpu.pcie.width"}
    assert {s.node for s in history.spells(node="gpu-*")} == {"gpu-b2"}
    assert history.spells(since=T0 + 1)[0].ended is None
    record(history, visit("healthy", at=T0 + 300), at=T0 + 300)
    assert {s.node for s in history.spells(since=time.time())} == {"gpu-b2"}

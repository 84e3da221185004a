"""What was shown of a profile: two scans become a record, and records become shares."""

from __future__ import annotations

from datetime import date

import pytest

from provision.core.problems import HoldfastError
from provision.policy import baseline, recorded
from provision.policy.recorded import Recorded, Row

BEFORE = {"a": "fail", "b": "fail", "c": "pass", "d": "notapplicable", "e": "fail", "f": "pass"}
AFTER = {"a": "pass", "b": "fail", "c": "pass", "d": "notapplicable", "e": "notapplicable"}
WHY = {"b": "a person", "e": "it is gone"}


def made(before=BEFORE, after=AFTER, reasons=WHY, kind="container", profile="basic"):
    return recorded.record(
        before,
        after,
        reasons,
        profile=profile,
        release="el10",
        kind=kind,
        content="ssg-rhel10-ds.xml",
        version="0.1.76",
        recorded=date(2026, 11, 23),
        system="A node",
    )


def test_a_share_is_of_the_rules_that_failed():
    share = recorded.share([made()])
    assert share.words() == "1 of 3 (33.3 %)"
    assert share.left == {"b": "a person", "e": "it is gone"}
    assert made().held == {"c"}


def test_what_stopped_applying_did_not_turn():
    assert "e" not in made().turned


def test_nothing_that_failed_is_no_share():
    assert recorded.share([made({"c": "pass"}, {"c": "pass"})]).words() == "0 of 0"


@pytest.mark.parametrize("now", ["fail", "error", "unknown", "notapplicable", "notchecked"])
def test_what_failed_and_does_not_pass_needs_a_reason(now):
    with pytest.raises(HoldfastError, match=f"a was fail and is {now}"):
        made({"a": "fail"}, {"a": now}, {})


def test_what_fails_only_since_then_needs_a_reason_too():
    with pytest.raises(HoldfastError, match="c was pass and is fail"):
        made({"c": "pass"}, {"c": "fail"}, {})


def test_a_rule_that_is_not_judged_any_more_did_not_turn():
    with pytest.raises(HoldfastError, match="a was fail and is missing"):
        made({"a": "fail"}, {}, {})


def test_kinds_together_have_what_any_of_them_shows():
    container = made({"a": "fail", "b": "fail"}, {"a": "pass", "b": "fail"}, {"b": "a kernel"})
    machine = made(
        {"a": "fail", "b": "fail", "g": "fail"},
        {"a": "fail", "b": "pass", "g": "fail"},
        {"a": "x", "g": "a person"},
        "vm",
    )
    *single, both = recorded.shares([container, machine])
    assert [one.words() for one in single] == ["1 of 2 (50.0 %)", "1 of 3 (33.3 %)"]
    assert (both.kinds, both.words()) == (("container", "vm"), "2 of 3 (66.7 %)")
    assert both.left == {"g": "vm: a person"}


def test_profiles_are_not_mixed():
    with pytest.raises(ValueError, match="one profile"):
        recorded.share([made(), made(profile="strict")])


def test_what_is_written_is_read_back(tmp_path):
    path = recorded.write(made(), tmp_path)
    assert path.name == "basic-el10-container.tsv"
    assert recorded.read(path) == made()
    assert recorded.find("basic", "el10", tmp_path) == (made(),)
    assert recorded.find("strict", None, tmp_path) == ()


WHOLE = """\
# profile: basic
# release: el10
# kind: container
# content: ssg-rhel10-ds.xml
# version: 0.1.76
# recorded: 2026-11-23
# system: A node
rule\tbefore\tafter\treason
a\tfail\tpass
b\tfail\tfail\ta person
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("\ta person", "", 10, "no reason"),
        ("a\tfail\tpass", "a\tfail\tgood", 9, "'good' is no result"),
        ("a\tfail\tpass", "a\tfail", 9, "2 columns"),
        ("b\tfail", "a\tfail", 10, "'a' stands here twice"),
        ("# kind: container\n", "", 1, "does not say 'kind'"),
        ("el10", "el11", 1, "'el11' is no release"),
        ("2026-11-23", "soon", 1, "'soon' is no day"),
        ("# kind: container", "# kind: vm", 1, "is called basic-el10-vm.tsv"),
        ("rule\tbefore\tafter\treason\n", "", 8, "here stands rule before after reason"),
        (WHOLE, "", 1, "here stands rule before after reason"),
    ],
)
def test_a_mistake_has_a_place(tmp_path, old, new, line, words):
    path = tmp_path / "basic-el10-container.tsv"
    path.write_text(WHOLE.replace(old, new, 1))
    with pytest.raises(HoldfastError) as caught:
        recorded.read(path)
    found = {(p.position.line, words in p.message) for p in caught.value.problems if p.position}
    assert (line, True) in found


def test_the_example_is_whole(tmp_path):
    path = tmp_path / "basic-el10-container.tsv"
    path.write_text(WHOLE)
    assert recorded.read(path).rows == (
        Row("a", "fail", "pass"),
        Row("b", "fail", "fail", "a person"),
    )


@pytest.mark.parametrize("path", sorted(recorded.ours().glob("*.tsv")), ids=lambda p: p.stem)
def test_what_ships_agrees_with_its_baseline(path):
    """Both come of the same scan, so neither can be edited by hand without the other."""
    found: Recorded = recorded.read(path)
    accepted = baseline.read(recorded.ours().parent / "baselines" / f"{path.stem}.yml")
    assert (found.content, found.version) == (accepted.content.file, accepted.content.version)
    said = {row.rule: row.after for row in found.rows}
    differ = {r: s for r, s in said.items() if accepted.expected(r) not in (s, None)}
    assert differ == {}
    assert accepted.rules <= said.keys()
    # What the baseline does not know is waived: each says so.
    rows = [row for row in found.rows if accepted.expected(row.rule) is None]
    assert all(row.reason or row.after in ("pass", "notapplicable") for row in rows)

"""Baselines and their gate: every way in which a scan can be worse than accepted is seen."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from provision.checks import scap_results
from provision.core.problems import HoldfastError
from provision.policy import baseline
from provision.policy.baseline import Baseline, Content, Judged

RECORDED = Path(__file__).parents[1] / "data/openscap/untouched-el10-cis_server_l1.xml"
CONTENT = Content(
    file="ssg-rhel10-ds.xml",
    version="0.1.76",
    profile="xccdf_org.ssgproject.content_profile_cis_server_l1",
)
DAY = date(2026, 11, 23)
PASSES = "package_sudo_installed"
FAILS = "sshd_disable_root_login"
WAIVED = "use_pam_wheel_group_for_su"
APART = "grub2_password"


@pytest.fixture(scope="module")
def results() -> dict[str, str]:
    """A whole scan of a node that nothing was done to, as OpenSCAP said it."""
    scan = scap_results.read(RECORDED)
    return {rule: found.result for rule, found in scan.selected.items()}


def recorded(results: dict[str, str]) -> Baseline:
    reasons = {rule: "the node is untouched" for rule, now in results.items() if now == "fail"}
    return baseline.record(results, reasons, profile="cis_l1_server", release="el10",
                           kind="container", content=CONTENT, on=DAY)  # fmt: skip


def judged(results: dict[str, str], **changed: str) -> Judged:
    """The scan with some results changed, held against what it was."""
    now = {**results, **changed}
    return baseline.gate(recorded(results), now, selected=now, waived={WAIVED: "by the site"})


def test_the_scan_that_was_recorded_is_as_accepted(results):
    seen = judged(results)
    assert seen.breaches == ()
    assert seen.applicable == 239
    assert seen.counts == {"pass": 141, "fail": 98, "notapplicable": 41}
    assert list(seen.waived) == [WAIVED]
    assert len(seen.accepted) == 97


@pytest.mark.parametrize(
    ("rule", "now", "words", "unseen"),
    [
        (PASSES, "fail", "it passed before", False),
        (APART, "fail", "it did not apply before", False),
        (PASSES, "notapplicable", "does not apply any more", True),
        (PASSES, "error", "an error", True),
        (PASSES, "unknown", "could not tell", True),
        (PASSES, "notchecked", "has no check", True),
        (PASSES, "notselected", "left it out", True),
        (PASSES, "informational", "judges nothing", True),
        (PASSES, "missing", "there is no result", True),
        (FAILS, "error", "an error", True),
        (FAILS, "unknown", "could not tell", True),
        (WAIVED, "pass", "although it is waived", False),
        (WAIVED, "error", "an error", True),
        (WAIVED, "missing", "there is no result", True),
    ],
)
def test_what_is_worse_than_accepted_gates(results, rule, now, words, unseen):
    seen = judged(results, **{rule: now})
    (breach,) = [b for b in seen.breaches if b.rule]
    assert breach.rule == rule
    assert words in breach.words
    assert breach.unseen is unseen


@pytest.mark.parametrize(
    ("rule", "now"), [(FAILS, "pass"), (APART, "pass"), (PASSES, "fixed"), (FAILS, "notapplicable")]
)
def test_what_is_better_does_not_gate(results, rule, now):
    seen = judged(results, **{rule: now})
    assert [b for b in seen.breaches if b.rule] == []


def test_a_rule_that_vanished_from_the_scan_gates(results):
    now = {rule: result for rule, result in results.items() if rule != PASSES}
    seen = baseline.gate(recorded(results), now, selected=now, waived={})
    assert [(b.rule, b.now) for b in seen.breaches if b.rule] == [(PASSES, "missing")]


def test_a_rule_that_was_asked_for_and_gave_nothing_gates():
    seen = baseline.gate(None, {"a": "pass"}, selected=["a", "b"], waived={})
    assert [(b.rule, b.now, b.unseen) for b in seen.breaches] == [("b", "missing", True)]


def test_a_new_rule_that_fails_gates(results):
    seen = judged(results, brand_new="fail")
    assert [b.rule for b in seen.breaches] == ["brand_new"]
    assert "not in the baseline: brand_new" in seen.notes


def test_fewer_rules_that_apply_than_recorded_gate(results):
    seen = judged(results, **{FAILS: "notapplicable"})
    (breach,) = seen.breaches
    assert breach.rule == ""
    assert breach.unseen
    assert breach.words == "238 rules apply to this node; below 239 nothing is proven"


def test_nothing_that_applies_is_never_a_pass(results):
    nothing = dict.fromkeys(results, "notapplicable")
    seen = baseline.gate(None, nothing, selected=nothing, waived={})
    assert [b.rule for b in seen.breaches] == [""]
    assert baseline.gate(None, {}, selected=(), waived={}).breaches[0].rule == ""


def test_rules_left_out_are_not_asked_for(results):
    left = ("file_permissions_ungroupowned", "no_files_unowned_by_user")
    now = {rule: "notselected" if rule in left else result for rule, result in results.items()}
    seen = baseline.gate(recorded(results), now, selected=now, waived={}, left_out=left)
    assert seen.breaches == ()
    assert seen.applicable == 237
    assert any("no_files_unowned_by_user" in note for note in seen.notes)


def test_without_a_baseline_only_what_is_excused_may_fail():
    now = {"a": "pass", "b": "fail", "c": "fail"}
    seen = baseline.gate(None, now, selected=now, waived={}, excused={"b": "a container"})
    assert [b.rule for b in seen.breaches] == ["c"]
    assert seen.accepted == {"b": "a container"}


def test_no_excuse_outweighs_a_baseline(results):
    now = {**results, PASSES: "fail"}
    seen = baseline.gate(recorded(results), now, selected=now, waived={}, excused={PASSES: "so?"})
    assert [b.rule for b in seen.breaches] == [PASSES]


def test_nothing_is_recorded_without_a_reason(results):
    with pytest.raises(HoldfastError) as caught:
        baseline.record(results, {}, profile="cis_l1_server", release="el10", kind="container",
                        content=CONTENT, on=DAY)  # fmt: skip
    assert len(caught.value.problems) == 98
    assert {p.code for p in caught.value.problems} == {"unexplained"}


@pytest.mark.parametrize("odd", ["missing", "notselected", "sideways"])
def test_a_rule_without_a_result_is_not_recorded(odd):
    with pytest.raises(HoldfastError, match="has the result"):
        baseline.record({"a": "pass", "b": odd}, {"b": "x"}, profile="stig", release="el9",
                        kind="vm", content=CONTENT, on=DAY)  # fmt: skip


def test_nothing_that_applies_is_not_recorded():
    with pytest.raises(HoldfastError, match="no rule applied"):
        baseline.record({"a": "notapplicable"}, {}, profile="stig", release="el9", kind="vm",
                        content=CONTENT, on=DAY)  # fmt: skip


def test_nothing_is_recorded_of_what_a_site_waives():
    made = baseline.record({"a": "pass", "b": "fail"}, {}, waived=["b"], profile="stig",
                           release="el9", kind="vm", content=CONTENT, on=DAY)  # fmt: skip
    assert made.rules == {"a"}
    now = {"a": "pass", "b": "fail"}
    assert baseline.gate(made, now, selected=now, waived={"b": "by the site"}).breaches == ()
    assert len(baseline.gate(made, now, selected=now, waived={}).breaches) == 1


def test_what_is_written_is_what_is_read(results, tmp_path):
    first = recorded(results)
    path = baseline.write(first, tmp_path)
    assert path.name == "cis_l1_server-el10-container.yml"
    assert baseline.read(path) == first
    assert baseline.read(path).expected(FAILS) == "fail"
    assert baseline.read(path).expected("no_such_rule") is None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("schema: 1", "schema: 2", "this is no baseline"),
        ("floor: 2", "floor: 0", "floor"),
        ("reason: why", "reason: ''", "reason"),
        ("result: fail", "result: pass", "result"),
        ("- b_rule", "- a_rule", "two results"),
        ("kind: vm", "kind: toaster", "kind"),
    ],
)
def test_a_damaged_baseline_is_refused_at_its_place(tmp_path, before, after, words):
    made = baseline.record({"a_rule": "pass", "b_rule": "pass", "c": "fail"}, {"c": "why"},
                           profile="stig", release="el9", kind="vm", content=CONTENT,
                           on=DAY)  # fmt: skip
    made = made.model_copy(update={"floor": 2})
    path = baseline.write(made, tmp_path)
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(HoldfastError) as caught:
        baseline.read(path)
    said = caught.value.problems[0].render()
    assert words in said
    assert f"{path}:" in said

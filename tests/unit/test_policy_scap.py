"""Data streams read safely, tailorings that OpenSCAP takes, and shares with their denominator."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from provision.core.problems import HoldfastError
from provision.policy import datastream as module
from provision.policy.coverage import State, coverage
from provision.policy.datastream import read_datastream, short
from provision.policy.model import Waiver
from provision.policy.resolve import Selection, Target, resolve
from provision.policy.tailoring import tailor
from tests.unit.policy_support import RULE, control, controls, datastream, policy

NS = "{http://checklists.nist.gov/xccdf/1.2}"
BASIC = "xccdf_a_profile_basic"


def stream(folder: Path, *given, **more):
    path = folder / "ds.xml"
    path.write_text(datastream(*given, **more))
    return read_datastream(path)


def test_rules_profiles_and_titles(tmp_path):
    found = stream(tmp_path, {"one": "", "two": 'selected="false"'})
    (benchmark,) = found.benchmarks
    assert (benchmark.id, benchmark.version) == ("xccdf_a_benchmark_X", "0.1")
    assert benchmark.profiles[BASIC].title == "Basic"
    assert [short(r.id) for r in benchmark.selected(BASIC)] == ["one", "two"]
    assert benchmark.rules[RULE + "one"].title == "Rule one"


def test_what_a_profile_does_not_select_is_what_the_rule_says(tmp_path):
    rules = {"one": 'selected="true"', "two": 'selected="false"', "three": ""}
    select = f'<x:select idref="{RULE}three" selected="false"/>'
    found = stream(tmp_path, rules, profile=select)
    assert [short(r.id) for r in found.benchmarks[0].selected(BASIC)] == ["one"]


def test_a_group_that_is_not_selected_takes_its_rules_along(tmp_path):
    select = '<x:select idref="xccdf_a_group_g" selected="false"/>'
    found = stream(tmp_path, {"one": 'selected="true"'}, profile=select)
    assert found.benchmarks[0].selected(BASIC) == ()


def test_a_profile_takes_over_from_the_one_that_it_extends(tmp_path):
    own = f'<x:select idref="{RULE}one" selected="true"/>'
    more = (
        f'</x:Profile><x:Profile id="xccdf_a_profile_more" extends="{BASIC}"><x:title>M</x:title>'
        f'<x:select idref="{RULE}two" selected="true"/>'
    )
    rules = dict.fromkeys(("one", "two"), 'selected="false"')
    (benchmark,) = stream(tmp_path, rules, profile=own + more).benchmarks
    assert [short(r.id) for r in benchmark.selected(BASIC)] == ["one"]
    assert [short(r.id) for r in benchmark.selected("xccdf_a_profile_more")] == ["one", "two"]


def test_profiles_that_extend_each_other_end(tmp_path):
    text = datastream({"one": ""}).replace(f'"{BASIC}"', f'"{BASIC}" extends="{BASIC}"')
    (tmp_path / "ds.xml").write_text(text)
    assert read_datastream(tmp_path / "ds.xml").benchmarks[0].selected(BASIC)


def test_a_rule_that_openscap_cannot_check(tmp_path):
    text = datastream({"one": 'role="unchecked"', "two": ""})
    text = text.replace("oval-definitions-5", "ocil", 2).replace("ocil", "oval-definitions-5", 1)
    (tmp_path / "ds.xml").write_text(text)
    rules = read_datastream(tmp_path / "ds.xml").benchmarks[0].rules
    assert [rule.checked for rule in rules.values()] == [False, False]


HOSTILE = {
    "external entity": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    "network": '<!DOCTYPE a SYSTEM "http://192.0.2.1/a.dtd">',
    "laughs": '<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_document_type_is_refused_before_anything_is_done_with_it(tmp_path, name):
    with pytest.raises(HoldfastError) as error:
        stream(tmp_path, {"one": ""}, head=HOSTILE[name])
    assert [p.code for p in error.value.problems] == ["not-a-datastream"]
    assert "document type" in str(error.value)


def test_a_file_that_is_cut(tmp_path):
    path = tmp_path / "ds.xml"
    path.write_text(datastream({"one": ""})[:-30])
    with pytest.raises(HoldfastError) as error:
        read_datastream(path)
    (problem,) = error.value.problems
    assert (problem.code, problem.position.line) == ("not-a-datastream", 1)
    assert problem.position.column > 100
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<a/>", "not-a-datastream"),
        ("", "not-a-datastream"),
        ("<a>" * 300, "too-deep"),
        ("<a>" * 300 + "</a>" * 300, "too-deep"),
    ],
)
def test_what_is_no_data_stream(tmp_path, text, code):
    path = tmp_path / "ds.xml"
    path.write_text(text)
    with pytest.raises(HoldfastError) as error:
        read_datastream(path)
    assert [p.code for p in error.value.problems] == [code]


def test_a_file_that_is_not_there_or_too_large(tmp_path, monkeypatch):
    with pytest.raises(HoldfastError, match="No such file"):
        read_datastream(tmp_path / "none.xml")
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(HoldfastError, match="larger than 10 bytes"):
        stream(tmp_path, {"one": ""})


def test_a_profile_that_the_data_stream_does_not_have(tmp_path):
    with pytest.raises(HoldfastError, match=f"did you mean '{BASIC}'"):
        stream(tmp_path, {"one": ""}).with_profile("xccdf_a_profile_basc")


CONTROLS = controls(
    control("one", references="{el10: {rules: [one, stranger]}}"),
    control("two", "[{type: package, name: b}]"),
    control("three", "[{type: package, name: c}]", kinds="[metal]"),
    control("four", resources="", not_automated="A person has to look."),
    control("five", resources="", provided_by="The role time."),
    control("six", "[{type: package, name: d}]", levels="{el10: [strict]}"),
    control("half", "[{type: package, name: e}]", references="{el10: {rules: [eight]}}"),
    control("rest", resources="", not_automated="By hand.", references="{el10: {shared: [eight]}}"),
)
RULES = ["one", "two", "three", "four", "five", "six", "seven", "eight"]


@pytest.fixture
def resolved(tmp_path):
    found = policy(tmp_path / "policy", CONTROLS)
    waiver = Waiver(
        control="two", reason='Not <us> & "them"', owner="a@b", expires=date(2099, 1, 1)
    )
    selection = Selection("basic", waivers=(waiver,))
    return found, resolve(found, selection, Target("el10", "vm"))


def test_every_rule_stands_somewhere(tmp_path, resolved):
    found, resolution = resolved
    followed = found.profiles["basic"].benchmark["el10"]
    got = coverage(found, resolution, followed, stream(tmp_path, dict.fromkeys(RULES, "")))
    assert {rule.rule: rule.state for rule in got.rules} == {
        "one": State.IMPLEMENTED,
        "two": State.WAIVED,
        "three": State.NOT_APPLICABLE,
        "four": State.NOT_AUTOMATED,
        "five": State.PROVIDED,
        "six": State.NOT_COVERED,
        "seven": State.NOT_COVERED,
        # Two controls answer it, and one of them is left to a person.
        "eight": State.NOT_AUTOMATED,
    }
    whys = {rule.rule: rule.why for rule in got.rules}
    assert whys["two"] == 'Not <us> & "them"'
    assert whys["four"] == "A person has to look."
    assert whys["six"] == "six answers it, in strict only"
    assert whys["seven"] is None
    assert got.share(State.NOT_COVERED) == "2 of 8 (25.0 %)"
    assert sum(got.count(state) for state in State) == 8
    assert got.strangers == (("stranger", "one", False),)


def test_what_no_recorded_run_shows_is_not_implemented(tmp_path, resolved):
    found, resolution = resolved
    followed = found.profiles["basic"].benchmark["el10"]
    rules = stream(tmp_path, {"one": ""})
    for turned, held, state in (
        ({"one"}, set(), State.IMPLEMENTED),
        (set(), {"one"}, State.HELD),
        (set(), set(), State.UNSEEN),
    ):
        got = coverage(found, resolution, followed, rules, turned=turned, held=held)
        assert [rule.state for rule in got.rules] == [state]


def test_an_empty_profile_has_no_share(tmp_path, resolved):
    found, resolution = resolved
    select = "".join(f'<x:select idref="{RULE}{r}" selected="false"/>' for r in RULES)
    followed = found.profiles["basic"].benchmark["el10"]
    empty = stream(tmp_path, dict.fromkeys(RULES, ""), profile=select)
    assert coverage(found, resolution, followed, empty).share(State.IMPLEMENTED) == "0 of 0"


def test_a_tailoring_unselects_what_is_waived(resolved):
    found, resolution = resolved
    made = datetime(2026, 11, 23, 8, tzinfo=UTC)
    got = tailor(found.profiles["basic"], resolution, made=made)
    root = ET.fromstring(got.text)
    assert root.tag == f"{NS}Tailoring"
    # The order is the schema's.
    assert [e.tag for e in root] == [f"{NS}{t}" for t in ("benchmark", "version", "Profile")]
    assert root.find(f"{NS}version").get("time") == "2026-11-23T08:00:00Z"
    profile = root.find(f"{NS}Profile")
    assert profile.get("id") == got.profile == "xccdf_holdfast_profile_basic_el10"
    assert profile.get("extends") == BASIC
    assert profile.find(f"{NS}title").text == "Holdfast: Basic (A benchmark, 1)"
    (select,) = profile.findall(f"{NS}select")
    assert (select.get("idref"), select.get("selected")) == (RULE + "two", "false")
    remark = select.find(f"{NS}remark").text
    assert remark == 'waiver: Not <us> & "them" Owner a@b, until 2099-01-01.'
    assert got.unselected == (RULE + "two",)


def test_a_tailoring_names_no_rule_that_the_data_stream_lacks(resolved):
    found, resolution = resolved
    got = tailor(found.profiles["basic"], resolution, known={RULE + "one"})
    assert got.unselected == ()
    assert "select" not in got.text.replace("evaluated", "")


def test_a_tailoring_for_a_gate_leaves_waived_rules_in(resolved):
    found, resolution = resolved
    got = tailor(found.profiles["basic"], resolution, evaluate_waived=True)
    assert got.unselected == ()
    assert "Every rule of the profile is evaluated." in got.text


def test_a_tailoring_is_the_same_each_time(resolved):
    found, resolution = resolved
    made = datetime(2026, 11, 23, 8, tzinfo=UTC)
    texts = {tailor(found.profiles["basic"], resolution, made=made).text for _ in range(3)}
    assert len(texts) == 1

"""Which controls a node gets, and what a site may not ask for."""

from __future__ import annotations

from datetime import date

import pytest

from provision.core.problems import HoldfastError
from provision.policy.model import Adoption, Waiver
from provision.policy.resolve import Selection, Target, all_targets, objections, resolve
from tests.unit.policy_support import control, controls, policy

DAY = date(2026, 11, 23)
LATER = date(2027, 1, 1)
METAL = Target("el10", "metal")

CONTROLS = controls(
    control("plain", references="{el10: {rules: [plain_a, plain_b]}}"),
    control("late", "[{type: sshd, option: UsePAM, value: 'yes'}]", phase="access"),
    control("machines", "[{type: module, name: udf}]", kinds="[metal, vm]"),
    control("manual", resources="", not_automated="A person has to look."),
    control("elsewhere", resources="", provided_by="The role time."),
    control("only-strict", "[{type: umask, value: '0077'}]", levels="{el10: [strict]}"),
    control("old", "[{type: package, name: old}]", levels="{el9: [basic]}", references=""),
    control(
        "varied",
        "[{type: sysctl, name: a, value: 1, releases: [el10], profiles: [basic]},"
        " {type: sysctl, name: a, value: 2, profiles: [strict]},"
        " {type: sysctl, name: a, value: 3, releases: [el9], profiles: [basic]}]",
    ),
)
OVERLAY = """\
schema: 1
overlay:
  id: special
  title: Special
  description: For special hosts.
  traits:
    - {id: fast, meaning: It is fast., derived: true}
    - {id: loud, meaning: It is loud.}
  deviations:
    - control: plain
      when: {traits: [loud]}
      reason: It is in the way.
      compensation: Ear plugs.
      reviewed: &reviewed {el10: {cis: "1"}, el9: {cis: "1"}}
      leave_out: true
    - control: varied
      when: {traits: [fast]}
      reason: One is not enough.
      compensation: Four is.
      reviewed: *reviewed
      replace: [{type: sysctl, name: a, value: 4}]
    - control: late
      when: {releases: [el10], kinds: [metal]}
      reason: More is needed.
      compensation: There is more.
      reviewed: *reviewed
      extend: [{type: sshd, option: MaxSessions, value: 9}]
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return policy(tmp_path_factory.mktemp("policy"), CONTROLS, OVERLAY)


def waiver(name: str, expires: date = LATER) -> Waiver:
    return Waiver(control=name, reason="Because it is so.", owner="me", expires=expires)


def adoption(*features: str, name: str = "special", expires: date = LATER) -> Adoption:
    return Adoption(name=name, owner="me", expires=expires, features=features)


def ids(items) -> list[str]:
    return [getattr(item, "control", item).id for item in items]


def test_each_control_of_a_profile_is_in_one_list(found):
    got = resolve(found, Selection("basic"), METAL)
    assert ids(got.applied) == ["plain", "late", "machines", "varied"]
    assert ids(got.not_automated) == ["manual"]
    assert ids(got.provided) == ["elsewhere"]
    assert got.waived == got.not_applicable == ()


def test_release_profile_and_kind_decide(found):
    strict = resolve(found, Selection("strict"), METAL)
    assert "only-strict" in ids(strict.applied)
    nine = resolve(found, Selection("basic"), Target("el9", "metal"))
    assert "old" in ids(nine.applied)
    container = resolve(found, Selection("basic"), Target("el10", "container"))
    assert ids(container.not_applicable) == ["machines"]
    assert container.not_applicable[0].reason == "it cannot be applied on a node of kind container"
    values = {
        (r.profile, r.target.release): a.resources[0].value
        for r in (strict, nine, container)
        for a in r.applied
        if a.control.id == "varied"
    }
    assert values == {("strict", "el10"): "2", ("basic", "el9"): "3", ("basic", "el10"): "1"}


def test_what_the_module_gets(found):
    rendered = resolve(found, Selection("basic"), METAL).rendered()
    assert [c["phase"] for c in rendered] == ["hardening"] * 3 + ["access"]
    assert rendered[0] == {
        "id": "plain",
        "title": "Title of plain",
        "phase": "hardening",
        "reboot": False,
        "resources": [{"type": "package", "name": "telnet", "state": "absent"}],
    }
    only = resolve(found, Selection("basic"), METAL).rendered("access")
    assert [c["id"] for c in only] == ["late"]


def test_a_condition_and_what_cannot_be_undone_reach_the_module(tmp_path):
    body = control("one", when="{package: a}", undo="It is gone.", reboot="true")
    found = policy(tmp_path, controls(body))
    (rendered,) = resolve(found, Selection("basic"), METAL).rendered()
    assert rendered["when"] == {"package": "a"}
    assert rendered["undo"] == "It is gone."
    assert rendered["reboot"] is True


def test_an_argument_without_value_reaches_the_module(tmp_path):
    pam = "[{type: pam, service: [a], facility: auth, module: m, args: {present: {use_uid: null}}}]"
    found = policy(tmp_path, controls(control("one", pam)))
    (rendered,) = resolve(found, Selection("basic"), METAL).rendered()
    assert rendered["resources"][0]["args"]["present"] == {"use_uid": None}
    assert "control" not in rendered["resources"][0]


def test_a_waived_control_is_not_applied_and_its_rules_are_excused(found):
    got = resolve(found, Selection("basic", waivers=(waiver("plain"),)), METAL, on=DAY)
    assert ids(got.waived) == ["plain"]
    assert "plain" not in ids(got.applied)
    assert set(got.exempt_rules()) == {"plain_a", "plain_b"}
    assert got.exempt_rules()["plain_a"].owner == "me"


def test_a_control_that_is_left_to_a_person_may_be_waived(found):
    got = resolve(found, Selection("basic", waivers=(waiver("manual"),)), METAL, on=DAY)
    assert ids(got.waived) == ["manual"]
    assert got.not_automated == ()


def test_a_waiver_that_means_nothing_here_is_no_error_here(found):
    got = resolve(found, Selection("basic", waivers=(waiver("old"),)), METAL, on=DAY)
    assert got.waived == ()


def test_an_overlay_leaves_out_replaces_and_extends(found):
    selection = Selection("basic", (adoption("loud"),))
    target = Target("el10", "metal", frozenset({"fast"}))
    got = resolve(found, selection, target, on=DAY)
    by_id = {item.control.id: item for item in got.applied}
    assert ids(got.waived) == ["plain"]
    assert got.waived[0].exemption.compensation == "Ear plugs."
    assert got.waived[0].exemption.source == "special"
    assert [r.value for r in by_id["varied"].resources] == ["4"]
    assert by_id["varied"].exemption is not None
    assert len(by_id["late"].resources) == 2
    assert by_id["late"].exemption is None
    # What is extended still holds; what is replaced or left out does not.
    assert set(got.exemptions()) == {"plain", "varied"}


def test_a_deviation_excuses_only_what_it_says(tmp_path):
    said = OVERLAY.replace("leave_out: true", "excuses: [plain_b]\n      leave_out: true")
    found = policy(tmp_path, CONTROLS, said)
    got = resolve(found, Selection("basic", (adoption("loud"),)), METAL, on=DAY)
    assert ids(got.waived) == ["plain"]
    assert set(got.exempt_rules()) == {"plain_b"}


def test_where_the_condition_of_a_deviation_does_not_hold_nothing_happens(found):
    got = resolve(found, Selection("basic", (adoption(),)), Target("el9", "vm"), on=DAY)
    assert got.exemptions() == {}
    assert all(len(item.resources) == 1 for item in got.applied)


def test_a_waiver_comes_before_an_overlay(found):
    selection = Selection("basic", (adoption("loud"),), (waiver("plain"),))
    assert resolve(found, selection, METAL, on=DAY).waived[0].exemption.source == "waiver"


@pytest.mark.parametrize(
    ("selection", "code"),
    [
        (Selection("basc"), "unknown-profile"),
        (Selection("basic", (adoption(name="specal"),)), "unknown-overlay"),
        (Selection("basic", waivers=(waiver("plan"),)), "unknown-control"),
        (Selection("basic", waivers=(waiver("plain", date(2026, 11, 22)),)), "expired"),
        (Selection("basic", (adoption(expires=date(2026, 11, 22)),)), "expired"),
    ],
)
def test_what_is_unknown_or_expired_is_never_resolved(found, selection, code):
    with pytest.raises(HoldfastError) as error:
        resolve(found, selection, METAL, on=DAY)
    assert [p.code for p in error.value.problems] == [code]
    assert error.value.exit_code == 2
    assert [o.code for o in objections(found, selection, all_targets(["metal"]), on=DAY)] == [code]


def test_the_last_day_counts(found):
    selection = Selection("basic", waivers=(waiver("plain", DAY),))
    assert resolve(found, selection, METAL, on=DAY).waived


def said(found, selection, targets) -> list[tuple[str, tuple, str]]:
    return [(o.code, o.at, o.message) for o in objections(found, selection, targets, on=DAY)]


def test_nothing_is_wrong_with_what_means_something_somewhere(found):
    selection = Selection("basic", (adoption("loud"),), (waiver("old"), waiver("machines")))
    targets = [*all_targets(["container"]), *all_targets(["metal"], frozenset({"fast"}))]
    assert said(found, selection, targets) == []


@pytest.mark.parametrize(
    ("name", "kinds", "why"),
    [
        ("only-strict", ["metal"], "it is not in profile basic"),
        ("machines", ["container"], "it cannot be applied on a node of kind container"),
        ("plain", ["metal"], "overlay special leaves it out already"),
    ],
)
def test_a_waiver_that_matches_nothing(found, name, kinds, why):
    selection = Selection("basic", (adoption("loud"),), (waiver(name),))
    ((code, at, message),) = said(found, selection, all_targets(kinds))
    assert (code, at) == ("no-effect", ("waivers", 0, "control"))
    assert message.endswith(why)


def test_without_a_profile_waivers_and_overlays_mean_nothing(found):
    selection = Selection("none", (adoption(),), (waiver("plain"),))
    got = said(found, selection, all_targets(["metal"]))
    assert [code for code, _, _ in got] == ["no-effect", "no-effect"]
    assert all("holdfast_profile is none" in message for _, _, message in got)
    assert resolve(found, Selection("none"), METAL).applied == ()


def test_the_same_twice(found):
    selection = Selection("basic", (adoption("loud"), adoption()), (waiver("late"), waiver("late")))
    got = said(found, selection, all_targets(["metal"]))
    assert [(c, at) for c, at, _ in got] == [
        ("set-twice", ("waivers", 1, "control")),
        ("set-twice", ("overlays", 1, "name")),
    ]


def test_features_are_those_that_the_overlay_knows_and_the_inventory_does_not(found):
    selection = Selection("basic", (adoption("luod", "fast"),))
    got = said(found, selection, all_targets(["metal"]))
    assert [(c, at[-1]) for c, at, _ in got] == [("unknown-feature", 0), ("no-effect", 1)]


BROKEN = {
    "outside of the profile": (
        "control: only-strict",
        "leave_out: true",
        "no effect on only-strict: it is not in basic of el10",
    ),
    "the same again": (
        "control: plain",
        "replace: [{type: package, name: telnet, state: absent}]",
        "no effect on plain: it wants what the control wants",
    ),
    "nothing new": (
        "control: plain",
        "extend: [{type: package, name: telnet, state: absent}]",
        "no effect on plain: the control wants that already",
    ),
    "what a person does": (
        "control: manual",
        "replace: [{type: package, name: telnet, state: absent}]",
        "no effect on manual: nothing of it is applied",
    ),
    "more of what another role does": (
        "control: elsewhere",
        "extend: [{type: package, name: telnet, state: absent}]",
        "no effect on elsewhere: nothing of it is applied",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_deviation_without_effect_where_its_condition_holds(tmp_path, name):
    which, effect, words = BROKEN[name]
    text = f"""\
schema: 1
overlay:
  id: special
  title: Special
  description: For special hosts.
  deviations:
    - {which}
      when: {{kinds: [metal]}}
      reason: It is in the way.
      compensation: None.
      reviewed: {{el10: {{cis: "1"}}, el9: {{cis: "1"}}}}
      {effect}
"""
    found = policy(tmp_path, CONTROLS, text)
    got = objections(found, Selection("basic", (adoption(),)), all_targets(["metal"]), on=DAY)
    assert [o.code for o in got] == ["no-effect"]
    assert words in got[0].message
    assert got[0].at == ("overlays", 0, "name")
    assert "2.yml:7:7" in (got[0].hint or "")
    # Where the condition does not hold, the deviation is nobody's business.
    assert said(found, Selection("basic", (adoption(),)), all_targets(["vm"])) == []


def test_a_deviation_where_its_control_cannot_be_applied_has_no_effect(tmp_path):
    overlay = (
        OVERLAY[: OVERLAY.index("    - control: plain")]
        + """\
    - control: machines
      reason: It is in the way.
      compensation: None.
      reviewed: {el10: {cis: "1"}, el9: {cis: "1"}}
      leave_out: true
"""
    )
    selection = Selection("basic", (adoption(),))
    found = policy(tmp_path, CONTROLS, overlay)
    assert said(found, selection, all_targets(["metal"])) == []
    ((code, _, message),) = said(found, selection, all_targets(["metal", "container"]))
    assert code == "no-effect"
    assert "machines: it cannot be applied on a node of kind container" in message


def test_controls_that_clash_only_after_an_overlay(tmp_path):
    both = controls(
        control("one", "[{type: sysctl, name: a, value: 1}]"),
        control("two", "[{type: sysctl, name: a, value: 1}]"),
    )
    overlay = (
        OVERLAY[: OVERLAY.index("    - control: plain")]
        + """\
    - control: one
      reason: One is not enough.
      compensation: Four is.
      reviewed: {el10: {cis: "1"}, el9: {cis: "1"}}
      replace: [{type: sysctl, name: a, value: 4}]
"""
    )
    found = policy(tmp_path, both, overlay)
    got = said(found, Selection("basic", (adoption(),)), all_targets(["metal"]))
    assert [(code, at) for code, at, _ in got] == [("clash", ("overlays",))]
    assert "'sysctl a = 4' and 'sysctl a = 1'" in got[0][2]

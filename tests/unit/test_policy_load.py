"""Files of controls, profiles and overlays: each mistake is found at its place."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from provision.core.problems import HoldfastError
from provision.policy.load import load_policy, our_files, read_policy
from provision.policy.resources import TYPES, AnyResource, Resource
from provision.policy.schema import json_schema
from tests.unit.policy_support import PROFILES, control, controls, policy, read

OVERLAY = """\
schema: 1
overlay:
  id: special
  title: Special
  description: For special hosts.
  traits:
    - {id: fast, meaning: It is fast.}
  deviations:
    - control: one
      reason: It is in the way.
      compensation: Something else.
      reviewed: {el10: {cis: "1"}, el9: {cis: "1"}}
      leave_out: true
"""


def only(problems, code):
    """The problems with a code, as `line:column message hint`."""
    return [
        f"{p.position.line}:{p.position.column} {p.message} {p.hint or ''}"
        for p in problems
        if p.code == code and p.position
    ]


RESOURCES = {
    "no type": ("{name: a}", "missing-key", "lacks 'type'"),
    "type": ("{type: sysctll, name: a, value: 1}", "unknown-value", "did you mean 'sysctl'?"),
    "key": ("{type: sysctl, nam: a, name: b, value: 1}", "unknown-key", "did you mean 'name'?"),
    "no key": ("{type: sysctl, name: a}", "missing-key", "resources[0] lacks 'value'"),
    "boolean": ("{type: sshd, option: UsePAM, value: yes}", "wrong-type", "put it in quotes"),
    "octal": ("{type: file, path: /a, mode: 0640}", "wrong-type", "not 416 put it in quotes"),
    "mode": ("{type: file, path: /a, mode: '640'}", "bad-mode", "'640' is not a mode"),
    "relative": ("{type: file, path: a, mode: '0640'}", "bad-path", "not an absolute path"),
    "up": ("{type: file, path: /a/../b, mode: '0640'}", "bad-path", "not an absolute path"),
    "glob": ("{type: content, path: '/a/*', text: b}", "bad-path", "holds a pattern"),
    "nothing": ("{type: file, path: /a}", "bad-file", "nothing is wanted of this file"),
    "absent mode": (
        "{type: file, path: /a, state: absent, mode: '0600'}",
        "bad-file",
        "what is absent has no owner",
    ),
    "two lines": ('{type: line, path: /a, line: "b\\nc"}', "bad-line", "more than one line"),
    "no line": ("{type: line, path: /a, match: b}", "bad-line", "add `line:`"),
    "which line": ("{type: line, path: /a, state: absent}", "bad-line", "says which line"),
    "match": ("{type: line, path: /a, line: b, match: '^c'}", "bad-pattern", "does not find"),
    "regex": ("{type: line, path: /a, line: b, match: '('}", "bad-pattern", "regular expression"),
    "group": (
        "{type: line, path: /a, line: b, match: '(b+,?)+$'}",
        "bad-pattern",
        "repeats a group",
    ),
    "repeats": (
        "{type: line, path: /a, line: b, match: '.*.*.*.*.*b'}",
        "bad-pattern",
        "more than 4 repeats",
    ),
    "no section": (
        "{type: setting, path: /a, key: b, value: c, style: ini}",
        "bad-setting",
        "style ini has sections",
    ),
    "section": (
        "{type: setting, path: /a, key: b, value: c, section: d}",
        "bad-setting",
        "style equals has no sections",
    ),
    "flag": (
        "{type: setting, path: /a, key: b, value: c, style: flag}",
        "bad-setting",
        "takes no value",
    ),
    "no value": ("{type: setting, path: /a, key: b}", "bad-setting", "add `value:`"),
    "unit": ("{type: service, name: sshd, state: enabled}", "bad-unit", "as in sshd.service"),
    "state": ("{type: package, name: a, state: gone}", "unknown-value", "cannot be 'gone'"),
    "word": ("{type: package, name: a b}", "bad-word", "'a b' is not one word"),
    "out of the kernel": (
        "{type: sysctl, name: kernel/../../../etc/shadow, value: 1}",
        "bad-word",
        "not the name of a setting",
    ),
    "out of a folder": (
        "{type: pam, service: [../passwd], facility: auth, module: m, control: required}",
        "bad-word",
        "'../passwd' is not a name",
    ),
    "an option": ("{type: crypto_policy, policy: --help}", "bad-word", "is not a name"),
    "another option": ("{type: authselect, features: [--force]}", "bad-word", "is not a name"),
    "two arguments": (
        "{type: kernel_argument, name: a, value: b init=/bin/sh}",
        "bad-word",
        "is not one word",
    ),
    "two members": ("{type: group, name: wheel, members: ['a,b']}", "bad-word", "is not a name"),
    "no disk's file": ("{type: content, path: /dev/vda, text: a}", "bad-path", "do not last"),
    "empty": ("{type: mount, path: /a, options: []}", "empty", "options must not be empty"),
    "audit": ("{type: audit_rule, key: a, rules: [b]}", "bad-rule", "as for auditctl"),
    "audit key": ("{type: audit_rule, key: a/b, rules: ['-b']}", "bad-word", "a file's name"),
    "pam": (
        "{type: pam, service: [a], facility: auth, module: m, args: {absent: [c], present: {c: }}}",
        "bad-pam",
        "'c' is both present and absent",
    ),
    "pam order": (
        "{type: pam, service: [a], facility: auth, module: b, after: c, before: d}",
        "bad-pam",
        "exclude each other",
    ),
    "policy": ("{type: crypto_policy}", "bad-policy", "neither a policy nor a module"),
    "selinux": ("{type: selinux}", "bad-selinux", "neither a state nor a policy"),
    "authselect": ("{type: authselect, features: [1]}", "wrong-type", "is text, not 1"),
    "no mapping": ("5", "wrong-type", "is a mapping, not 5"),
}


@pytest.mark.parametrize("name", RESOURCES)
def test_bad_resource(tmp_path, name):
    body, code, text = RESOURCES[name]
    _, problems = read(tmp_path, controls(control("one", f"[{body}]")))
    assert [text for said in only(problems, code) if text in said], [p.render() for p in problems]
    assert all(p.position.line == 8 for p in problems if p.code == code)


CONTROLS = {
    "id": (control("One"), "bad-name", "as in sshd-no-root-login"),
    "no levels": (control("one", levels="", references=""), "missing-key", "add `levels:`"),
    "release": (control("one", levels="{el8: [basic]}"), "unknown-value", "did you mean 'el9'?"),
    "profile": (
        control("one", levels="{el10: [basc]}", references=""),
        "unknown-profile",
        "did you mean 'basic'?",
    ),
    "reference": (
        control("one", levels="{el9: [basic]}"),
        "bad-control",
        "refers to el10, where it is in no profile",
    ),
    "section": (
        control("one", references="{el10: {cis: [5.10]}}"),
        "wrong-type",
        "put it in quotes",
    ),
    "stig": (control("one", references="{el10: {stig: [V-1]}}"), "bad-name", "RHEL-10-600230"),
    "rule": (
        control("one", references="{el10: {rules: [xccdf_rule_a]}}"),
        "bad-name",
        "without prefix",
    ),
    "kinds": (control("one", kinds="[metall]"), "unknown-value", "did you mean 'metal'?"),
    "no kind": (control("one", kinds="[]"), "empty", "kinds must not be empty"),
    "phase": (control("one", phase="acess"), "unknown-value", "did you mean 'access'?"),
    "when": (control("one", when="{}"), "empty", "nothing is asked"),
    "blank": (control("one", title='"a "'), "bad-text", "begins or ends with a blank"),
    "unseen": (
        control("one", rationale='"Because \\e[2J of it."'),
        "bad-text",
        "holds the character U+001B",
    ),
    "long": (control("one", title="a" * 121), "too-long", "at most 120"),
    "no way": (control("one", resources=""), "bad-control", "it says nothing, or more than one"),
    "two ways": (control("one", not_automated="by hand"), "bad-control", "more than one thing"),
    "key": (control("one", sevrity="high"), "unknown-key", "one has no key 'sevrity'"),
    "limit": (
        control("one", "[{type: package, name: a, profiles: [strct]}]"),
        "no-effect",
        "did you mean 'strict'?",
    ),
    "release limit": (
        control("one", "[{type: package, name: a, releases: [el9]}]", levels="{el10: [basic]}"),
        "no-effect",
        "in basic of el10 it wants nothing",
    ),
    "twice": (control("one") + control("one"), "duplicate-id", "the first is at"),
    "rule twice": (
        control("one", references="{el10: {rules: [a, a]}}"),
        "rule-twice",
        "is here twice",
    ),
    "rule of two": (
        control("one", references="{el10: {rules: [a]}}")
        + control("two", references="{el10: {rules: [a]}}"),
        "rule-twice",
        "one answers the rule 'a' of el10 too",
    ),
    "shared with nobody": (
        control("one", references="{el10: {shared: [a]}}"),
        "unknown-rule",
        "no other control answers",
    ),
    "clash": (
        control("one", "[{type: sysctl, name: a.b, value: 0}]")
        + control("two", "[{type: sysctl, name: a/b, value: 1}]"),
        "clash",
        "'sysctl a.b = 0', here 'sysctl a/b = 1'",
    ),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_bad_control(tmp_path, name):
    body, code, text = CONTROLS[name]
    _, problems = read(tmp_path, controls(body))
    assert [text for said in only(problems, code) if text in said], [p.render() for p in problems]


CLASHES = {
    "sshd": ("sshd, option: UsePAM, value: 'yes'", "sshd, option: usepam, value: 'no'"),
    "setting": ("setting, path: /a, key: b, value: c", "setting, path: /a, key: b, state: absent"),
    "line": ("line, path: /a, line: b1, match: ^b", "line, path: /a, line: b2, match: ^b"),
    "content": ("content, path: /a, text: b", "content, path: /a, text: c"),
    "two writers": ("content, path: /a, text: b", "line, path: /a, line: b"),
    "mode": ("content, path: /a, text: b", "file, path: /a, mode: '0600'"),
    "absent": ("file, path: /a, mode: '0600'", "file, path: /a, state: absent"),
    "package": ("package, name: a", "package, name: a, state: absent"),
    "service": (
        "service, name: a.service, state: enabled",
        "service, name: a.service, state: masked",
    ),
    "mount": ("mount, path: /a, options: [noexec]", "mount, path: /a, options: [nodev, exec]"),
    "audit": ("audit_rule, key: a, rules: ['-b']", "audit_rule, key: a, rules: ['-c']"),
    "pam": (
        "pam, service: [a, b], facility: auth, module: m, args: {present: {c: 1}}",
        "pam, service: [b], facility: auth, module: m, args: {absent: [c]}",
    ),
    "crypto": ("crypto_policy, policy: DEFAULT", "crypto_policy, policy: FIPS"),
    "kernel": ("kernel_argument, name: a, value: 1", "kernel_argument, name: a, state: absent"),
    "account": ("account, what: min_days, value: 1", "account, what: min_days, value: 2"),
    "selinux": ("selinux, state: enforcing", "selinux, state: permissive"),
    "umask": ("umask, value: '0027'", "umask, value: '0077'"),
    "group": ("group, name: a", "group, name: a, members: [b]"),
    "authselect": (
        "authselect, profile: a, features: [b]",
        "authselect, profile: c, features: [b]",
    ),
}


@pytest.mark.parametrize("name", CLASHES)
def test_two_controls_that_clash(tmp_path, name):
    one, two = (f"[{{type: {body}}}]" for body in CLASHES[name])
    _, problems = read(tmp_path, controls(control("one", one) + control("two", two)))
    assert [p.code for p in problems] == ["clash"], [p.render() for p in problems]
    assert "two" not in problems[0].message.split()[0]


AGREEING = {
    "the same": ("package, name: a", "package, name: a"),
    "crypto modules": ("crypto_policy, modules: [A]", "crypto_policy, modules: [B]"),
    "mount options": ("mount, path: /a, options: [nodev]", "mount, path: /a, options: [nosuid]"),
    "pam arguments": (
        "pam, service: [a], facility: auth, module: m, args: {present: {c: 1}}",
        "pam, service: [a], facility: auth, module: m, args: {present: {d: 1}}",
    ),
    "other section": (
        "setting, path: /a, key: b, value: 1, style: ini, section: c",
        "setting, path: /a, key: b, value: 2, style: ini, section: d",
    ),
}


@pytest.mark.parametrize("name", AGREEING)
def test_two_controls_that_agree(tmp_path, name):
    one, two = (f"[{{type: {body}}}]" for body in AGREEING[name])
    assert policy(tmp_path, controls(control("one", one) + control("two", two)))


def test_controls_of_different_profiles_may_differ(tmp_path):
    one = control("one", "[{type: umask, value: '0027'}]", levels="{el10: [basic]}")
    two = control("two", "[{type: umask, value: '0077'}]", levels="{el10: [strict]}")
    assert policy(tmp_path, controls(one + two))


def test_a_rule_may_be_shared(tmp_path):
    one = control("one", references="{el10: {rules: [a]}}")
    two = control("two", references="{el10: {shared: [a]}}")
    found = policy(tmp_path, controls(one + two))
    assert found.controls["two"].rules("el10") == ("a",)


OVERLAYS = {
    "control": (("control: one", "control: onne"), "unknown-control", "did you mean 'one'?"),
    "trait": (
        ("reason: It", "when: {traits: [fats]}\n      reason: It"),
        "unknown-trait",
        "did you mean 'fast'?",
    ),
    "profile": (
        ("reason: It", "when: {profiles: [basc]}\n      reason: It"),
        "unknown-profile",
        "did you mean 'basic'?",
    ),
    "no effect": (("      leave_out: true\n", ""), "bad-deviation", "it has no effect, or more"),
    "two effects": (
        ("leave_out: true", "leave_out: true\n      extend: [{type: package, name: a}]"),
        "bad-deviation",
        "more than one",
    ),
    "excuse": (
        ("leave_out: true", "leave_out: true\n      excuses: [onee]"),
        "unknown-rule",
        "did you mean 'one'?",
    ),
    "excuse of what holds": (
        ("leave_out: true", "excuses: [one]\n      extend: [{type: package, name: a}]"),
        "bad-deviation",
        "nothing is to excuse",
    ),
    "no compensation": (
        ("      compensation: Something else.\n", ""),
        "missing-key",
        "lacks 'compensation'",
    ),
    "old review": (('{el10: {cis: "1"}', '{el10: {cis: "0"}'), "not-reviewed", "write `cis: '1'`"),
    "no review": ((', el9: {cis: "1"}', ""), "not-reviewed", "A benchmark, 1"),
}


@pytest.mark.parametrize("name", OVERLAYS)
def test_bad_overlay(tmp_path, name):
    (old, new), code, text = OVERLAYS[name]
    assert old in OVERLAY
    _, problems = read(tmp_path, controls(control("one")), OVERLAY.replace(old, new))
    assert [text for said in only(problems, code) if text in said], [p.render() for p in problems]


FILES = {
    "list": ("- a\n", "wrong-type", "this file is a mapping"),
    "no schema": ("controls: []\n", "missing-key", "`schema: 1`"),
    "new schema": ("schema: 2\ncontrols: []\n", "unknown-version", "the version 2"),
    "schema of words": ("schema: true\ncontrols: []\n", "unknown-version", "the version yes"),
    "no kind": ("schema: 1\n", "missing-key", "one of `controls:`"),
    "two kinds": (controls(control("one")) + "profile: {}\n", "missing-key", "2 of three kinds"),
    "key": ("schema: 1\ncontrls: []\n", "unknown-key", "did you mean 'controls'?"),
    "empty": ("schema: 1\ncontrols: []\n", "wrong-type", "a list that is not empty"),
    "syntax": ("schema: 1\ncontrols: [\n", "yaml-syntax", "not valid YAML"),
    "item": ("schema: 1\ncontrols: [5]\n", "wrong-type", "control is a mapping, not 5"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_file(tmp_path, name):
    text, code, words = FILES[name]
    _, problems = read(tmp_path, text)
    assert [words for said in only(problems, code) if words in said], [p.render() for p in problems]


@pytest.mark.parametrize(("name", "code"), [("none", "reserved-name"), ("basic", "duplicate-id")])
def test_an_overlay_with_a_name_that_means_something_else(tmp_path, name, code):
    text = OVERLAY.replace("id: special", f"id: {name}")
    _, problems = read(tmp_path, controls(control("one")), text)
    assert [p.code for p in problems] == [code]


def test_a_profile_called_none(tmp_path):
    _, problems = read(tmp_path, PROFILES.replace("basic", "none", 1))
    assert [p.code for p in problems] == ["reserved-name"]


def test_all_mistakes_of_all_files_come_at_once_in_reading_order(tmp_path):
    bad = controls(control("one", title='"a "') + control("two", phase="x"))
    _, problems = read(tmp_path, bad, controls(control("three", kinds="[x]")))
    places = [(p.position.file[-5:], p.position.line) for p in problems]
    assert [p.code for p in problems] == ["bad-text", "unknown-value", "unknown-value"]
    assert places == sorted(places)


def test_a_control_with_a_mistake_is_still_there_for_whoever_names_it(tmp_path):
    _, problems = read(tmp_path, controls(control("one", phase="x")), OVERLAY)
    assert [p.code for p in problems] == ["unknown-value"]


def test_a_folder_without_controls(tmp_path):
    (tmp_path / "README").write_text("x")
    _, problems = read_policy([tmp_path], ours=False)
    assert [p.code for p in problems] == ["no-controls"]
    assert str(tmp_path) in problems[0].render()


def test_a_sites_folder_is_searched_to_the_bottom_and_hidden_files_are_left(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.yaml").write_text(PROFILES)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "d.yml").write_text("- nothing\n")
    found, problems = read_policy([tmp_path], ours=False)
    assert problems == []
    assert list(found.profiles) == ["basic"]


def test_a_site_adds_a_control_to_a_profile_of_ours(tmp_path):
    body = control("site-one", levels="{el10: [cis_l1_server]}", references="")
    (tmp_path / "site.yml").write_text(controls(body))
    found = load_policy([tmp_path])
    assert found.controls["site-one"].profiles("el10") == ("cis_l1_server",)


def test_mistakes_end_with_exit_code_2(tmp_path):
    (tmp_path / "site.yml").write_text("- x\n")
    with pytest.raises(HoldfastError) as error:
        load_policy([tmp_path])
    assert error.value.exit_code == 2


def test_numbers_are_kept_as_text(tmp_path):
    found = policy(tmp_path, controls(control("one", "[{type: sysctl, name: a, value: 1}]")))
    assert found.controls["one"].resources[0].value == "1"


def test_every_type_has_a_name():
    members = AnyResource.__origin__.__args__
    words = [member.model_fields["type"].annotation.__args__[0] for member in members]
    assert list(TYPES) == words


@pytest.mark.parametrize("lacks", ["wants", "words"])
def test_a_type_that_lacks_a_part_cannot_be_made(lacks):
    parts = {"wants", "words"} - {lacks}
    half = type("Half", (Resource,), dict.fromkeys(parts, lambda _: ""))
    with pytest.raises(TypeError, match=f"abstract method '?{lacks}"):
        half(type="half")


def test_the_schema_takes_what_we_ship():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    for path, name in our_files():
        data = json.loads(json.dumps(yaml.safe_load(path.read_text())))
        assert not list(judge.iter_errors(data)), name


@pytest.mark.parametrize(
    "body",
    [
        control("One"),
        control("one", kinds="[metall]"),
        control("one", "[{type: sysctl, name: a}]"),
        control("one", "[{type: file, path: a, mode: '0600'}]"),
        control("one", references="{el10: {rules: [xccdf_a]}}"),
        control("one", unknown="x"),
    ],
)
def test_the_schema_refuses_what_loading_refuses(body):
    judge = jsonschema.Draft202012Validator(json_schema())
    assert judge.is_valid(yaml.safe_load(controls(control("one"))))
    assert not judge.is_valid(yaml.safe_load(controls(body)))

"""Edits of configuration text: once is enough, and what is not meant stays."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.roles_support import plugin

text = plugin("module_utils.hardening", "text")
sysctl = plugin("module_utils.hardening", "sysctl")
sshd = plugin("module_utils.hardening", "sshd")
pam = plugin("module_utils.hardening", "pam")
umask = plugin("module_utils.hardening", "umask")
audit_rule = plugin("module_utils.hardening", "audit_rule")
base = plugin("module_utils.hardening", "base")

KEYS = st.sampled_from(["alpha", "beta", "Gamma", "a.b"])
VALUES = st.text(string.ascii_letters + string.digits + "-_./", min_size=1, max_size=8)
NOISE = st.sampled_from(
    ["", "# alpha = 1", "#alpha 2", "; beta=3", "[main]", "[other]", "unrelated", "  indented = x"]
)
LINES = st.lists(
    NOISE | st.builds("{} = {}".format, KEYS, VALUES) | st.builds("{}={}".format, KEYS, VALUES)
    | st.builds("{}\t{}".format, KEYS, VALUES),
    max_size=12,
)  # fmt: skip
FILES = st.builds(lambda lines: "".join(line + "\n" for line in lines), LINES)


@given(FILES, KEYS, VALUES, st.sampled_from(["equals", "bare_equals", "space"]))
def test_a_setting_stands_there_once_and_the_second_edit_changes_nothing(body, key, value, style):
    once = text.with_setting(body, key, value, style)
    assert text.with_setting(once, key, value, style) == once
    found = text.settings(once, key, style)
    assert len(found) == 1
    assert text.Style(style).right(found[0], key, value)


@given(FILES, KEYS, VALUES, st.sampled_from(["main", "other", "fresh"]))
def test_the_same_in_a_section(body, key, value, section):
    once = text.with_setting(body, key, value, "ini", section)
    assert text.with_setting(once, key, value, "ini", section) == once
    assert len(text.settings(once, key, "ini", section)) == 1


@given(FILES, KEYS, VALUES, st.sampled_from(["equals", "bare_equals", "space"]))
def test_lines_of_others_keep_their_order_and_bytes(body, key, value, style):
    kind = text.Style(style)

    def others(what):
        return [line for line in text.lines_of(what) if (kind.parse(line) or ("",))[0] != key]

    assert others(text.with_setting(body, key, value, style)) == others(body)


@given(FILES, KEYS, st.none() | VALUES)
def test_a_setting_put_out_of_force_is_a_comment(body, key, value):
    gone = text.without_setting(body, key, value, "equals")
    assert text.without_setting(gone, key, value, "equals") == gone
    assert len(text.lines_of(gone)) == len(text.lines_of(body))
    if value is None:
        assert text.settings(gone, key, "equals") == []


@given(FILES, VALUES)
def test_a_line_stands_there_once(body, value):
    line = f"alpha = {value}"
    once = text.with_line(body, line, r"^alpha\b")
    assert text.with_line(once, line, r"^alpha\b") == once
    active = [one for one in text.lines_of(once) if text.active(one) and one.startswith("alpha")]
    assert active == [line]
    assert line not in text.lines_of(text.without_line(once, line))


@given(FILES, KEYS, VALUES)
def test_what_contradicts_a_kernel_setting_is_silenced_and_nothing_else(body, key, value):
    silenced = sysctl.silenced(body, key, value)
    assert not sysctl.conflicts(silenced, key, value)
    assert sysctl.silenced(silenced, key, value) == silenced
    for old, new in zip(text.lines_of(body), text.lines_of(silenced), strict=True):
        assert old == new or sysctl.parse(old + "\n").get(key) not in (None, value)


def test_a_setting_follows_the_comment_that_shows_it():
    body = "[main]\n# minlen = 8\nother = 1\n"
    assert text.with_setting(body, "minlen", "14", "equals") == (
        "[main]\n# minlen = 8\nminlen = 14\nother = 1\n"
    )


def test_a_section_that_is_missing_is_made_at_the_end():
    made = text.with_setting("[a]\nx = 1\n", "y", "2", "ini", "b")
    assert made == "[a]\nx = 1\n\n[b]\ny = 2\n"
    assert text.with_setting("", "y", "2", "bare_equals", "b") == "[b]\ny=2\n"


def test_a_setting_lands_in_its_own_section():
    body = "[a]\nx = 1\n\n[b]\nx = 1\n"
    assert text.with_setting(body, "x", "2", "ini", "a") == "[a]\nx = 2\n\n[b]\nx = 1\n"
    assert text.with_setting(body, "y", "2", "ini", "a") == "[a]\nx = 1\ny = 2\n\n[b]\nx = 1\n"


def test_bare_equals_takes_no_blanks_because_its_reader_takes_none():
    assert text.with_setting("a = 1\n", "a", "1", "bare_equals") == "a=1\n"
    assert text.with_setting("a=1\n", "a", "1", "equals") == "a=1\n"


def test_what_is_not_utf8_comes_out_as_it_went_in():
    raw = b"caf\xe9 = 1\nx = 1\n"
    body = raw.decode("utf-8", "surrogateescape")
    edited = text.with_setting(body, "x", "2", "equals")
    assert edited.encode("utf-8", "surrogateescape") == b"caf\xe9 = 1\nx = 2\n"


class TestSshd:
    def test_what_stands_in_a_match_block_is_another_matter(self):
        body = "PermitRootLogin no\nMatch User x\nPermitRootLogin yes\n"
        assert sshd.contradicting(body, "permitrootlogin", "no") == []
        assert sshd.parse(body) == {"permitrootlogin": "no"}

    @pytest.mark.parametrize(
        "line", ["X11Forwarding no", "x11forwarding   no", "X11Forwarding=no", 'X11Forwarding "no"']
    )
    def test_one_value_is_one_value_however_it_is_written(self, line):
        assert sshd.contradicting(line + "\n", "X11Forwarding", "no") == []
        assert sshd.contradicting(line + "\n", "X11Forwarding", "yes") == [0]

    def test_a_line_for_everybody_stands_before_the_first_match(self):
        body = "A b\nMatch all\nC d\n"
        assert sshd.before_match(body, "E f") == "A b\nE f\nMatch all\nC d\n"


class TestPam:
    def want(self, **resource):
        return base.Want("c", {"facility": "auth", "module": "pam_x.so", **resource})

    @given(
        st.lists(st.sampled_from(["nullok", "deny=3", "try", "deny=5"]), max_size=5),
        st.dictionaries(st.sampled_from(["deny", "even"]), st.none() | st.just("4"), max_size=2),
        st.sets(st.sampled_from(["nullok", "try"]), max_size=2),
    )
    def test_arguments_are_there_once_or_not_at_all(self, words, present, absent):
        args = {"present": present, "absent": sorted(absent)}
        found = pam.arguments(words, args)
        assert pam.arguments(found, args) == found
        names = [word.partition("=")[0] for word in found]
        assert not absent & set(names)
        for name, value in present.items():
            assert found.count(name if value is None else f"{name}={value}") == 1

    def test_a_feature_of_authselect_stays_with_its_line(self):
        line = 'auth required pam_x.so a {include if "with-x"}\n'
        edited = pam.edited(line, self.want(args={"present": {"b": None}}))
        assert edited.split() == [
            "auth",
            "required",
            "pam_x.so",
            "a",
            "b",
            "{include",
            "if",
            '"with-x"}',
        ]

    def test_control_of_several_lines_is_theirs(self):
        body = "auth required pam_x.so preauth\nauth [default=die] pam_x.so authfail\n"
        assert pam.edited(body, self.want(control="sufficient")) == body

    def test_arguments_of_a_module_that_is_not_there_are_nothing_to_do(self):
        assert pam.edited("auth required pam_y.so\n", self.want(args={"absent": ["a"]})) == (
            "auth required pam_y.so\n"
        )

    def test_a_line_goes(self):
        body = "auth required pam_x.so\n-auth optional pam_x.so\naccount required pam_x.so\n"
        gone = pam.edited(body, self.want(state="absent"))
        assert gone == "account required pam_x.so\n"


@given(st.integers(0, 0o777), st.integers(0, 0o777))
def test_an_umask_only_ever_takes_more_away(has, wanted):
    line = umask.stricter(f"  umask {has:03o} # x\n", wanted)
    now = int(line.split()[1], 8)
    assert now & has == has
    assert now & wanted == wanted
    assert umask.stricter(line, wanted) == line


def test_calls_that_a_machine_never_had_leave_its_rules():
    rules = ["-a always,exit -F arch={arch} -S open,openat -S creat -k x"]
    assert audit_rule.text_of(rules, "aarch64") == (
        "-a always,exit -F arch=b32 -S open,openat -S creat -k x\n"
        "-a always,exit -F arch=b64 -S openat -k x\n"
    )
    assert audit_rule.text_of(["-a always,exit -F arch={arch} -S chmod -k x"], "aarch64") == (
        "-a always,exit -F arch=b32 -S chmod -k x\n"
    )
    assert audit_rule.text_of(["-w /etc/passwd -p wa -k x"], "x86_64") == (
        "-w /etc/passwd -p wa -k x\n"
    )

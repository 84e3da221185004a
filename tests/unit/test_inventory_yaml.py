"""YAML with positions: what it reads, where things stand, and that hostile text is refused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.core import yamlbuild, yamlpos
from provision.core.yamlpos import Tagged, load_yaml, parse_yaml, shown, walk


def places(text: str) -> list[tuple[str, int, int]]:
    _, problems = parse_yaml(text, "f.yml")
    return [(p.code, p.position.line, p.position.column) for p in problems if p.position]


def test_values_and_keys_know_their_places():
    document, problems = parse_yaml("a: &x {k: [1, 2]}\nb: *x\nc:\n  - {q: 1}\n", "f.yml")
    assert problems == []
    assert document is not None
    assert document.data == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}, "c": [{"q": 1}]}
    assert str(document.at(("a", "k", 1))) == "f.yml:1:15"
    assert str(document.key_at(("c", 0, "q"))) == "f.yml:4:6"
    assert str(document.at(("c", 0, "q"))) == "f.yml:4:9"
    assert str(document.at(("b", "k", 0))) == "f.yml:2:4", "what came by an alias stands there"
    assert str(document.at(("c", 0, "absent"))) == "f.yml:4:5", "the nearest that is known"


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3\n", "duplicate-key", 3, 1),
        ("{a: 1, a: 2}", "duplicate-key", 1, 8),
        ("a: {{ b }}", "bad-key", 1, 5),
        ("? [a]\n: b", "bad-key", 1, 3),
        ("--- 1\n--- 2\n", "several-documents", 2, 1),
        ("a: *b", "unknown-alias", 1, 4),
        ("a: &a [*a]", "endless-alias", 1, 8),
        ("a: !!python/object:os.system x", "unknown-tag", 1, 4),
        ("!!set {a}", "unknown-tag", 1, 1),
        ("d: 2001-99-99", "bad-scalar", 1, 4),
        ("n: 1" + "0" * 5000, "bad-scalar", 1, 4),
        ("n: 0x" + "f" * 5000, "bad-scalar", 1, 4),
        ("<<: 1", "bad-merge", 1, 5),
        ("a: b: c", "yaml-syntax", 1, 5),
        ("é: ü\x00", "yaml-syntax", 1, 5),
        ("[" * 100_000, "too-deep", 1, 49),
        ("{a: " * 100_000, "too-deep", 1, 193),
    ],
)
def test_bad_text(text: str, code: str, line: int, column: int):
    assert places(text) == [(code, line, column)]


def test_aliases_are_counted_expanded():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    started = time.monotonic()
    assert [code for code, _, _ in places("\n".join(lines))] == ["too-many-values"]
    assert time.monotonic() - started < 2


def test_problems_are_bounded():
    assert len(places("{" + "a: 1, " * 50_000 + "}")) == yamlbuild.MAX_PROBLEMS


def test_merge_keys_do_not_override():
    document, problems = parse_yaml("b: &b {q: 1, r: 2}\nc:\n  <<: *b\n  q: 3\n", "f.yml")
    assert document is not None
    assert document.data == {"b": {"q": 1, "r": 2}, "c": {"q": 3, "r": 2}}
    assert problems == []
    assert document.at(("c", "r")).line == 3


def test_vault_values_stay_closed():
    document, _ = parse_yaml("p: !vault |\n  $ANSIBLE_VAULT;1.1\n  6162\n", "f.yml")
    assert document is not None
    assert isinstance(document.data, dict)
    assert document.data["p"] == Tagged("!vault", "$ANSIBLE_VAULT;1.1\n6162\n")
    assert "6162" not in repr(document)


def test_empty_text_is_nothing():
    document, problems = parse_yaml("# only a comment\n", "f.yml")
    assert document is not None
    assert document.data is None
    assert problems == []


@pytest.mark.parametrize(
    "line",
    [
        "ansible_password: hunter2",
        "  - {user: a, api-key: hunter2}",
        'site_token: "hunter2"',
        "holdfast_tls_ca: hunter2",
        "url: http://u:hunter2@mirror.example/",
    ],
)
def test_lines_are_shown_without_secrets(line: str):
    document, _ = parse_yaml(f"{line}\n", "f.yml")
    text = yamlpos.shown_line((line,), 1)
    assert "hunter2" not in (text or "")
    assert "not shown" in (text or "")
    assert document is not None


def test_values_are_shown_printable():
    assert "\x1b" not in shown("\x1b[2J")
    assert "\n" not in shown("a\nb")
    assert len(shown("x" * 500)) < 80


def test_files_that_cannot_be_read(tmp_path: Path):
    def code(path: Path) -> str:
        document, problems = load_yaml(path)
        assert document is None
        return problems[0].code

    assert code(tmp_path / "absent.yml") == "missing-file"
    assert code(tmp_path) == "not-a-file"
    os.mkfifo(tmp_path / "pipe")
    assert code(tmp_path / "pipe") == "not-a-file", "a pipe would never end"
    (tmp_path / "big.yml").write_bytes(b"a" * (yamlpos.MAX_BYTES + 1))
    assert code(tmp_path / "big.yml") == "too-large"
    (tmp_path / "latin.yml").write_bytes(b"a: 1\nb: \xe9\n")
    _, problems = load_yaml(tmp_path / "latin.yml")
    assert str(problems[0].position).endswith("latin.yml:2:4")


def test_without_the_c_parser(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(yamlpos, "_LOADER", yaml.SafeLoader)
    assert places("a: {b: 1, b: 2}") == [("duplicate-key", 1, 11)]
    assert places("é: ü\x00") == [("yaml-syntax", 1, 5)]
    assert places('x: "\\ud800"') == [("bad-scalar", 1, 4)]
    assert places("[" * 5000) == [("too-deep", 1, 49)]


def test_walk_comes_by_everything_once():
    data = {"a": [1, {"b": None}], "c": "x"}
    assert list(walk(data)) == [
        ((), data),
        (("a",), [1, {"b": None}]),
        (("a", 0), 1),
        (("a", 1), {"b": None}),
        (("a", 1, "b"), None),
        (("c",), "x"),
    ]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcdef_é", min_size=1, max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(PLAIN)
def test_reads_what_yaml_reads(data: object):
    text = yaml.safe_dump(data, allow_unicode=True)
    document, problems = parse_yaml(text, "f.yml")
    assert problems == []
    assert document is not None
    assert document.data == yaml.safe_load(text)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_ends_as_data_or_problems(text: str):
    document, problems = parse_yaml(text, "f.yml")
    assert document is not None or problems
    assert all(p.position and p.position.line >= 1 and p.position.column >= 1 for p in problems)


def test_a_tab_is_called_a_tab():
    _, problems = parse_yaml("all:\n  hosts:\n\tn1:\n", "rack.yml")
    assert problems[0].hint == "this is a tab; indent with spaces"

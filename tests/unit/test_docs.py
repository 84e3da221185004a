"""The documentation leads somewhere: its links exist, and its commands are ones that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from provision.cli.main import build_verb_parser
from provision.cli.registry import VERBS
from provision.core.problems import HoldfastError

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")

CONSOLE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead to nothing."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    return [t for t in targets if "://" not in t and not (page.parent / t).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert broken_links(page) == []


def test_planted_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[a](page.md) [b](nowhere.md) [c](#here)")
    assert broken_links(page) == ["nowhere.md"]


def commands() -> list[tuple[str, list[str]]]:
    """Every `holdfast ...` line in the console blocks of the pages."""
    found = []
    for page in PAGES:
        for line in "".join(CONSOLE.findall(page.read_text(encoding="utf-8"))).splitlines():
            words = line.removeprefix("$ ").split("#")[0].split()
            if words[:1] == ["holdfast"]:
                found.append((page.name, words[1:]))
    return found


def test_commands_in_the_documentation_exist():
    said = commands()
    assert len(said) >= 8
    wrong = []
    for page, (verb, *words) in said:
        try:
            build_verb_parser(verb, VERBS[verb]).parse_args(words)
        except (KeyError, HoldfastError) as error:
            wrong.append(f"{page}: holdfast {verb} {' '.join(words)}: {error}")
    assert wrong == []


KIND = re.compile(r"(?:[a-z]+\.[a-z]+|facts)")


def words_in(tree: ast.AST) -> set[str]:
    """The strings below `tree` that can be the kind of an event."""
    found = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
    return {text for text in found if isinstance(text, str) and KIND.fullmatch(text)}


def emitted(source: str) -> set[str]:
    """The kinds of the events that `source` makes, also where a name holds the kind."""
    tree = ast.parse(source)
    kinds = set()
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.args):
        called = call.func.attr if isinstance(call.func, ast.Attribute) else call.func
        if called != "_emit" and not (isinstance(called, ast.Name) and called.id == "Event"):
            continue
        kinds |= words_in(call.args[0])
        if isinstance(call.args[0], ast.Name):
            for given in (n for n in ast.walk(tree) if isinstance(n, ast.Assign)):
                if ast.unparse(given.targets[0]) == call.args[0].id:
                    kinds |= words_in(given.value)
    return kinds


def test_every_kind_of_event_is_described_and_no_other():
    rooms = (p for p in (ROOT / "provision").rglob("*.py") if "collections" not in p.parts)
    made = set().union(*(emitted(p.read_text(encoding="utf-8")) for p in rooms))
    page = (ROOT / "docs/reference/events.md").read_text(encoding="utf-8")
    assert len(made) > 20
    assert set(re.findall(r"^\| `([a-z.]+)`", page, re.MULTILINE)) == made


def test_planted_kind_is_found():
    source = 'kind = "a.start" if x else "a.end"\nEvent(kind)\nself._emit("b.end", 1)\nf("c.d")'
    assert emitted(source) == {"a.start", "a.end", "b.end"}

"""The verdict as one HTML file: whole, self-contained, inert, and readable."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from provision.verdict import elevation, html
from provision.verdict.model import NodeSummary, Status, Verdict
from provision.verdict.text import one_line
from provision.verdict.words import LOOKS
from tests.data.sample_verdict import hostile, sample

VOID = {"meta", "input", "br", "hr", "img", "link"}
CASES = {
    "two": sample(2),
    "healthy": sample(2, healthy=True),
    "nine": sample(9),
    "loose": sample(9, positions=False),
    "fleet": sample(400),
    "hostile": hostile(),
    "empty": Verdict("verify", "lab", "", (), ()),
    "unseen": Verdict("verify", "lab", "", (NodeSummary("n1"),), ()),
}


class Page(HTMLParser):
    """Collects what a browser would act on, and checks that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def ids(self) -> list[str]:
        return [a["id"] for _, a in self.tags if "id" in a]


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return {name: html.render(made) for name, made in CASES.items()}


@pytest.fixture(scope="module")
def pages(rendered: dict[str, str]) -> dict[str, Page]:
    return {name: Page(text) for name, text in rendered.items()}


@pytest.mark.parametrize("name", CASES)
def test_links_lead_somewhere_inside_the_page(pages: dict[str, Page], name: str) -> None:
    ids = pages[name].ids()
    assert len(ids) == len(set(ids))
    links = [a["href"] for _, a in pages[name].tags if "href" in a]
    assert links
    for link in links:
        assert link.startswith("#")
        assert link[1:] in ids


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_fetched(rendered: dict[str, str], pages: dict[str, Page], name: str) -> None:
    loading = {"src", "srcset", "action", "formaction", "data", "poster", "background", "style"}
    for tag, attributes in pages[name].tags:
        assert tag not in {"img", "link", "iframe", "object", "embed", "base", "image", "source"}
        assert not loading & set(attributes), tag
        assert not any(a.startswith("on") for a in attributes), attributes
        assert "xlink:href" not in attributes
    for block in re.findall(r"<style>(.*?)</style>", rendered[name], re.DOTALL):
        assert "url(" not in block
        assert "@import" not in block


@pytest.mark.parametrize("name", CASES)
def test_policy_admits_our_style_and_script_and_nothing_else(
    rendered: dict[str, str], pages: dict[str, Page], name: str
) -> None:
    policy = next(
        a["content"]
        for _, a in pages[name].tags
        if "content-security" in a.get("http-equiv", "").lower()
    )
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for tag in ("script", "style"):
        blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", rendered[name], re.DOTALL)
        assert len(blocks) == 1
        digest = base64.b64encode(hashlib.sha256(blocks[0].encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_names_and_evidence_are_inert(rendered: dict[str, str], pages: dict[str, Page]) -> None:
    text, page = rendered["hostile"], pages["hostile"]
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert "<script>alert(1)</script>" in page.text
    assert "run {{ 7 * 7 }}" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    assert "\\x1b]0;owned\\x07" in page.text
    assert "\\u202egnp.exe" in page.text
    text.encode()


@pytest.mark.parametrize("name", CASES)
def test_drawings_are_sound_and_name_every_node(rendered: dict[str, str], name: str) -> None:
    drawings = re.findall(r"<svg viewBox.*?</svg>", rendered[name], re.DOTALL)
    shown: list[str] = []
    for drawing in drawings:
        root = ET.fromstring(drawing)
        _, _, width, height = (float(n) for n in root.attrib["viewBox"].split())
        boxes: list[tuple[float, float]] = []
        for unit in root.iter("a"):
            title = unit.findtext("title") or ""
            words = [t.text for t in unit.iter("text") if t.get("class") == "word"]
            status = Status(unit.attrib["data-status"])
            # Word, glyph and colour class agree.
            assert words == [LOOKS[status].word]
            assert title.split(": ")[-1].startswith(LOOKS[status].word)
            assert [u.attrib["href"] for u in unit.iter("use")] == [f"#i-{status.value}"]
            assert status.value in unit.attrib["class"].split()
            box = next(r for r in unit.iter("rect") if r.get("class") == "box")
            top, tall = float(box.attrib["y"]), float(box.attrib["height"])
            assert top >= 0
            assert top + tall <= height
            assert float(box.attrib["x"]) + float(box.attrib["width"]) <= width
            boxes.append((top, top + tall))
            shown.append(title)
        boxes.sort()
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(boxes))
    assert len(shown) == len(set(CASES[name].by_node()) | _unproven(CASES[name]))


def _unproven(made: Verdict) -> set[str]:
    return set() if made.findings or made.nodes else {made.rack}


def test_drawing_of_a_usual_rack(rendered: dict[str, str]) -> None:
    (drawing,) = re.findall(r"<svg viewBox.*?</svg>", rendered["nine"], re.DOTALL)
    root = ET.fromstring(drawing)
    ticks = [t.text for t in root.iter("text") if t.get("class") == "tick"]
    assert ticks == [str(n) for n in range(1, 43)]
    titles = [t.text for t in root.iter("title")]
    assert "gpu2: fail (U5, 1 fail, 14 pass)" in titles
    assert "gpu5: unknown (U19, 15 unknown)" in titles


def test_places_that_are_not_declared_have_no_numbers(rendered: dict[str, str]) -> None:
    assert 'class="tick"' not in rendered["loose"]
    assert "no position declared" in rendered["loose"]


@pytest.mark.parametrize("name", CASES)
def test_page_says_it_in_words(pages: dict[str, Page], name: str) -> None:
    made, text = CASES[name], pages[name].text
    for finding in made.findings:
        if finding.status.gates:
            assert one_line(finding.action) in text
    for status in Status:
        assert LOOKS[status].word in text
    for digest in made.inputs.values():
        assert f"sha256:{digest}" in text
    assert ("Rehearsal." in text) == made.rehearsal


@pytest.mark.parametrize("name", CASES)
def test_there_is_a_page_for_every_node(pages: dict[str, Page], name: str) -> None:
    found = [a for tag, a in pages[name].tags if "page" in a.get("class", "").split()]
    assert len(found) == max(len(CASES[name].by_node()), 1)
    assert all(a["id"].startswith("node-") for a in found)


def test_failures_come_before_everything_else(pages: dict[str, Page]) -> None:
    for name in ("two", "nine", "fleet"):
        text = pages[name].text
        assert text.index("What needs attention") < text.index("Every node")
        assert text.index("What needs attention") < text.index("The rack")


def test_answer_of_the_model_keeps_its_lines(rendered: dict[str, str]) -> None:
    assert "What the model answered" in rendered["healthy"]
    assert (
        "&gt; What does a rack need to stand by itself?\n\n"
        "  Its own copy of everything it runs, a way to check that copy,\n"
    ) in rendered["healthy"]


def test_nothing_to_do_is_said(pages: dict[str, Page]) -> None:
    assert "Nothing needs attention" in pages["healthy"].text
    assert "Nothing needs attention" not in pages["empty"].text
    assert "Nothing needs attention" not in pages["unseen"].text


def test_script_is_small_and_the_page_does_not_need_it(rendered: dict[str, str]) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", rendered["nine"], re.DOTALL)
    assert len(script.encode()) < 2048
    assert 'id="filter" class="filter" hidden' in rendered["nine"]


def test_a_fleet_stays_a_file_one_can_open(rendered: dict[str, str]) -> None:
    per_node = len(rendered["fleet"].encode()) / 400
    assert per_node < 12_000
    # Passing nodes of a large rack are not printed one by one.
    assert rendered["fleet"].count('class="page unprinted"') == 379


def test_report_is_the_same_every_time() -> None:
    assert html.render(sample(9)) == html.render(sample(9))


def place(*nodes: tuple[int | None, int]) -> list[tuple[str, int, int, list[int]]]:
    made = [NodeSummary(f"n{i}", position=p, height=h) for i, (p, h) in enumerate(nodes)]
    return [
        (c.title, c.first, c.last, [s.unit for s in c.slots])
        for c in elevation.columns("lab", made)
    ]


def test_places_in_the_rack() -> None:
    assert place() == []
    assert place((2, 2), (5, 2)) == [("lab", 1, 8, [2, 5])]
    assert place((40, 1), (1, 4)) == [("lab", 1, 42, [40, 1])]
    assert place((20, 1)) == [("lab", 19, 26, [20])]
    assert place((46, 2)) == [("lab", 45, 52, [46])]
    # The same units twice are two racks, and what has no place stands beside them.
    assert place((1, 2), (2, 1), (None, 3)) == [
        ("lab · 1", 1, 8, [1]),
        ("lab · 2", 1, 8, [2]),
        ("no position declared", 1, 8, [6]),
    ]
    assert [len(units) for *_, units in place(*[(None, 2)] * 43)] == [21, 21, 1]
    assert place((0, 0)) == [("lab", 1, 8, [1])]

"""The page that explains every rule: whole, safe, and the same as the document for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import jsonschema
import pytest

from provision.checks.report import write_reports
from provision.verdict import html, schema
from provision.verdict.model import Finding, NodeSummary, Status, Verdict
from provision.verdict.rules import ControlWords, Excuse, NodeRules, RuleBook, RuleState

EVIL = "<script>alert(1)</script>\x1b[31m"
BOOK = RuleBook(
    {"no-root": ControlWords("no-root", "Nobody is root", EVIL, "CIS 5.1.20", ("x = y",))},
    (
        NodeRules(
            "n1",
            "cis_l1_server",
            "Level 1",
            "A benchmark, 1.0",
            "ssg.xml 0.1",
            "2026-11-23T11:33:06+00:00",
            "2026-11-20T11:33:06+00:00",
            "checks/openscap/n1/report.html",
            (
                RuleState("a_pass", Status.PASS, "pass", "fail", "high", ("no-root",)),
                RuleState("b_fail", Status.FAIL, "fail", "pass", "low", (), (EVIL,)),
                RuleState("c_waived", Status.WAIVED, "fail", excuse=Excuse(
                    "Until May.", "gpu_host", "a@example.org", "2099-06-30", "Guards.")),
            ),
        ),
    ),
)  # fmt: skip
VERDICT = Verdict(
    "verify",
    "lab",
    "R1",
    (NodeSummary("n1"),),
    (Finding("n1", "a.b", "t", Status.PASS),),
    rules=BOOK,
)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(tmp_path):
    (tmp_path / "checks/openscap/n1").mkdir(parents=True)
    (tmp_path / "checks/openscap/n1/report.html").write_text("x")
    write_reports(VERDICT, tmp_path)
    return Page((tmp_path / "rules/n1.html").read_text(encoding="utf-8"))


def test_it_says_all_there_is_to_say(page):
    text = " ".join(page.text.split())
    for words in (
        "Nobody is root", "CIS 5.1.20", "x = y", "fail before, pass now", "pass before, fail now",
        "Until May. Instead: Guards.", "gpu_host, answered for by a@example.org until 2099-06-30",
        "scanned 2026-11-23 11:33:06 UTC", "No control answers it.", "ssg.xml 0.1",
    ):  # fmt: skip
        assert words in text
    order = [attrs["id"] for tag, attrs in page.tags if tag == "article"]
    assert order == ["b_fail", "c_waived", "a_pass"], "what needs attention comes first"


def test_it_needs_nothing_but_a_browser_and_runs_nothing(page):
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "link", "iframe")]
    (policy,) = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in policy
    assert "\x1b" not in page.text


def test_links_lead_to_openscaps_report_and_back(page, tmp_path):
    links = {a["href"] for t, a in page.tags if t == "a"}
    assert {"../report.html", "../checks/openscap/n1/report.html"} <= links
    assert 'href="rules/n1.html"' in (tmp_path / "report.html").read_text()


def test_a_report_elsewhere_has_no_dead_link(tmp_path):
    write_reports(VERDICT, tmp_path)
    found = Page((tmp_path / "rules/n1.html").read_text(encoding="utf-8"))
    assert not [a for t, a in found.tags if t == "a" and "openscap" in (a["href"] or "")]


def test_programs_get_the_same(tmp_path):
    text = schema.to_text(VERDICT)
    jsonschema.validate(json.loads(text), schema.json_schema())
    assert schema.from_json(text).rules == BOOK
    body = json.loads(text)["rules"]
    assert body["nodes"][0]["counts"]["fail"] == 1


def test_without_a_profile_there_is_no_page(tmp_path):
    write_reports(replace(VERDICT, rules=RuleBook()), tmp_path)
    assert not (tmp_path / "rules").exists()
    assert "explained" not in (tmp_path / "report.html").read_text()


def test_a_node_cannot_name_a_file_elsewhere():
    assert html.rules_file("../../x/y") == "rules/..-..-x-y.html"

"""The verdict as one HTML file that needs nothing but a browser.

No script, style, font or image comes from anywhere else, and a content security policy in the
file forbids it, so that evidence from a node cannot make the reader's browser fetch or run
anything.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from provision.verdict.elevation import Column, columns
from provision.verdict.issues import Issue, all_findings, issues, issues_of
from provision.verdict.model import Finding, NodeSummary, Status, Verdict, count, worst
from provision.verdict.rules import NodeRules, by_status
from provision.verdict.text import clean, one_line, shorten
from provision.verdict.words import (
    LOOKS,
    answers,
    duration,
    headline,
    is_image,
    moment,
    plural,
    subject,
)

_TEMPLATES = Path(__file__).parent / "templates"
_PRINTED = 12
"""Up to this many nodes all node pages are printed; beyond it only those that need attention."""


@dataclass(frozen=True)
class Cell:
    """One group of checks on one node: `group` is the part of the check id before the dot."""

    group: str
    status: Status | None
    text: str
    title: str


@dataclass(frozen=True)
class NodePage:
    """Everything the page of a node shows."""

    name: str
    anchor: str
    status: Status
    node: NodeSummary
    counts: dict[str, int]
    issues: tuple[Issue, ...]
    groups: tuple[tuple[str, tuple[Finding, ...]], ...]
    cells: tuple[Cell, ...]
    printed: bool
    rules: str = ""


@dataclass(frozen=True)
class Unit:
    """One node as it is drawn in a rack; lengths are in the drawing's own units."""

    page: NodePage
    label: str
    note: str
    title: str
    y: int
    height: int


@dataclass(frozen=True)
class Drawing:
    """One rack column, ready to draw."""

    title: str
    label: str
    pitch: int
    height: int
    ticks: tuple[tuple[int, int], ...]
    units: tuple[Unit, ...]


def render(verdict: Verdict) -> str:
    """The report as the text of one HTML file."""
    pages = _pages(verdict)
    racks = columns(verdict.rack, (p.node for p in pages.values()))
    style, script = asset("report.css"), asset("report.js")
    template = environment_of().get_template("report.html.j2")
    return template.render(
        verdict=verdict,
        headline=headline(verdict),
        subject=subject(verdict),
        image=is_image(verdict),
        looks=LOOKS,
        counts=count(all_findings(verdict)),
        pages=pages,
        groups=_group_names(all_findings(verdict)),
        issues=issues(verdict),
        answers=answers(verdict),
        drawings=[_drawing(c, pages, dense=len(racks) > 2) for c in racks],
        wide=len(racks) > 2,
        started=moment(verdict.started),
        took=duration(verdict.ended - verdict.started),
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {digest_of(style)}; script-src {digest_of(script)}; "
        "base-uri 'none'; form-action 'none'",
        Status=Status,
    )


def rules_file(node: str) -> str:
    """What the page with the rules of a node is called, from the report's folder."""
    return f"rules/{re.sub(r'[^A-Za-z0-9._-]', '-', node)}.html"


def render_rules(verdict: Verdict, page: NodeRules, report: str = "") -> str:
    """The page that explains every rule of a profile on one node.

    Args:
        verdict: what the node was judged in.
        page: the rules.
        report: where OpenSCAP's own report is, from the page's folder; empty when it is not there.
    """
    style = asset("report.css")
    return (
        environment_of()
        .get_template("rules.html.j2")
        .render(
            verdict=verdict,
            subject=subject(verdict),
            page=page,
            controls=verdict.rules.controls,
            groups=by_status(page.rules),
            words=RULE_WORDS,
            looks=LOOKS,
            home="../report.html",
            report=report,
            style=style,
            policy=f"default-src 'none'; style-src {digest_of(style)}; base-uri 'none'; "
            "form-action 'none'",
        )
    )


RULE_WORDS = {
    Status.FAIL: "not as accepted",
    Status.UNKNOWN: "of which nothing is proven",
    Status.WAIVED: "with a recorded reason",
    Status.PASS: "passing",
    Status.NOT_APPLICABLE: "not applying here",
}


def environment_of(*folders: Path) -> Environment:
    """Templates that escape, with the filters of ours; those in `folders` before the report's."""
    environment = Environment(
        loader=FileSystemLoader([*folders, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        clean=clean, one_line=one_line, plural=plural, spoken=_spoken, duration=duration,
        long=_is_long, split=_head_and_rest, spoken_time=_spoken_time,
    )  # fmt: skip
    # Only what was cleaned may reach the page, whatever a template forgets.
    environment.finalize = lambda value: clean(value) if type(value) is str else value
    return environment


def asset(name: str) -> str:
    """The text of a file beside the templates."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def digest_of(text: str) -> str:
    """What a content security policy calls `text`."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _spoken(identifier: str) -> str:
    """``container_runtime`` as words."""
    return one_line(identifier.replace("_", " "))


def _spoken_time(stamp: str) -> str:
    """``2026-11-23T11:33:06+00:00`` as a person writes it."""
    return one_line(stamp).replace("T", " ").replace("+00:00", " UTC")


def _is_long(text: str) -> bool:
    """Whether evidence needs a block of its own rather than a place in a line."""
    return "\n" in text.strip() or len(text) > 160


def _head_and_rest(items: Iterable[Any], head: int) -> tuple[list[Any], list[Any]]:
    """The first `head` items and the rest; a rest of one is not worth folding."""
    every = list(items)
    return (every, []) if len(every) <= head + 1 else (every[:head], every[head:])


def _group(check: str) -> str:
    return check.partition(".")[0]


def _group_names(findings: Iterable[Finding]) -> list[str]:
    return list(dict.fromkeys(_group(f.check) for f in findings))


def _pages(verdict: Verdict) -> dict[str, NodePage]:
    summaries = {n.name: n for n in verdict.nodes}
    found: dict[str, list[Finding]] = {n.name: [] for n in verdict.nodes}
    for finding in all_findings(verdict):
        found.setdefault(finding.node, []).append(finding)
    names = _group_names(all_findings(verdict))
    taken: set[str] = set()
    pages: dict[str, NodePage] = {}
    for name, own in found.items():
        groups = {g: tuple(f for f in own if _group(f.check) == g) for g in names}
        status = worst(own)
        pages[name] = NodePage(
            name=name,
            anchor=anchor_of(name, taken),
            status=status,
            node=summaries.get(name) or NodeSummary(name, kind=""),
            counts=count(own),
            issues=issues_of(own),
            groups=tuple((g, fs) for g, fs in groups.items() if fs),
            cells=tuple(_cell(g, fs) for g, fs in groups.items()),
            printed=len(found) <= _PRINTED or status is not Status.PASS,
            rules=rules_file(name) if verdict.rules.of(name) else "",
        )
    return pages


def anchor_of(name: str, taken: set[str]) -> str:
    """A place in a page for `name` that is not in `taken`, which then has it."""
    base = "node-" + re.sub(r"[^A-Za-z0-9_-]", "-", name)
    anchor, number = base, 1
    while anchor in taken:
        number += 1
        anchor = f"{base}-{number}"
    taken.add(anchor)
    return anchor


def _cell(group: str, findings: tuple[Finding, ...]) -> Cell:
    spoken = _spoken(group)
    if not findings:
        return Cell(group, None, "", f"{spoken}: no checks")
    totals = count(findings)
    applies = len(findings) - totals[Status.NOT_APPLICABLE]
    if not applies:
        return Cell(group, Status.NOT_APPLICABLE, "", f"{spoken}: not applicable")
    status = worst(findings)
    text = str(applies) if status is Status.PASS else f"{totals[status]}/{applies}"
    parts = ", ".join(f"{totals[s]} {look.word}" for s, look in LOOKS.items() if totals[s])
    return Cell(group, status, text, f"{spoken}: {parts}")


def _drawing(column: Column, pages: dict[str, NodePage], *, dense: bool) -> Drawing:
    pitch = 15 if dense else 22
    units = []
    for slot in column.slots:
        page = pages[slot.node.name]
        word = LOOKS[page.status].word
        place = f"U{slot.node.position}, " if slot.node.position is not None else ""
        units.append(
            Unit(
                page=page,
                label=shorten(one_line(page.name), 15 if dense else 19),
                note=_note(page) if slot.height > 1 else "",
                title=one_line(f"{page.name}: {word} ({place}{_note(page)})"),
                y=(column.last - slot.unit - slot.height + 1) * pitch,
                height=slot.height * pitch,
            )
        )
    step = 1 if not dense else 3
    ticks = tuple(
        ((column.last - unit) * pitch, unit)
        for unit in range(column.first, column.last + 1)
        if column.declared and (unit % step == 0 or unit == column.first)
    )
    titles = [f"{u.page.name} {LOOKS[u.page.status].word}" for u in units]
    label = one_line(f"Rack {column.title}: " + ", ".join(titles))
    return Drawing(column.title, label, pitch, column.units * pitch, ticks, tuple(units))


def _note(page: NodePage) -> str:
    parts = [
        f"{page.counts[s.value]} {look.word}"
        for s, look in LOOKS.items()
        if page.counts[s.value] and s is not Status.NOT_APPLICABLE
    ]
    return ", ".join(parts) or "nothing judged"

"""A report as text for a terminal. Pure: text in, text out; the caller prints it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from provision.fleet.kept import Spell
from provision.fleet.repeats import Repeat
from provision.fleet.report import Change, FleetReport, NodeReport
from provision.verdict.issues import Issue, issues_of
from provision.verdict.model import Status
from provision.verdict.terminal import Page
from provision.verdict.text import clean, columns, one_line, pad, wrap
from provision.verdict.words import LOOKS, moment, plural

MANY = 40
"""From this many nodes on, nodes that pass are counted, not listed."""
_MOST = 60
"""The most changes, repeat offenders and issues that are shown of each kind."""
_BARS = "▂▃▄▅▆▇█"
_TREND = 12
_SIGNS = {"worse": ("+", "31"), "better": ("-", "32"), "other": ("*", "36")}
_SEVERAL = 3
_NAMES = 24
_FORMS = 8


def render(
    report: FleetReport, *, width: int = 80, colour: bool = False, unicode: bool = True
) -> str:
    """The report as text that ends in a newline.

    First the sentence, then a row per node, what changed, what fails again and again, and all that
    needs attention with what to do. What is the same on several nodes is said once.

    Args:
        report: what to show.
        width: columns to fill at most; below 40 it is taken as 40.
        colour: whether to add ANSI colours. Glyph and word say the same without them.
        unicode: False where the terminal cannot show glyphs beyond ASCII.
    """
    page = _Fleet(max(width, 40), colour, unicode)
    found = issues_of(f for n in report.nodes for f in n.findings)
    blocks = [
        list(page.title(report)),
        list(page.rows(report)),
        list(page.changed(report)),
        list(page.repeated(report)),
        *(list(page.some(issue)) for issue in found[:_MOST]),
        [f"and {plural(len(found) - _MOST, 'more issue')}, in --json and --html"]
        if len(found) > _MOST
        else [],
        list(page.end(report)),
    ]
    text = "\n\n".join("\n".join(block) for block in blocks if block) + "\n"
    return text if unicode else text.encode("ascii", "backslashreplace").decode()


def headline(report: FleetReport) -> str:
    """The report in one sentence."""
    counts, total = report.counts(), plural(len(report.nodes), "node")
    failing, unproven = counts["fail"], counts["unknown"]
    if not report.nodes:
        return f"Rack {report.rack} has no node that is audited."
    if failing:
        rest = f", {unproven} more are not proven" if unproven else ""
        return f"Rack {report.rack}: the audit fails on {failing} of {total}{rest}."
    if unproven:
        return f"Rack {report.rack}: {unproven} of {total} are not proven to be well."
    return f"Rack {report.rack}: the audit passes on {total}."


def ago(seconds: float) -> str:
    """A length of time in its largest whole unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def state(node: NodeReport) -> str:
    """How old a node's result is, or why there is none, in a word or two."""
    outcome = node.visit.outcome.replace("_", " ")
    if node.visit.outcome == "fresh":
        return ("sent along, " if node.visit.shipped else "") + ago(node.visit.age)
    return f"{outcome}, {ago(node.visit.age)}" if node.visit.result else outcome


def spark(trend: Sequence[int | None], *, unicode: bool = True) -> str:
    """A trend as characters: a low line where all was well, a dot where nothing was known."""
    most = max((n for n in trend if n), default=1)
    bars = _BARS if unicode else "123456789"
    low, dot = ("▁", "·") if unicode else ("_", "?")

    def one(bad: int | None) -> str:
        if bad is None:
            return dot
        return bars[min(bad * len(bars) // most, len(bars)) - 1] if bad else low

    return "".join(one(bad) for bad in trend)


class _Fleet(Page):
    def title(self, report: FleetReport) -> Iterator[str]:
        look = LOOKS[report.verdict.status]
        glyph = look.glyph if self.unicode else look.ascii
        for line in wrap(one_line(headline(report)), self.width - 2):
            yield self.paint(f"{glyph} {line}", f"1;{look.ansi}")
            glyph = " "
        since = f"; compared with {moment(report.since)}" if report.since else ""
        for line in wrap(f"{report.source}, {moment(report.at)}{since}", self.width - 2):
            yield f"  {line}"

    def rows(self, report: FleetReport) -> Iterator[str]:
        shown = [
            n for n in report.nodes if len(report.nodes) <= MANY or n.status is not Status.PASS
        ]
        quiet = len(report.nodes) - len(shown)
        # On a narrow terminal the trend goes before the name does.
        trends = self.width >= 76
        room = max(self.width - (58 if trends else 45), 8)
        names = {n.name: self.cut(one_line(n.name), room) for n in shown}
        wide = max([4, *(columns(n) for n in names.values())])
        if shown:
            title = f"{pad('node', wide)}  {pad('verdict', 9)}  fail  unknown  pass  "
            title += (pad("trend", _TREND) + "  " if trends else "") + "result"
            yield self.paint(title, "2")
        for node in shown:
            cells = (
                (str(node.counts[s] or "."), w)
                for s, w in (("fail", 4), ("unknown", 7), ("pass", 4))
            )
            line = f"{pad(names[node.name], wide)}  {self.sign(node.status, 9)}  "
            line += "".join(pad(text, w, right=True) + "  " for text, w in cells)
            if trends:
                line += pad(spark(node.trend[-_TREND:], unicode=self.unicode), _TREND) + "  "
            yield line + state(node)
        if quiet:
            yield f"{self.sign(Status.PASS)} on {plural(quiet, 'more node')}"

    def changed(self, report: FleetReport) -> Iterator[str]:
        if report.since is None:
            return
        if not report.changes:
            yield self.paint(f"nothing changed since {moment(report.since)}", "2")
            return
        yield self.paint(f"changed since {moment(report.since)}", "2")
        found = grouped(report.changes)
        for change, nodes in found[:_MOST]:
            mark, ansi = _SIGNS[change.kind]
            place = one_line(f"{change.check} {change.thing}".strip())
            text = f"{where(nodes)}: {place + ' ' if place else ''}{change.what}"
            first, *rest = wrap(one_line(text), self.width - 4)
            yield f"  {self.paint(mark, ansi)} {first}"
            yield from (f"    {line}" for line in rest)
        if len(found) > _MOST:
            yield f"  and {plural(len(found) - _MOST, 'more change')}, in --json and --html"

    def repeated(self, report: FleetReport) -> Iterator[str]:
        if not report.repeats:
            return
        yield self.paint("again and again", "2")
        for repeat in report.repeats[:_MOST]:
            for number, line in enumerate(wrap(one_line(told(repeat, report.at)), self.width - 4)):
                yield ("  ! " if number == 0 else "    ") + line
        if len(report.repeats) > _MOST:
            yield f"  and {plural(len(report.repeats) - _MOST, 'more')}, in --json and --html"

    def some(self, issue: Issue) -> Iterator[str]:
        """An issue; of what was seen in many forms only some."""
        few = tuple(replace(s, nodes=_few(s.nodes)) for s in issue.sightings[:_FORMS])
        yield from self.issue(replace(issue, sightings=few))
        more = len(issue.sightings) - _FORMS
        if more > 0:
            yield f"  and {plural(more, 'more thing')} seen, in --json and --html"

    def end(self, report: FleetReport) -> Iterator[str]:
        counts = report.counts()
        parts = [
            f"{counts[s.value]} {look.word}" for s, look in LOOKS.items() if counts.get(s.value)
        ]
        dot = " · " if self.unicode else ", "
        off = [f"{len(report.off)} not audited"] if report.off else []
        yield from wrap(dot.join([*parts, *off]) or "nothing was asked", self.width)
        if report.nodes:
            yield from wrap(report.under_load, self.width)


def told(repeat: Repeat, at: float) -> str:
    """A repeat offender in a sentence."""
    thing = ""
    if repeat.board:
        thing = f" on the GPU with serial {repeat.board} ({repeat.entity})"
    elif repeat.entity:
        thing = f" on {repeat.entity}"
    last = ago(at - repeat.spells[0].began)
    return (
        f"{repeat.node}: {called(repeat)} began to fail {repeat.times} times within"
        f" {plural(repeat.rule.days, 'day')}{thing}, the last time {last} ago"
    )


def called(repeat: Repeat) -> str:
    """The check of a repeat offender, and how many went along with it."""
    if not repeat.also:
        return repeat.check
    return f"{repeat.check} and {plural(len(repeat.also), 'more check')}"


def grouped(changes: Sequence[Change]) -> list[tuple[Change, list[str]]]:
    """Changes that differ only in the node said once; the worse ones first."""
    found: dict[tuple[str, ...], list[Change]] = defaultdict(list)
    for change in changes:
        key = (change.kind, change.check, change.what, change.thing)
        found[key].append(change)
    order = list(_SIGNS)
    groups = sorted(found.values(), key=lambda g: (order.index(g[0].kind), -len(g)))
    return [(group[0], [c.node for c in group]) for group in groups]


def _few(nodes: tuple[str, ...]) -> tuple[str, ...]:
    more = len(nodes) - _NAMES
    return (*nodes[:_NAMES], f"{more} more") if more > 0 else nodes


def where(nodes: Sequence[str]) -> str:
    """Nodes in a sentence; of many only some."""
    shown = ", ".join(nodes[:_SEVERAL])
    more = len(nodes) - _SEVERAL
    return f"{shown} and {more} more" if more > 0 else shown


def history(spells: Sequence[Spell], *, width: int = 80, unicode: bool = True) -> str:
    """Spells as text, the newest first."""
    lines = []
    for spell in spells:
        end = f"until {moment(spell.ended)}" if spell.ended else "until now"
        thing = f" {spell.entity}" + (f" (serial {spell.board})" if spell.board else "")
        word = "failed" if spell.status == "fail" else "unknown"
        lines.append(
            f"{moment(spell.began)}  {one_line(spell.node)}  {one_line(spell.check + thing)}"
            f" {word} {end}"
        )
        lines += [f"    {line}" for line in wrap(clean(one_line(spell.seen)), width - 4)]
    text = "".join(line.rstrip() + "\n" for line in lines)
    return text if unicode else text.encode("ascii", "backslashreplace").decode()

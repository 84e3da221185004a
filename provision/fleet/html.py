"""A report as one HTML file that needs nothing but a browser, with the looks of a verdict's page.

No script is in it, and a content security policy forbids any: evidence comes from nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provision import __version__
from provision.fleet.repeats import Repeat
from provision.fleet.report import FleetReport, NodeReport
from provision.fleet.terminal import ago, called, grouped, headline, state
from provision.verdict.html import anchor_of, asset, digest_of, environment_of
from provision.verdict.issues import Issue, issues_of
from provision.verdict.model import Status
from provision.verdict.words import LOOKS, moment

_TEMPLATES = Path(__file__).parent / "templates"
_BAR, _GAP, _HEIGHT = 4, 1, 18
DAY_S = 86400.0


@dataclass(frozen=True)
class Bar:
    """One pull in a trend: `kind` is ``well``, ``bad`` or ``none`` where nothing was known."""

    x: int
    y: int
    height: int
    kind: str
    title: str


@dataclass(frozen=True)
class Line:
    """A node as a row, and as a page where it is not well."""

    node: NodeReport
    anchor: str
    bars: tuple[Bar, ...]
    issues: tuple[Issue, ...]

    @property
    def paged(self) -> bool:
        """Whether it has a page."""
        return self.node.status is not Status.PASS


@dataclass(frozen=True)
class Offender:
    """A repeat offender: each spell as (x, width) of 1000 along its rule's days."""

    repeat: Repeat
    strip: tuple[tuple[int, int], ...]


def render(report: FleetReport) -> str:
    """The report as the text of one HTML file."""
    taken: set[str] = set()
    lines = [
        Line(
            node,
            anchor_of(node.name, taken),
            bars(node.trend, report.times),
            issues_of(node.findings),
        )
        for node in report.nodes
    ]
    style = asset("report.css") + (_TEMPLATES / "fleet.css").read_text(encoding="utf-8")
    whole = report.fleet_trend()
    template = environment_of(_TEMPLATES).get_template("fleet.html.j2")
    return template.render(
        report=report,
        verdict=report.verdict,
        headline=headline(report),
        looks=LOOKS,
        counts=report.counts(),
        lines=sorted(lines, key=lambda line: list(LOOKS).index(line.node.status)),
        pages={line.node.name: line for line in lines if line.paged},
        issues=issues_of(report.verdict.findings),
        changes=grouped(report.changes),
        offenders=[_offender(r, report.at) for r in report.repeats],
        whole=bars([bad for bad, _ in whole], report.times, of=[asked for _, asked in whole]),
        at=moment(report.at),
        since=moment(report.since) if report.since else "",
        tool=f"holdfast {__version__}",
        state=state,
        ago=ago,
        called=called,
        moment=moment,
        height=_HEIGHT,
        style=style,
        policy=f"default-src 'none'; style-src {digest_of(style)}; base-uri 'none'; "
        "form-action 'none'",
        Status=Status,
    )


def bars(
    trend: Sequence[int | None], times: Sequence[float], of: Sequence[int] | None = None
) -> tuple[Bar, ...]:
    """A trend as bars; a pull in which all was well is a low one.

    Args:
        trend: how many were not well, None where nothing was known.
        times: when each pull was.
        of: how many were asked, where nodes are counted and not checks.
    """
    most = max([n for n in trend if n], default=1)
    found = []
    for index, bad in enumerate(trend):
        height = 3 + (_HEIGHT - 3) * (bad or 0) // most if bad else 3
        kind = "none" if bad is None else "bad" if bad else "well"
        what = "nothing is known" if bad is None else f"{bad} not well"
        if of is not None:
            what += f" of {of[index]} nodes"
        title = f"{moment(times[index])}: {what}"
        found.append(Bar(index * (_BAR + _GAP), _HEIGHT - height, height, kind, title))
    return tuple(found)


def _offender(repeat: Repeat, at: float) -> Offender:
    span = repeat.rule.days * DAY_S
    begin = at - span
    strip = []
    for spell in reversed(repeat.spells):
        left = max(spell.began - begin, 0) / span
        right = min((spell.ended or at) - begin, span) / span
        strip.append((round(left * 1000), max(round((right - left) * 1000), 6)))
    return Offender(repeat, tuple(strip))

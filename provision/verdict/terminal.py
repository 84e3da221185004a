"""The verdict as a terminal table. Pure: text in, text out; the caller prints it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision.verdict.issues import Issue, issues
from provision.verdict.model import Status, Verdict, count, worst
from provision.verdict.text import clean, columns, one_line, pad, shorten, wrap
from provision.verdict.words import LOOKS, answers, duration, headline, is_image, plural

_LABEL = 11
"""Width of the column that says what a line of an issue is."""
_ANSWERS = 12
"""Up to this many answers of the model are shown, of more only some; the page has all of them."""
_SOME = 3
_NAME = 24
"""Columns that a node's name may have beside its answer."""
_MANY = 40
"""From this many nodes on, nodes that pass are counted, not listed."""


def colour_wanted(environ: Mapping[str, str], *, tty: bool) -> bool:
    """Whether to colour: never with NO_COLOR, always with FORCE_COLOR, else on a real terminal."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return tty and environ.get("TERM") != "dumb"


def render(verdict: Verdict, *, width: int = 80, colour: bool = False, unicode: bool = True) -> str:
    """The verdict as text that ends in a newline.

    First the sentence, then a row per node, what the model answered, then every failing, unknown
    and waived finding with what was expected, what was seen and what to do. Findings that differ
    only in the node are said once.

    Args:
        verdict: what to show.
        width: columns to fill at most; below 40 it is taken as 40.
        colour: whether to add ANSI colours. Glyph and word say the same without them.
        unicode: False where the terminal cannot show glyphs beyond ASCII.
    """
    page = Page(max(width, 40), colour, unicode)
    blocks = [list(page.head(verdict)), list(page.nodes(verdict)), list(page.answers(verdict))]
    blocks += [list(page.issue(issue)) for issue in issues(verdict)]
    blocks.append(list(page.foot(verdict)))
    text = "\n\n".join("\n".join(block) for block in blocks if block) + "\n"
    return text if unicode else text.encode("ascii", "backslashreplace").decode()


class Page:
    """Text of one width, colour and set of characters; each part of a report is a method."""

    def __init__(self, width: int, colour: bool, unicode: bool) -> None:
        self.width = width
        self.colour = colour
        self.unicode = unicode

    def paint(self, text: str, ansi: str) -> str:
        """`text` in an ANSI style, where there is colour."""
        return f"\x1b[{ansi}m{text}\x1b[0m" if self.colour and text else text

    def sign(self, status: Status, width: int = 0) -> str:
        """A status as glyph and word, filled to `width` columns."""
        look = LOOKS[status]
        glyph = look.glyph if self.unicode else look.ascii
        return self.paint(pad(f"{glyph} {look.word}", width), look.ansi)

    def cut(self, text: str, width: int) -> str:
        """`text` cut to `width` columns."""
        return shorten(text, width, "…" if self.unicode else "...")

    def head(self, verdict: Verdict) -> Iterator[str]:
        """The sentence."""
        look = LOOKS[verdict.status]
        glyph = look.glyph if self.unicode else look.ascii
        first, *rest = wrap(one_line(headline(verdict)), self.width - 2)
        yield self.paint(f"{glyph} {first}", f"1;{look.ansi}")
        for line in rest:
            yield self.paint(f"  {line}", f"1;{look.ansi}")
        if verdict.rehearsal:
            for line in wrap("A rehearsal: the nodes are simulated.", self.width - 2):
                yield f"  {line}"

    def nodes(self, verdict: Verdict) -> Iterator[str]:
        """A row for each node."""
        found = verdict.by_node()
        if not found:
            return
        counts = {name: count(own) for name, own in found.items()}
        shown = [s for s in LOOKS if any(c[s.value] for c in counts.values())]
        # On a narrow terminal the counts go before the name does.
        while len(shown) > 1 and sum(len(LOOKS[s].word) + 2 for s in shown) + 24 > self.width:
            shown.pop()
        heads = [LOOKS[s].word for s in shown]
        room = self.width - 12 - sum(len(h) + 2 for h in heads)
        names = {name: self.cut(one_line(name), max(room, 8)) for name in found}
        what = "image" if is_image(verdict) else "node"
        wide = max(len(what), *(columns(n) for n in names.values()))
        title = pad(what, wide) + "  " + pad("verdict", 9) + "".join(f"  {h}" for h in heads)
        yield self.paint(title.rstrip(), "2")
        quiet = 0
        for name, own in found.items():
            status = worst(own)
            if len(found) > _MANY and status is Status.PASS:
                quiet += 1
                continue
            cells = (
                "  " + pad(str(counts[name][s.value] or "."), len(h), right=True)
                for s, h in zip(shown, heads, strict=True)
            )
            yield pad(names[name], wide) + "  " + self.sign(status, 9) + "".join(cells)
        if quiet:
            yield self.sign(Status.PASS, 9) + f"  on {plural(quiet, 'more node')}"

    def answers(self, verdict: Verdict) -> Iterator[str]:
        """What the model answered."""
        found = answers(verdict)
        if found:
            yield self.paint("what the model answered", "2")
        wide = max((columns(self.cut(one_line(f.node), _NAME)) for f in found), default=0)
        shown = found if len(found) <= _ANSWERS else found[:_SOME]
        for finding in shown:
            name = pad(self.cut(one_line(finding.node), _NAME), wide)
            for line in wrap(clean(finding.seen.strip()), self.width - wide - 2):
                yield f"{name}  {line}".rstrip()
                name = " " * wide
        if len(found) > len(shown):
            yield f"and {plural(len(found) - len(shown), 'more answer')}, in the report"

    def issue(self, issue: Issue) -> Iterator[str]:
        """One thing that needs attention."""
        found = issue.finding
        ansi = LOOKS[found.status].ansi
        facts = one_line(f"{', '.join(issue.checks)} ({found.severity.value})")
        sign = self.sign(found.status)
        lines = wrap(one_line(issue.title), self.width - len(LOOKS[found.status].word) - 4)
        yield f"{sign}  {self.paint(lines[0], '1')}"
        for line in lines[1:]:
            yield " " * (len(LOOKS[found.status].word) + 4) + self.paint(line, "1")
        label = "check" if len(issue.checks) == 1 else "checks"
        yield from self.field(label, facts)
        yield from self.field("expected", issue.expected)
        for sighting in issue.sightings:
            yield from self.field("on", ", ".join(one_line(n) for n in sighting.nodes))
            yield from self.field("seen", sighting.seen or "nothing", ansi)
        yield from self.field("reason", found.reason)
        yield from self.field("do", found.action)
        yield from self.field("clears it", found.clears)

    def field(self, label: str, text: str, ansi: str = "") -> Iterator[str]:
        """A labelled line of an issue."""
        if not text.strip():
            return
        for number, line in enumerate(wrap(clean(text), self.width - _LABEL - 2)):
            name = self.paint(pad(label if number == 0 else "", _LABEL), "2")
            yield f"  {name}{self.paint(line, ansi) if ansi else line}".rstrip()

    def foot(self, verdict: Verdict) -> Iterator[str]:
        """How many checks have each status."""
        counts = verdict.counts()
        parts = [f"{counts[s.value]} {look.word}" for s, look in LOOKS.items() if counts[s.value]]
        took = duration(verdict.ended - verdict.started)
        dot = " · " if self.unicode else ", "
        line = dot.join([*parts, *([took] if took else [])])
        yield from wrap(line, self.width) if line else ()

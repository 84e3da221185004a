"""How a verdict is said: one word and one glyph per status, one sentence for the whole."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from provision.verdict.model import Finding, Status, Verdict, worst


@dataclass(frozen=True)
class Look:
    """How a status is shown. Word and glyph tell it; `ansi` (an SGR parameter) only helps."""

    word: str
    glyph: str
    ascii: str
    ansi: str


LOOKS: dict[Status, Look] = {
    Status.FAIL: Look("fail", "✗", "X", "31"),
    Status.UNKNOWN: Look("unknown", "?", "?", "33"),
    Status.WAIVED: Look("waived", "~", "~", "35"),
    Status.PASS: Look("pass", "✓", "+", "32"),
    Status.NOT_APPLICABLE: Look("not applicable", "-", "-", "2"),
}
"""Worst first; renderers list statuses in this order."""


def plural(number: int, one: str, many: str | None = None) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def subject(verdict: Verdict) -> str:
    """What was judged, as a sentence begins with it."""
    return f"{'Image' if is_image(verdict) else 'Rack'} {verdict.rack}"


def is_image(verdict: Verdict) -> bool:
    """Whether the verdict is on an image and not on a rack."""
    return verdict.kind.partition("-")[0] == "image"


def headline(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    what = subject(verdict)
    counts = verdict.counts()
    if is_image(verdict) and verdict.status.gates and verdict.findings:
        rest = f", {counts['unknown']} could not be judged" if counts["unknown"] else ""
        return f"{what} is refused: {plural(counts['fail'], 'check')} failed{rest}."
    statuses = [worst(own) for own in verdict.by_node().values()]
    total = plural(len(statuses), "node")
    failing, unproven = statuses.count(Status.FAIL), statuses.count(Status.UNKNOWN)
    if not verdict.findings:
        return f"{what} is not proven: nothing was judged."
    if verdict.status is Status.FAIL:
        rest = f", {unproven} more could not be judged" if unproven else ""
        return f"{what} fails on {failing} of {total}{rest}."
    if verdict.status is Status.UNKNOWN:
        return f"{what} is not proven: {unproven} of {total} could not be judged."
    checks = plural(counts["pass"], "check")
    proven = checks if is_image(verdict) else f"{total}, {checks}"
    if verdict.status is Status.WAIVED:
        waived = plural(counts["waived"], "finding")
        return f"{what} passes with {waived} waived: {proven}."
    return f"{what} passes: {proven}."


def answers(verdict: Verdict) -> list[Finding]:
    """Passing prompts with what the model said; a person wants to read that, not only count it."""
    return [
        f
        for f in verdict.findings
        if f.status is Status.PASS and f.check.startswith("inference.") and "\n" in f.seen.strip()
    ]


def moment(seconds: float) -> str:
    """Unix seconds as a date and time in UTC; empty when there is none."""
    if seconds <= 0:
        return ""
    at = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return at.strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float) -> str:
    """A length of time for people; empty when it is not known."""
    if seconds <= 0:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""A difference, and drift, as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.image.difference import SECTIONS, Change, Difference
from provision.image.drift import KINDS, Drift
from provision.image.looking import NodeDrift
from provision.verdict.model import Status
from provision.verdict.text import one_line, shorten, wrap
from provision.verdict.words import LOOKS, plural

HEAD = 12
"""So many lines of a section are shown; `--all` shows every one."""
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_STYLES = {"added": "32", "removed": "31", "changed": "33"}
_WIDE = 100


def styled(text: str, sgr: str, *, colour: bool) -> str:
    """`text` in a style of the terminal."""
    return f"\x1b[{sgr}m{text}\x1b[0m" if colour else text


def difference_text(found: Difference, *, width: int | None, colour: bool, every: bool) -> str:
    """A difference as text."""
    return "\n".join(_difference(found, width or _WIDE, colour, every)) + "\n"


def headline_of(found: Difference) -> str:
    """A difference in one sentence."""
    names = sorted({found.one.manifest.name, found.other.manifest.name})
    if not found.count:
        return f"{' and '.join(names)}: the two images are alike in all that was compared."
    some = sum(bool(changes) for changes in found.sections.values())
    return f"{' and '.join(names)}: {plural(found.count, 'difference')} of {plural(some, 'kind')}."


def _difference(found: Difference, width: int, colour: bool, every: bool) -> Iterator[str]:
    for word, one in (("a", found.one), ("b", found.other)):
        about = one.manifest
        yield f"{word}  {about.name}  release {about.release}  {about.arch}  {about.digest[:16]}"
    yield ""
    yield styled(headline_of(found), "1", colour=colour)
    for name, heading in SECTIONS.items():
        changes = found.sections.get(name, ())
        if changes:
            yield ""
            yield styled(f"{heading} ({len(changes)})", "1", colour=colour)
            yield from _changes(changes, width, colour, every)
    for name, why in found.unlooked.items():
        yield ""
        yield styled(f"{SECTIONS[name]}: not compared: {one_line(why)}", "33", colour=colour)


def _changes(changes: Sequence[Change], width: int, colour: bool, every: bool) -> Iterator[str]:
    shown = changes if every or len(changes) <= HEAD + 1 else changes[:HEAD]
    for change in shown:
        sign = styled(_SIGNS[change.word], _STYLES[change.word], colour=colour)
        yield f"  {sign} {shorten(one_line(change.what), width - 4)}"
        if change.word == "changed":
            yield f"      {shorten(one_line(change.before), width - 6)}"
            yield f"    → {shorten(one_line(change.after), width - 6)}"
        else:
            said = one_line(change.before or change.after)
            if said != one_line(change.what):
                yield f"      {shorten(said, width - 6)}"
    if len(shown) < len(changes):
        yield f"    and {len(changes) - len(shown)} more; --all shows them"


def drift_headline(rack: str, nodes: Sequence[NodeDrift]) -> str:
    """What became of a rack, in one sentence."""
    total = plural(len(nodes), "node")
    fails = sum(node.status is Status.FAIL for node in nodes)
    unknown = sum(node.status is Status.UNKNOWN for node in nodes)
    if fails:
        rest = f", {unknown} more could not be compared" if unknown else ""
        return f"Rack {rack}: {fails} of {total} drifted from {_their(fails)} image{rest}."
    if unknown:
        return f"Rack {rack} is not proven: {unknown} of {total} could not be compared whole."
    return f"Rack {rack}: all of {total} are as their image."


def _their(number: int) -> str:
    return "its" if number == 1 else "their"


def drift_text(
    rack: str, nodes: Sequence[NodeDrift], *, width: int | None, colour: bool, every: bool
) -> str:
    """The drift of a rack as text."""
    return "\n".join(_drift(rack, nodes, width or _WIDE, colour, every)) + "\n"


def _drift(
    rack: str, nodes: Sequence[NodeDrift], width: int, colour: bool, every: bool
) -> Iterator[str]:
    yield styled(drift_headline(rack, nodes), "1", colour=colour)
    for node in nodes:
        look = LOOKS[node.status]
        image = (
            f"  {node.image.manifest.name} {node.image.manifest.digest[:12]}" if node.image else ""
        )
        yield ""
        yield styled(f"{look.glyph} {node.node}", look.ansi, colour=colour) + image
        if node.found is None:
            yield from (f"    {line}" for line in wrap(one_line(node.why), width - 4))
            if node.hint:
                yield f"    {node.hint}"
            continue
        for kind, heading in KINDS.items():
            own = [one for one in node.found.drifts if one.kind == kind]
            if own:
                yield f"  {heading} ({len(own)})"
                yield from _drifts(own, width, every)
        for one in node.found.unseen:
            yield f"  ? {shorten(f'{one_line(one.what)}: {one_line(one.why)}', width - 4)}"
        if node.found.ignored:
            number = plural(len(node.found.ignored), "path")
            yield f"  {number} ignored, with a reason each (--json)"


def _drifts(own: Sequence[Drift], width: int, every: bool) -> Iterator[str]:
    shown = own if every or len(own) <= HEAD + 1 else own[:HEAD]
    for one in shown:
        yield f"    {shorten(one_line(one.what), width - 4)}"
        yield f"      {shorten(f'{one_line(one.expected)} → {one_line(one.seen)}', width - 6)}"
        # A command in one piece: whoever pastes a part of it runs another.
        yield f"      $ {one_line(one.restore)}"
    if len(shown) < len(own):
        yield f"    and {len(own) - len(shown)} more; --all shows them"

"""A difference, and drift, as one HTML file that needs nothing but a browser.

The looks are those of a verdict's page. No script is in them, and a content security policy forbids
any: what they show comes from nodes and from other people's images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from provision import __version__
from provision.image.difference import SECTIONS, Difference
from provision.image.drift import KINDS
from provision.image.looking import NodeDrift
from provision.image.shown import drift_headline, headline_of
from provision.verdict.html import anchor_of, asset, digest_of, environment_of
from provision.verdict.model import Status
from provision.verdict.words import LOOKS

_TEMPLATES = Path(__file__).parent / "templates"
MOST = 500
"""So many lines of a section are in a page; the JSON has every one."""


def difference_page(found: Difference) -> str:
    """A difference as the text of one HTML file."""
    return _render(
        "difference.html.j2", found=found, sections=SECTIONS, headline=headline_of(found), most=MOST
    )


def drift_page(rack: str, nodes: Sequence[NodeDrift]) -> str:
    """The drift of a rack as the text of one HTML file."""
    taken: set[str] = set()
    order = list(LOOKS)
    sorted_nodes = sorted(nodes, key=lambda node: order.index(node.status))
    worst = sorted_nodes[0].status if sorted_nodes else Status.UNKNOWN
    return _render(
        "drift.html.j2",
        rack=rack,
        status=worst,
        headline=drift_headline(rack, nodes),
        lines=[(node, anchor_of(node.node, taken), _groups(node)) for node in sorted_nodes],
        counts={s: sum(n.status is s for n in nodes) for s in LOOKS},
        most=MOST,
    )


def _groups(node: NodeDrift) -> list[tuple[str, list[Any]]]:
    if node.found is None:
        return []
    groups = (
        (heading, [one for one in node.found.drifts if one.kind == kind])
        for kind, heading in KINDS.items()
    )
    return [group for group in groups if group[1]]


def _render(name: str, **more: Any) -> str:
    style = asset("report.css") + (_TEMPLATES / "image.css").read_text(encoding="utf-8")
    return (
        environment_of(_TEMPLATES)
        .get_template(name)
        .render(
            looks=LOOKS,
            Status=Status,
            tool=f"holdfast {__version__}",
            style=style,
            policy=f"default-src 'none'; style-src {digest_of(style)}; base-uri 'none'; "
            "form-action 'none'",
            **more,
        )
    )

"""Name servers of where the image was built."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

PATH = "/etc/resolv.conf"


@check(
    "resolv-conf",
    title="The build machine's name servers are not in the image",
    why="A node that cannot reach them looks up no name; one that can asks a stranger.",
    fix=f"empty {PATH}, or make it a link to what the network service writes",
    severity=Severity.MEDIUM,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """A link leads out of the image until something runs, and says nothing."""
    entry = tree.entries.get(PATH)
    if entry is None or entry.kind != "file":
        return
    for line in (tree.text(PATH) or "").splitlines():
        if line.split("#")[0].split()[:1] in (["nameserver"], ["search"], ["domain"]):
            yield Found(PATH, f"says {line.strip()!r}")

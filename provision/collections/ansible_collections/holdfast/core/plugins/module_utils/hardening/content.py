# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""A file that is wholly ours."""

from __future__ import annotations

from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    MODE,
    NEEDED,
    PATH,
    STATE,
    TEXT,
    UNIT,
    Type,
    Want,
    shown,
    tell,
    with_mode,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import (
    FILE_MODE,
    Draft,
)

SCHEMA = {
    "path": PATH,
    "text": NEEDED,
    "state": STATE,
    "owner": TEXT,
    "group": TEXT,
    "mode": MODE,
    "reload": UNIT,
}


class Content(Type):
    """`path`, `text`, `owner`, `group` and `mode` (root, root and 0644 where left out)."""

    name = "content"
    schema = SCHEMA

    def read(self, want: Want) -> Draft:
        """What stands there; a link is not followed."""
        return self.node.draft(want["path"], data=True, follow=False)

    def rights(self, want: Want) -> tuple[int, int, int]:
        """Mode, owner and group as they are to be."""
        given = with_mode(want)
        mode = FILE_MODE if given["mode"] is None else given["mode"]
        owner, group = given["owner"] or "root", given["group"] or "root"
        return mode, self.node.number("passwd", owner), self.node.number("group", group)

    def diff(self, want: Want, seen: Draft) -> list[str]:
        """Text or rights."""
        if want.get("state") == "absent":
            return [] if seen.kind == "absent" else ["remove {0}".format(want["path"])]
        if seen.kind != "file" or seen.text != want["text"]:
            return ["write {0}".format(want["path"])]
        mode, uid, gid = self.rights(want)
        if (seen.mode, seen.uid, seen.gid) != (mode, uid, gid):
            return ["set {0} {1}:{2} on {3}".format(shown(mode), uid, gid, want["path"])]
        return []

    def write(self, want: Want, seen: Draft) -> None:
        """Stage it."""
        del seen
        tell(self.node, want)
        if want.get("state") == "absent":
            self.node.remove(want["path"])
            return
        mode, uid, gid = self.rights(want)
        self.node.write(want["path"], want["text"], mode=mode, owner=uid, group=gid, ours=True)

# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Owner, group and most permissive mode of what is there, and files that must not be there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    MODE,
    PATH,
    STATE,
    TEXT,
    Field,
    Type,
    Want,
    octal,
    shown,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import (
    Draft,
    Refused,
    sober,
)

_MAGIC = re.compile(r"[*?\[]")
KINDS = {"file": ("file",), "dir": ("directory",)}

SCHEMA = {
    "path": PATH,
    "kind": Field(str, choices=("file", "dir", "any")),
    "owner": TEXT,
    "group": TEXT,
    "mode": MODE,
    "state": STATE,
    "recurse": Field(bool),
}


class File(Type):
    """`path` (with ``*`` where several are meant), `owner`, `group`, `mode`, `state`, `recurse`.

    A mode is the most that is given: it only takes away. What is not there is not made. A path
    that is written out may be a link of the system's own; a pattern or `recurse` follows none.
    """

    name = "file"
    schema = SCHEMA

    def read(self, want: Want) -> list[Draft]:
        """Every place that is meant."""
        kinds = KINDS.get(want.get("kind", "any"), ("file", "directory"))
        if want.get("state") == "absent":
            paths = self.node.glob(want["path"])
            found = (self._removable(path) for path in paths)
            return [draft for draft in found if draft is not None]
        if not _MAGIC.search(want["path"]) and not want.get("recurse"):
            return self._right([self.node.draft(want["path"])], kinds)
        meant = (self.node.found(path) for path in self._meant(want))
        return self._right([draft for draft in meant if draft is not None], kinds)

    def _right(self, drafts: list[Draft], kinds: tuple[str, ...]) -> list[Draft]:
        """Those of a kind whose rights can be set."""
        return [draft for draft in drafts if draft.kind in kinds and self.node.safe(draft)]

    def _removable(self, path: str) -> Draft | None:
        """What is to go; in a folder of somebody's own only what an undo could bring back."""
        draft = self.node.draft(path, follow=False)
        if draft.seen.trusted or draft.kind == "absent":
            return draft
        if draft.kind not in ("file", "link"):
            self.node.leave(path, "no file but something else where others can write")
            return None
        try:
            return self.node.draft(path, data=True, follow=False)
        except Refused as error:
            self.node.leave(path, str(error).rpartition(": ")[2])
            return None

    def _meant(self, want: Want) -> Iterator[str]:
        for top in self.node.glob(want["path"]):
            yield top
            if want.get("recurse"):
                yield from self.node.walk(top)

    def rights(self, want: Want, draft: Draft) -> tuple[int, int, int]:
        """Mode, owner and group as they are to be."""
        mode, uid, gid = draft.mode, draft.uid, draft.gid
        if want.get("mode") is not None:
            mode &= octal(want["mode"])
        if want.get("owner") is not None:
            uid = self.node.number("passwd", want["owner"])
        if want.get("group") is not None:
            gid = self.node.number("group", want["group"])
        return sober(draft, mode, uid, gid), uid, gid

    def diff(self, want: Want, seen: list[Draft]) -> list[str]:
        """Each place in words."""
        return [words for draft in seen for words in self._differs(want, draft)]

    def _differs(self, want: Want, draft: Draft) -> list[str]:
        path = draft.seen.path
        if want.get("state") == "absent":
            return [] if draft.kind == "absent" else ["remove {0}".format(path)]
        mode, uid, gid = self.rights(want, draft)
        words = []
        if draft.mode != mode:
            words.append("mode {0}".format(shown(mode)))
        if draft.uid != uid:
            words.append("owner {0}".format(want["owner"]))
        if draft.gid != gid:
            words.append("group {0}".format(want["group"]))
        return ["set {0} on {1}".format(", ".join(words), path)] if words else []

    def write(self, want: Want, seen: list[Draft]) -> None:
        """Stage it."""
        for draft in seen:
            if not self._differs(want, draft):
                continue
            path = draft.seen.path
            if want.get("state") == "absent":
                if draft.kind == "directory":
                    raise Refused("{0} is a folder".format(path), "remove it by hand")
                self.node.remove(path)
                continue
            mode, uid, gid = self.rights(want, draft)
            self.node.rights(path, mode=mode, owner=uid, group=gid, follow=False)

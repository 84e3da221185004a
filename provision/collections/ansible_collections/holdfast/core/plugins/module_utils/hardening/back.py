# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""What a restore is going to put back: thought through first, then judged and armed like a pass.

A restore changes how one logs in as a pass does. So all that it comes to is staged on the node,
where the refusals of a pass judge it, and has a journal of its own, so that the undo that a pass
arms takes it back too.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import journal, rescue
from ansible_collections.holdfast.core.plugins.module_utils.hardening.guard import Guard
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import (
    Act,
    Node,
    Refused,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.reload import (
    ordered,
    reload_of,
)

PHASE = "restore"
"""The phase of a restore's own journal, which no later restore takes for a pass."""

_REMOVE = ["rm", "-f", "--"]


def since(entries: list[journal.Entry], run: str) -> list[journal.Entry]:
    """The passes of a run and of all later ones of which something stands, the latest first."""
    passes = [entry for entry in entries if entry.phase != PHASE]
    first = next((entry.number for entry in passes if entry.run == run), None)
    if first is None:
        return []
    return [e for e in reversed(passes) if e.number >= first and (not e.undone or e.left)]


def notes_of(body: dict[str, Any]) -> list[str]:
    """What of a pass cannot be undone, and what is as before only after the next start."""
    waiting = ["{0}: as before at the next start only".format(w) for w in body.get("waiting", [])]
    return [*body["notes"], *waiting]


class Restore:
    """A restore, and the way back from it.

    Args:
        node: the node, with nothing staged.
        guard: what arms the way back.
        force: whether what somebody changed since is put back, too.
        command: runs a command of a step.
    """

    def __init__(self, node: Node, guard: Guard, force: bool, command: Any = rescue.run) -> None:
        self.node = node
        self.guard = guard
        self.force = force
        self.command = command
        self.chosen: list[journal.Entry] = []
        self.told = rescue.Undone(check=True, force=force)
        self.notes: list[str] = []
        self.reloads: list[dict[str, Any]] = []
        self.entry: journal.Entry | None = None

    # Looking

    def look(self, run: str) -> None:
        """Think through what going back before a run comes to, and stage it."""
        self.chosen = since(journal.entries(self.guard.home), run)
        bodies = []
        for entry in self.chosen:
            self._undo(entry, self.told)
            with contextlib.suppress(OSError, ValueError):
                bodies.append(entry.body())
        for body in bodies:
            self.notes += [note for note in notes_of(body) if note not in self.notes]
        names = ordered([reload["name"] for body in bodies for reload in body["reloads"]])
        self.reloads = [{"name": name, **reload_of(name).record()} for name in names]
        for folder, place in self.told.places:
            self._stage(folder, place)
        self.node.acts += [again(act) for act in self.told.acts]
        # Commands write these on their way, whatever comes of them; a link has no bytes to stage.
        written = Act("what commands write", [], [])
        links = [place for _, place in self.told.places if place["before"]["kind"] == "link"]
        touched = [e for body in bodies for e in body.get("touched", ())]
        written.touches = tuple(e["path"] for e in links + touched)
        self.node.acts.append(written)

    def _undo(self, entry: journal.Entry, report: rescue.Undone) -> None:
        """Put one pass back; of one that is back already only what an earlier restore left."""
        only = entry.left if entry.undone else None
        tree = self.node.tree
        try:
            rescue.undo(entry.folder, tree, report, command=self.command, only=only)
        except (OSError, ValueError) as error:
            report.wrong.append("{0}: {1}".format(entry.folder, error))

    def _stage(self, folder: str, place: dict[str, Any]) -> None:
        """Stage one place as it was; what cannot be is told by the undo itself."""
        before, whole = place["before"], "backup" in place
        kind = before["kind"]
        try:
            read = whole or kind in ("absent", "link")
            draft = self.node.draft(place["path"], data=read, follow=False)
            data = rescue.backup(folder, place) if whole else draft.data
        except (Refused, rescue.Command, OSError):
            return
        if kind == "other" or (kind == "file" and not whole and draft.kind != "file"):
            return
        draft.kind, draft.data = kind, data
        if kind in ("file", "directory"):
            draft.mode, draft.uid, draft.gid = before["mode"], before["uid"], before["gid"]

    # Putting back

    def arm(self, by: str, seconds: int) -> None:
        """Lay the way back from all that is staged, and let the node go it by itself in time.

        Raises:
            OSError, rescue.Command: it cannot be laid; nothing was changed.
        """
        if not seconds or not self.told.done:
            return
        for entry in self.chosen:
            # A pass whose restore is taken back stands again.
            path = os.path.join(entry.folder, "undone.json")
            path = "/" + os.path.relpath(path, self.node.tree.root)
            draft = self.node.draft(path, data=True, follow=False)
            draft.kind, draft.data = "file", b""
        run = by or time.strftime("restore-%Y%m%dT%H%M%SZ", time.gmtime())
        entry = journal.begin(self.guard.home, run, PHASE, self.node, self.reloads)
        self.guard.arm(entry, seconds)
        self.entry = entry

    def carry_out(self, by: str) -> rescue.Undone:
        """Put all of it back; each pass counts as undone when nothing of it went wrong."""
        report = rescue.Undone(force=self.force)
        for entry in self.chosen:
            wrong, left = len(report.wrong), len(report.left)
            self._undo(entry, report)
            if len(report.wrong) == wrong:
                entry.mark("undone", by=by or PHASE, left=report.left[left:])
        if self.entry is not None:
            self.entry.mark("done")
        return report

    def unfit(self) -> str:
        """Why the SSH server would not start any more; empty where it would."""
        if not any(reload["name"] == "sshd" for reload in self.reloads):
            return ""
        code, said = self.node.command(["sshd", "-t"])
        return " ".join(said.split())[-300:] if code not in (0, 127) else ""


def again(act: dict[str, Any]) -> Act:
    """The act that takes an act of a journal back; its own way back does that one again.

    What takes longer than a login may wait (AIDE's database) is not made again but kept, by the
    paths that are removed.
    """
    do = act.get("do") or []
    slow = any("seconds" in step for step in do)
    found = Act(act["words"], act["undo"], [] if slow else do)
    field = act.get("field")
    if field and field["was"] is not None:
        found.field = {**field, "was": field["is"], "is": field["was"]}
    removals = [step["run"] for step in act["undo"] if step.get("run", [])[:3] == _REMOVE]
    found.touches = tuple(path for argv in removals for path in argv[3:])
    return found


def unfinished(wrong: list[str]) -> tuple[str, str]:
    """What is said of a restore that put only a part back, and what helps."""
    return (
        "not everything was put back: {0}".format("; ".join(wrong[:5])),
        "mend that and restore again; what is back already stays",
    )

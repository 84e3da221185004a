# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""The undo journal: what a pass is going to change and what was there, on disk before it acts."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import rescue
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Draft, Node
from ansible_collections.holdfast.core.plugins.module_utils.hardening.reload import reload_of

HOME = "/var/lib/holdfast/hardening"


class Entry:
    """A pass that is journalled, by its folder ``HOME/RUN/NUMBER-PHASE``."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.run = os.path.basename(os.path.dirname(folder))
        number, _, self.phase = os.path.basename(folder).partition("-")
        self.number = int(number) if number.isdigit() else 0

    def _marked(self, name: str) -> bool:
        return os.path.exists(os.path.join(self.folder, name))

    @property
    def done(self) -> bool:
        """Whether the pass came to its end."""
        return self._marked("done.json")

    @property
    def undone(self) -> bool:
        """Whether it was put back."""
        return self._marked("undone.json")

    @property
    def left(self) -> frozenset[str]:
        """What stayed as it was when the rest was put back, by path."""
        try:
            with open(os.path.join(self.folder, "undone.json"), encoding="utf-8") as stream:
                said = json.load(stream).get("left") or []
        except (OSError, ValueError, AttributeError):
            return frozenset()
        return frozenset(str(words).rpartition(": ")[0] for words in said)

    @property
    def begun(self) -> bool:
        """Whether it may have changed anything: its journal stands."""
        return self._marked("journal.json")

    def body(self) -> dict[str, Any]:
        """Its journal."""
        return rescue.read_journal(self.folder)

    def mark(self, name: str, **fields: Any) -> None:
        """Leave a mark beside the journal."""
        rescue.write_mark(self.folder, name + ".json", {"at": int(time.time()), **fields})


def entries(home: str) -> list[Entry]:
    """All passes of a node, oldest first."""
    found = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for run in os.listdir(home):
            folder = os.path.join(home, run)
            with contextlib.suppress(NotADirectoryError):
                found += [Entry(os.path.join(folder, name)) for name in os.listdir(folder)]
    return sorted((e for e in found if e.number and e.begun), key=lambda entry: entry.number)


def begin(home: str, run: str, phase: str, node: Node, reloads: list[dict[str, Any]]) -> Entry:
    """Put on disk what is going to change, with copies of what is there.

    Raises:
        OSError: it cannot be written; nothing was changed.
    """
    _private(home)
    _private(os.path.join(home, run))
    number = max([_number(name) for r in os.listdir(home) for name in _names(home, r)] or [0]) + 1
    folder = os.path.join(home, run, "{0:06d}-{1}".format(number, phase))
    os.mkdir(folder, 0o700)
    files: list[dict[str, Any]] = []
    for count, draft in enumerate(node.changed()):
        entry: dict[str, Any] = {"path": draft.seen.path, "before": draft.seen.record()}
        entry["after"] = after(draft)
        # A folder is only ever made or gets other rights; its content is not ours.
        if draft.seen.kind == "file" and (draft.rewritten or draft.kind != "file"):
            entry["backup"] = "file-{0:04d}".format(count)
            _keep(os.path.join(folder, entry["backup"]), draft.seen.data or b"")
        elif draft.seen.kind == "file":
            # The kernel takes capabilities from a file that changes hands.
            if draft.seen.trusted and (draft.uid, draft.gid) != (draft.seen.uid, draft.seen.gid):
                draft.seen.attributes = node.tree.attributes(draft.seen)
                entry["before"] = draft.seen.record()
            entry["before"].pop("sha256", None)
        files.append(entry)
    mine = {entry["path"] for entry in files}
    written = sorted({path for r in reloads for path in reload_of(r["name"]).writes} - mine)
    touched = sorted({path for act in node.acts for path in act.touches} - mine)
    body = {
        "schema": "holdfast.hardening/1",
        "run": run,
        "phase": phase,
        "at": int(time.time()),
        "files": files,
        "touched": [_touched(node, folder, n, path) for n, path in enumerate(touched)],
        "written": [_touched(node, folder, n, p) for n, p in enumerate(written, len(touched))],
        "acts": [
            {"words": a.words, "do": a.do, "undo": a.undo, "field": a.field} for a in node.acts
        ],
        "reloads": reloads,
        "notes": node.notes,
        "waiting": node.waiting,
    }
    rescue.write_mark(folder, "journal.json", body)
    return Entry(folder)


def note_edited(entry: Entry, node: Node) -> None:
    """Write down how the commands left what people edit too; an undo knows it again by that."""
    paths = sorted({path for act in node.acts for path in act.edited})
    found = {path: node.tree.look(path, data=True, follow=False).record() for path in paths}
    if found:
        entry.mark("edited", files=found)


def _touched(node: Node, folder: str, number: int, path: str) -> dict[str, Any]:
    """A file that a command or a reload writes on its way."""
    seen = node.tree.look(path, data=True, follow=False)
    entry: dict[str, Any] = {"path": path, "before": seen.record()}
    if seen.kind == "file":
        entry["backup"] = "touched-{0:04d}".format(number)
        _keep(os.path.join(folder, entry["backup"]), seen.data or b"")
    return entry


def after(draft: Draft) -> dict[str, Any]:
    """How a place is going to be."""
    seen = rescue.Seen(draft.seen.path, trusted=True)
    seen.kind, seen.mode, seen.uid, seen.gid = draft.kind, draft.mode, draft.uid, draft.gid
    seen.data = draft.data if draft.rewritten else None
    return seen.record()


def _names(home: str, run: str) -> list[str]:
    try:
        return os.listdir(os.path.join(home, run))
    except NotADirectoryError:
        return []


def _number(name: str) -> int:
    number = name.partition("-")[0]
    return int(number) if number.isdigit() else 0


def _private(folder: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.makedirs(os.path.dirname(folder), 0o755, exist_ok=True)
        os.mkdir(folder, 0o700)


def _keep(path: str, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(handle)

# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""One pass over all controls: look, say what differs, journal it, write it, reload once."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import journal, rescue
from ansible_collections.holdfast.core.plugins.module_utils.hardening.audit_rule import path_of
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    Type,
    Want,
    problems,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import (
    Draft,
    Node,
    NotHere,
    Refused,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.registry import (
    TYPES,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.reload import (
    NEEDS,
    asked_by,
    ordered,
    reload_of,
)


class Pass:
    """What a pass found; nothing is changed before `commit`."""

    def __init__(self, node: Node, phase: str) -> None:
        self.node = node
        self.phase = phase
        self.changes: list[str] = []
        self.controls: list[str] = []
        self.not_applicable: dict[str, str] = {}
        self.wrong: list[str] = []
        self.entry: journal.Entry | None = None

    # Looking

    def look(self, controls: list[dict[str, Any]]) -> None:
        """Read the node once, and stage what differs."""
        mine = [c for c in controls if c.get("phase", "hardening") == self.phase]
        self._check(controls)
        if self.wrong:
            return
        self.node.ask_packages([*_packages(mine), *self.node.pending])
        self.node.depends += self.node.missing()
        types = {resource["type"] for c in mine for resource in c.get("resources", [])}
        others = _others(controls, self.phase)
        self.node.shared["audit files"] = _audit_files(controls)
        for name, kind in TYPES.items():
            if name in types or self._left_over(kind, others):
                wants = [w for c in mine for w in self._wanted(c, name)]
                self._look_type(kind(self.node, others.get(name)), wants)
        for finish in self.node.ends:
            finish()
        kept = {c["id"]: c["undo"] for c in mine if c.get("undo") and c["id"] in self.controls}
        self.node.notes += ["{0}: {1}".format(name, why) for name, why in kept.items()]
        self._reloads()

    def _left_over(self, kind: type[Type], others: dict[str, list[Want]]) -> bool:
        """Whether a file of ours still holds what no control wants any more."""
        here = kind.phase == self.phase and kind.ours and kind.name not in others
        return bool(here) and self.node.exists(kind.ours)

    def _check(self, controls: list[dict[str, Any]]) -> None:
        """Everything that is wrong with the controls, before anything is looked at."""
        for control in controls:
            for resource in control.get("resources", []):
                kind = resource.get("type")
                found = ["unknown type {0}".format(kind)]
                if kind in TYPES:
                    found = problems(kind, TYPES[kind].schema, resource)
                self.wrong += ["{0}: {1}".format(control.get("id"), what) for what in found]

    def _wanted(self, control: dict[str, Any], name: str) -> list[Want]:
        """A control's resources of one type; what others have staged by now counts as there."""
        resources = [r for r in control.get("resources", []) if r["type"] == name]
        why = self._absent(control.get("when")) if resources else None
        if why is not None:
            self.not_applicable[control["id"]] = why
            return []
        return [Want(control["id"], r, bool(control.get("reboot"))) for r in resources]

    def _absent(self, when: dict[str, str | None] | None) -> str | None:
        """Why something is not applicable here; None when it is."""
        node = self.node
        looks: dict[str, Callable[[str], bool]] = {
            "package": node.installed,
            "unit": node.has_unit,
            "path": node.exists,
        }
        for word, value in (when or {}).items():
            if value is None:
                continue
            if word not in looks:
                raise Refused("when: unknown word {0}".format(word))
            if not looks[word](value):
                return "there is no {0} {1}".format(word, value)
        return None

    def _look_type(self, kind: Type, wants: list[Want]) -> None:
        try:
            kind.gather(wants)
        except Refused as error:
            self._refuse("", error)
            return
        for want in wants:
            try:
                words = self._differs(kind, want)
            except NotHere as error:
                self.not_applicable.setdefault(want.control, str(error))
                continue
            except Refused as error:
                self._refuse(want.control, error)
                continue
            for word in words:
                self._note(want.control, word)
            if want.reboot and words:
                self.node.wait("{0}: {1}".format(want.control, words[0]))
        try:
            for control, word in kind.finish(wants):
                self._note(control, word)
        except Refused as error:
            self._refuse("", error)

    def _differs(self, kind: Type, want: Want) -> list[str]:
        """Stage a resource where it differs; what differs, in words."""
        self.node.asked.clear()
        seen = kind.read(want)
        words = kind.diff(want, seen)
        if not words:
            return self._settled(kind, want)
        kind.write(want, seen)
        return words

    def _settled(self, kind: Type, want: Want) -> list[str]:
        """What a resource lacked that another of the same place has staged by now, in words.

        A control that is broken is named, whichever of several that ask for it mends it.
        """
        if not self.node.staged(goes=want.get("state") == "absent"):
            return []
        try:
            with self.node.as_found():
                words = kind.diff(want, kind.read(want))
        except Refused:
            # It could not even be looked at before the other had come: that one is told of.
            return []
        return ["{0} (another control does it)".format(word) for word in words]

    def _note(self, control: str, word: str) -> None:
        self.changes.append("{0}: {1}".format(control, word) if control else word)
        if control and control not in self.controls:
            self.controls.append(control)

    def _refuse(self, control: str, error: Refused) -> None:
        told = "{0}: {1}".format(control, error) if control else str(error)
        self.wrong.append("{0} ({1})".format(told, error.hint) if error.hint else told)

    def _reloads(self) -> None:
        """What the changed files ask for, and what a pass that was killed still owes."""
        for draft in self.node.changed():
            if draft.rewritten or draft.kind != draft.seen.kind:
                for name in asked_by(draft.seen.path):
                    self.node.reload(name)
        node = self.node
        if "audit" in node.reloads:
            hold_audit(node)
        node.reloads = [
            name
            for name in ordered(node.reloads)
            if name not in node.held and (name not in NEEDS or node.has_command(NEEDS[name]))
        ]

    def owed(self, home: str) -> list[journal.Entry]:
        """Passes that were killed on their way; what they did not reload is reloaded now."""
        found = [e for e in journal.entries(home) if not e.done and not e.undone]
        for entry in found:
            with contextlib.suppress(OSError, ValueError):
                for reload in entry.body()["reloads"]:
                    self.node.reload(reload["name"])
        self.node.reloads = ordered(self.node.reloads)
        return found

    def announce(self) -> list[str]:
        """All that is going to happen, in words."""
        return self.changes + [reload_of(name).words for name in self.node.reloads]

    def diffs(self) -> list[tuple[str, str, str]]:
        """Path, text before and text after; not of files that not everybody may read."""
        node = self.node
        return [
            (draft.seen.path, _shown(node, draft, True), _shown(node, draft, False))
            for draft in node.changed()
            if draft.rewritten or (draft.seen.data and draft.kind == "absent")
        ]

    # Writing

    def commit(
        self,
        home: str,
        run: str,
        label: Callable[[str], bytes | None],
        before: Callable[[journal.Entry], None] | None = None,
    ) -> list[str]:
        """Journal, write, act, reload; returns what went wrong.

        `before` is called when the journal stands and nothing has changed yet.

        Raises:
            OSError: the journal cannot be written; nothing was changed.
        """
        node = self.node
        reloads = [{"name": name, **reload_of(name).record()} for name in node.reloads]
        entry = self.entry = journal.begin(home, run, self.phase, node, reloads)
        if before is not None:
            before(entry)
        wrong = []
        for draft in node.changed():
            try:
                put(node, draft, label)
            except OSError as error:
                if not draft.seen.trusted and not draft.rewritten:
                    # Somebody moved it away just now. That must not stop, or undo, all others.
                    node.leave(draft.seen.path, str(error.strerror or error))
                    continue
                wrong.append("{0}: {1}".format(draft.seen.path, error.strerror or error))
                return wrong
        for argv in node.offline_steps:
            wrong += _steps(node, [{"run": argv}])
        for act in sorted(node.acts, key=lambda act: act.last):
            wrong += _steps(node, act.do)
        for reload in reloads:
            found = _steps(node, reload["steps"])
            wrong += found
            if found:
                break
        journal.note_edited(entry, node)
        return wrong

    def end(self, older: list[journal.Entry]) -> None:
        """The pass came to its end; what killed ones owed has been done with it."""
        entry = self.entry
        if entry is not None:
            entry.mark("done", changes=len(self.changes), controls=self.controls)
        for left in older:
            left.mark("done", by=os.path.basename(entry.folder) if entry else "a later look")


def put(node: Node, draft: Draft, label: Callable[[str], bytes | None]) -> None:
    """Bring one place to what is staged."""
    tree, path = node.tree, draft.seen.path
    if draft.kind == "absent":
        tree.remove(path)
    elif draft.kind == "directory" and draft.seen.kind == "absent":
        tree.folder(path, draft.mode, draft.uid, draft.gid)
    elif draft.rewritten:
        extra = dict(draft.seen.attributes)
        if draft.seen.kind != "file":
            context = label(path)
            extra = {} if context is None else {"security.selinux": context}
        tree.replace(path, draft.data or b"", (draft.mode, draft.uid, draft.gid), extra)
    else:
        tree.rights(draft.seen, draft.mode, draft.uid, draft.gid)


def _steps(node: Node, steps: list[dict[str, Any]]) -> list[str]:
    def command(argv: list[str], seconds: int = rescue.SECONDS) -> None:
        code, out = node.command(argv, seconds=seconds)
        if code:
            raise rescue.Command("{0}: {1}".format(" ".join(argv), out.strip()[-400:] or code))

    for step in steps:
        try:
            rescue.perform(node.tree, step, command)
        except rescue.Command as error:
            return [str(error)]
    return []


def hold_audit(node: Node) -> None:
    """Leave the loading of audit rules to the next start where the kernel takes none now."""
    code, out = node.command(["auditctl", "-s"])
    if code not in (0, 127):
        node.hold("audit")
        node.skipped.append("the kernel has no audit here; its rules are read at the next start")
    elif re.search(r"^enabled[ =]+2\b", out, re.MULTILINE):
        node.hold("audit")
        node.wait("the audit rules are locked until the next start")


def _others(controls: list[dict[str, Any]], phase: str) -> dict[str, list[Want]]:
    """What other phases want, by type."""
    found: dict[str, list[Want]] = {}
    for control in controls:
        if control.get("phase", "hardening") != phase:
            for resource in control.get("resources", []):
                found.setdefault(resource["type"], []).append(Want(control["id"], resource))
    return found


def _audit_files(controls: list[dict[str, Any]]) -> set[str]:
    """The files of all audit rules of ours, whichever type and phase they are of."""
    resources = [resource for c in controls for resource in c.get("resources", [])]
    types = ("audit_rule", "audit_privileged")
    return {
        path_of(str(r.get("key")), r.get("rules") or ()) for r in resources if r["type"] in types
    }


def _packages(controls: list[dict[str, Any]]) -> list[str]:
    asked = [(c.get("when") or {}).get("package") for c in controls]
    resources = [r for c in controls for r in c.get("resources", [])]
    asked += [r["name"] for r in resources if r["type"] == "package"]
    return [name for name in asked if name]


def _shown(node: Node, draft: Draft, before: bool) -> str:
    data = draft.seen.data if before else draft.data if draft.kind == "file" else None
    if data is None:
        return ""
    mode = draft.seen.mode if draft.seen.kind == "file" else draft.mode
    if not (mode & 0o004 and draft.seen.trusted and node.tree.public(draft.seen.path)):
        return "({0} bytes that not everybody may read)\n".format(len(data))
    return data.decode("utf-8", "replace")

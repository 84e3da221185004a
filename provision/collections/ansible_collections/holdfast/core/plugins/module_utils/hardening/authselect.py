# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""authselect's profile and features. What edits PAM's stack edits a custom profile."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    NAME,
    Field,
    Type,
    Want,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import (
    Node,
    NotHere,
    Refused,
)

STATE = "/etc/authselect/authselect.conf"
CUSTOM = "/etc/authselect/custom"
WRITTEN = "/etc/authselect"
SHIPPED = ("/usr/share/authselect/default", "/usr/share/authselect/vendor")
OWN = "holdfast"
SCHEMA = {
    "features": Field(list, pattern=NAME),
    "profile": Field(str, pattern=r"^(custom/)?[A-Za-z0-9_][A-Za-z0-9_.-]*\Z"),
}


class Selection:
    """The profile that is selected, and the one that is to be; one for a node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        lines = [line.strip() for line in texts.lines_of(node.text(STATE) or "")]
        lines = [line for line in lines if line]
        self.was = lines[0] if lines else ""
        self.had = lines[1:]
        self.profile, self.features = self.was, list(self.had)
        self.edited = False
        self.stale = bool(self.was) and not node.offline and self._stale()
        node.at_end(self.finish)

    def _stale(self) -> bool:
        """Whether somebody changed what authselect wrote; its profile then says nothing of it.

        `authselect check` of EL 10 looks at the links only, so what it would write is asked for.
        """
        argv = ["authselect", "test", self.was, *self.had, "--all"]
        code, out = self.node.command(argv)
        wanted: dict[str, list[str]] = {}
        lines: list[str] = []
        for line in texts.lines_of(out) if code == 0 else ():
            if line.startswith("File /etc/pam.d/") and line.endswith(":"):
                lines = wanted[WRITTEN + "/" + line[len("File /etc/pam.d/") : -1]] = []
            elif line.startswith("File "):
                lines = []
            elif texts.active(line):
                lines.append(line.strip())
        return any(lines != self._said(path) for path, lines in wanted.items())

    def _said(self, path: str) -> list[str]:
        return [
            line.strip()
            for line in texts.lines_of(self.node.text(path) or "")
            if texts.active(line)
        ]

    @staticmethod
    def of(node: Node) -> Selection:
        """The node's one.

        Raises:
            NotHere: the node has no authselect.
        """
        if not node.has_command("authselect"):
            raise NotHere("there is no authselect")
        found = node.shared.setdefault("authselect", None) or Selection(node)
        node.shared["authselect"] = found
        return found

    def folder(self, profile: str) -> str:
        """Where a profile's files lie.

        Raises:
            Refused: there is no such profile.
        """
        if profile.startswith("custom/"):
            return CUSTOM + "/" + profile[len("custom/") :]
        for folder in SHIPPED:
            if self.node.exists(folder + "/" + profile):
                return folder + "/" + profile
        raise Refused(
            "there is no authselect profile {0}".format(profile), "install authselect-libs"
        )

    def selected(self) -> str:
        """The folder of the profile that is selected, or is to be."""
        return self.folder(self.was if self.node.unstaged else self.profile)

    def editable(self) -> str:
        """The folder of a custom profile like the selected one, which is made where needed."""
        if not self.profile:
            raise Refused("no authselect profile is selected", "apply the control that selects one")
        self.edited = True
        if not self.profile.startswith("custom/"):
            source, target = self.folder(self.profile), CUSTOM + "/" + OWN
            for path in self.node.files(source):
                text = self.node.text(path)
                if text is not None:
                    self.node.write(target + path[len(source) :], text, ours=True)
            self.profile = "custom/" + OWN
        return self.folder(self.profile)

    def finish(self) -> None:
        """Stage the one command that selects everything."""
        if (self.profile, self.features) != (self.was, self.had) or self.edited or self.stale:
            do = selecting(self.profile, self.features)
            back = [selecting(self.was, self.had)]
            if not self.was:
                # There is no profile to go back to, only files that authselect itself sets aside.
                name = "holdfast-{0}".format(int(time.time()))
                do["run"].append("--backup=" + name)
                back = [{"run": ["authselect", "backup-restore", name]}]
            act = self.node.act("authselect", [do], back, files=True)
            # What somebody wrote into them is not what selecting the old profile brings back.
            paths = self.node.files(WRITTEN)
            act.touches = tuple(p for p in paths if self.node.draft(p).kind == "file")
            act.edited = tuple(p for p in act.touches if p != STATE)


def selecting(profile: str, features: list[str]) -> dict[str, Any]:
    """The step that selects a profile with features."""
    return {"run": ["authselect", "select", profile, *features, "--force", "--quiet"]}


class Authselect(Type):
    """`features`, and `profile` for where none is selected; a selected one stays."""

    name = "authselect"
    schema = SCHEMA

    def read(self, want: Want) -> Selection:
        """What is selected."""
        del want
        return Selection.of(self.node)

    def diff(self, want: Want, seen: Selection) -> list[str]:
        """Profile and features in words."""
        words = []
        if want.get("profile") is not None and not seen.was:
            words.append("select authselect profile {0}".format(want["profile"]))
        if seen.stale:
            words.append("write the files of authselect profile {0} again".format(seen.was))
        missing = [f for f in want.get("features", []) if f not in seen.had]
        return words + ["enable authselect feature {0}".format(name) for name in missing]

    def write(self, want: Want, seen: Selection) -> None:
        """Note it; one command at the end does all."""
        if want.get("profile") is not None and not seen.profile:
            seen.folder(want["profile"])
            seen.profile = want["profile"]
        if want.get("features") and not seen.profile:
            raise Refused("no authselect profile is selected", "apply the control that selects one")
        seen.features += [f for f in want.get("features", []) if f not in seen.features]

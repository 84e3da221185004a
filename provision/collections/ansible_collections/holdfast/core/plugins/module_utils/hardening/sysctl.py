# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the kernel: what runs now, and one file of ours for the next start."""

from __future__ import annotations

import os
import re
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    Field,
    Type,
    Want,
    agreed,
    keep_ours,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.rescue import setting

OURS = "/etc/sysctl.d/60-holdfast.conf"
_OF_ALL = re.compile(r"^(?P<folder>/proc/sys/net/ipv[46]/conf)/(?:all|default)/(?P<key>[^/]+)\Z")
ETC = "/etc/sysctl.d"
VENDOR = ("/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
FIRST = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
"""Switching these sets others back to what a router or a host has by default."""

LAST = {
    "kernel.kexec_load_disabled": "1",
    "kernel.modules_disabled": "1",
    "kernel.unprivileged_bpf_disabled": "1",
    "kernel.yama.ptrace_scope": "3",
}
"""Values that the kernel lets go of at its next start only: nothing takes them back before."""

SCHEMA = {
    # Steps with something in each: two dots in a row would lead out of the kernel's folder.
    "name": Field(str, required=True, pattern=r"^[A-Za-z0-9_][\w:@-]*([./][\w:@-]+)*\Z"),
    "value": Field((str, int), required=True),
}


class Sysctl(Type):
    """`name` and `value`; several numbers in a value are compared one by one."""

    name = "sysctl"
    ours = OURS
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """Read our file once."""
        agreed(wants, "name", "value")
        self.kept = parse(self.node.text(OURS) or "")
        self.wrong: dict[str, tuple[str, str]] = {}
        self.sources = [
            path
            for path in ["/etc/sysctl.conf", *self.node.files(ETC, ".conf")]
            if self.node.draft(path).seen.path != OURS
        ]
        self.vendor = self._overriding()

    def _overriding(self) -> list[str]:
        """Files of packages that are read after ours."""
        found: dict[str, str] = {}
        own = set(self.node.names(ETC))
        for folder in VENDOR:
            for path in self.node.files(folder, ".conf"):
                name = os.path.basename(path)
                if name > os.path.basename(OURS) and name not in own:
                    found.setdefault(name, path)
        return list(found.values())

    def read(self, want: Want) -> dict[str, Any]:
        """What runs, what our file says, and which other files say something else."""
        name, value = want["name"], wanted(want)
        return {
            "runs": self._runs(name),
            "kept": self.kept.get(name),
            "conflicts": [p for p in self.sources if conflicts(self.node.text(p), name, value)],
            "later": [p for p in self.vendor if conflicts(self.node.text(p), name, value)],
        }

    def _runs(self, name: str) -> str | None:
        return setting(self.node.tree, kernel_path(name))

    def diff(self, want: Want, seen: dict[str, Any]) -> list[str]:
        """What runs counts unless an image is built."""
        name, value = want["name"], wanted(want)
        words = []
        if seen["runs"] not in (None, value) and not self.node.offline:
            words.append("set {0} = {1} (was {2})".format(name, value, seen["runs"]))
        if seen["kept"] != value:
            words.append("keep {0} = {1} in {2}".format(name, value, OURS))
        words += ["put {0} out of force in {1}".format(name, p) for p in seen["conflicts"]]
        words += ["override {0} of {1}".format(name, p) for p in seen["later"]]
        return words

    def write(self, want: Want, seen: dict[str, Any]) -> None:
        """Stage the other files; ours and the kernel come at the end, all at once."""
        name, value = want["name"], wanted(want)
        for path in seen["conflicts"]:
            self.node.write(path, silenced(self.node.text(path) or "", name, value))
        for path in seen["later"]:
            # A file of the same name in /etc takes the place of a package's.
            own = ETC + "/" + os.path.basename(path)
            text = self.node.text(own) or self.node.text(path) or ""
            self.node.write(own, silenced(text, name, value))
        if seen["runs"] not in (None, value):
            self.wrong[name] = (str(seen["runs"]), value)

    def undo(self, want: Want, seen: Any) -> list[dict[str, Any]]:
        """The value that ran before."""
        name, runs = want["name"], seen["runs"]
        if runs is None or LAST.get(name) == wanted(want):
            return []
        return [{"put": [kernel_path(name), runs]}]

    def _interfaces(self, name: str) -> list[dict[str, Any]]:
        """The steps that bring back what an interface had of a setting for all of them.

        The kernel hands it on to interfaces, but not back to one that came after it was set, as
        all do after a restart.
        """
        found = _OF_ALL.match(kernel_path(name))
        if found is None:
            return []
        steps = []
        for interface in self.node.tree.names(found.group("folder")):
            path = "{0}/{1}/{2}".format(found.group("folder"), interface, found.group("key"))
            runs = setting(self.node.tree, path) if interface not in ("all", "default") else None
            if runs is not None:
                steps.append({"keep": [path, runs]})
        return steps

    def finish(self, wants: list[Want]) -> list[tuple[str, str]]:
        """Write our file, and set what runs otherwise."""
        values = {want["name"]: wanted(want) for want in wants}
        theirs = {want["name"] for want in self.others} - set(values)
        values.update({name: self.kept[name] for name in theirs if name in self.kept})
        gone = sorted(set(self.kept) - set(values))
        lines = ["{0} = {1}\n".format(name, values[name]) for name in sorted(values)]
        told = self.kept != values
        words = keep_ours(self.node, OURS, "".join(lines), 0o644, told=told)
        if self.wrong:
            names = sorted(self.wrong, key=lambda name: (name not in FIRST, name))
            if any(name in FIRST for name in names):
                # It set others back, so everything of ours that runs is said again after it.
                names += [n for n in sorted(values) if n not in self.wrong and self._runs(n)]
            do = [{"put": [kernel_path(name), values[name]]} for name in names]
            undo = [
                {"put": [kernel_path(name), self.wrong[name][0] if name in self.wrong else runs]}
                for name in names
                for runs in (self._runs(name),)
                if LAST.get(name) != values[name]
            ]
            undo += [step for name in names for step in self._interfaces(name)]
            self.node.act("kernel settings", do, undo)
        return words + [("", "no longer keep {0} in {1}".format(name, OURS)) for name in gone]


def wanted(want: Want) -> str:
    """The value, as the kernel writes it."""
    return " ".join(str(want["value"]).split())


def kernel_path(name: str) -> str:
    """Where the kernel shows a setting; a slash in a name stands for a dot in an interface's."""
    if "/" in name:
        return "/proc/sys/" + name
    return "/proc/sys/" + name.replace(".", "/")


def parse(text: str) -> dict[str, str]:
    """The settings of a file; a leading dash only means that it may fail."""
    found = {}
    for line in texts.lines_of(text):
        if texts.active(line) and "=" in line:
            key, _, value = line.partition("=")
            found[key.strip().lstrip("-").strip().replace("/", ".")] = " ".join(value.split())
    return found


def conflicts(text: str | None, name: str, value: str) -> bool:
    """Whether a file sets it to something else."""
    return text is not None and any(True for _ in _other(text, name, value))


def _other(text: str, name: str, value: str) -> list[int]:
    return [
        number
        for number, line in enumerate(texts.lines_of(text))
        if parse(line + "\n").get(name.replace("/", "."), value) != value
    ]


def silenced(text: str, name: str, value: str) -> str:
    """A file's text with what says something else put out of force."""
    lines = texts.lines_of(text)
    for number in _other(text, name, value):
        lines[number] = texts.commented(lines[number])
    return texts.joined(lines)

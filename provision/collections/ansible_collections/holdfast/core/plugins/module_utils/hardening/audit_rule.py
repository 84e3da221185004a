# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Rules of the audit daemon, one file for each key."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    Field,
    Type,
    Want,
    agreed,
)

FOLDER = "/etc/audit/rules.d"
GONE = re.compile(
    r"access|alarm|chmod|chown|creat|dup2|epoll_create|epoll_wait|eventfd|fork|"
    r"futimesat|getdents|getpgrp|inotify_init|lchown|link|lstat|mkdir|mknod|open|"
    r"pause|pipe|poll|readlink|rename|renameat|rmdir|select|signalfd|stat|"
    r"symlink|time|unlink|ustat|utime|utimes|vfork|umount"
)
"""System calls that aarch64 never had."""

_OURS = re.compile(r"^(?:60|zz)-holdfast-.+\.rules\Z")
_OPTION = re.compile(r"-[befr] |--")
"""How a line begins that is no rule but says how the kernel keeps the trail."""
SCHEMA = {
    "key": Field(str, required=True, pattern=r"^[A-Za-z0-9_.-]+\Z"),
    "rules": Field(list, required=True),
}


class AuditRule(Type):
    """`key` and `rules`; ``{arch}`` in a rule stands for both word sizes."""

    name = "audit_rule"
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """Each key belongs to one resource."""
        agreed(wants, "key", "rules")
        self.machine = os.uname().machine

    def read(self, want: Want) -> str | None:
        """The file's text."""
        return self.node.text(path_of(want["key"], want["rules"]))

    def diff(self, want: Want, seen: str | None) -> list[str]:
        """The file in words."""
        right = text_of(want["rules"], self.machine)
        return [] if seen == right else ["write {0}".format(path_of(want["key"], want["rules"]))]

    def write(self, want: Want, seen: str | None) -> None:
        """Stage the file."""
        del seen
        text = text_of(want["rules"], self.machine)
        self.node.write(path_of(want["key"], want["rules"]), text, mode=0o600, ours=True)

    def finish(self, wants: list[Want]) -> list[tuple[str, str]]:
        """Take away rules that no control wants any more."""
        del wants
        paths = self.node.shared.get("audit files", set())
        words = []
        for name in self.node.names(FOLDER):
            if _OURS.match(name) and FOLDER + "/" + name not in paths:
                self.node.remove(FOLDER + "/" + name)
                words.append(("", "remove {0}/{1}".format(FOLDER, name)))
        return words


def path_of(key: str, rules: Sequence[str] = ()) -> str:
    """The file of a key.

    Of several lines with one option the last counts, and the package's own audit.rules has some;
    a file of options alone is read after it.
    """
    options = bool(rules) and all(_OPTION.match(rule) for rule in rules)
    return "{0}/{1}-holdfast-{2}.rules".format(FOLDER, "zz" if options else "60", key)


def text_of(rules: list[str], machine: str) -> str:
    """The file's text."""
    lines = []
    for rule in rules:
        if "{arch}" not in rule:
            lines.append(rule)
            continue
        lines.append(rule.replace("{arch}", "b32"))
        wide = rule.replace("{arch}", "b64")
        known = without_calls(wide) if machine == "aarch64" else wide
        if known is not None:
            lines.append(known)
    return "".join(line + "\n" for line in lines)


def without_calls(rule: str) -> str | None:
    """A rule without the calls of `GONE`; None when it has no other."""
    words = rule.split()
    kept: list[str] = []
    calls = 0
    for number, word in enumerate(words):
        if word == "-S":
            continue
        if number and words[number - 1] == "-S":
            left = [call for call in word.split(",") if not GONE.fullmatch(call)]
            calls += len(left)
            kept += ["-S", ",".join(left)] if left else []
            continue
        kept.append(word)
    return " ".join(kept) if calls or "-S" not in words else None

# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Text of dnf's repository files. Touches no file."""

from __future__ import annotations

import re

# Whatever stands behind a section's bracket or a value: dnf may still read the line, so it counts.
_SECTION = re.compile(r"^\[(?P<name>[^\]]+)\]")
_ENABLED = re.compile(r"^enabled\s*[=:]\s*(?P<value>.*?)\s*$", re.IGNORECASE)
_ONE = (
    "\n[{id}]\nname={name}\nbaseurl={baseurl}\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=1\n"
    "gpgkey=file://{keys}/RPM-GPG-KEY-{key}\nskip_if_unavailable=0\n"
)
_OFF = frozenset({"0", "no", "false", "off"})


def render(repositories: list[dict[str, str]], key_directory: str) -> str:
    """The text of a repository file; every repository has its own key and both checks on."""
    parts = ["# Written by Holdfast from the stack lock; changes here do not last.\n"]
    parts += [_ONE.format(keys=key_directory, **repository) for repository in repositories]
    return "".join(parts)


def enabled(text: str) -> list[str]:
    """Ids of the repositories that `text` leaves enabled; without a word they are."""
    state: dict[str, bool] = {}
    section = ""
    for line in text.splitlines():
        head = _SECTION.match(line)
        if head:
            section = head.group("name")
            if section != "main":
                state[section] = True
            continue
        found = _ENABLED.match(line)
        if found and section in state:
            state[section] = found.group("value").lower() not in _OFF
    return [name for name, on in state.items() if on]


def disable(text: str, ids: set[str]) -> str:
    """`text` with the repositories `ids` switched off, and everything else as it was."""
    lines: list[str] = []
    section = ""
    for line in text.splitlines():
        head = _SECTION.match(line)
        if head:
            section = head.group("name")
            lines.append(line)
            if section in ids:
                lines.append("enabled=0")
            continue
        if section in ids and _ENABLED.match(line):
            continue
        lines.append(line)
    return "\n".join(lines) + "\n"

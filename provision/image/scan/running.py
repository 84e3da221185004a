"""Which rules of a data stream ask a running system, so that a tree proves nothing of them.

Inside the sandbox there are mounts, processes and kernel settings as well: those of the machine
that builds. A rule that looks at them would pass or fail by what is not in the image. Which rules
do is read from the content itself: by the kinds of test that a rule's definition leads to, and by
the paths that they look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.core import plainxml

KINDS = {
    "sysctl_test": "a setting of the running kernel",
    "partition_test": "a mounted file system",
    "process_test": "a running process",
    "process58_test": "a running process",
    "systemdunitproperty_test": "what systemd holds of a unit",
    "systemdunitdependency_test": "what systemd holds of a unit",
    "inetlisteningservers_test": "an open port",
    "iflisteners_test": "an open port",
    "interface_test": "a network interface",
    "runlevel_test": "what the system started into",
    "selinuxboolean_test": "a switch of the loaded SELinux policy",
    "selinuxsecuritycontext_test": "an SELinux label, which is written when the image is packed",
    "routingtable_test": "a route",
    "uname_test": "the running kernel",
}
"""Kinds of OVAL tests that look at a running system: what each looks at."""
PLACES = ("/proc/", "/sys/", "/dev/")
"""Where the kernel shows itself as files. /run is empty in the sandbox, as it is in an image."""

_XCCDF = "{http://checklists.nist.gov/xccdf/1.2}"
_OVAL = "{http://oval.mitre.org/XMLSchema/oval-definitions-5"
_RULE = "xccdf_org.ssgproject.content_rule_"
_REFERENCES = ("object_ref", "var_ref", "state_ref")


@dataclass(frozen=True)
class Content:
    """What was read of a data stream: its rules without their prefix, and which need a system."""

    version: str
    rules: frozenset[str]
    running: Mapping[str, str]


def read(stream: Path) -> Content:
    """Read a data stream.

    Raises:
        NotPlain: it is cut short, or is no XML.
        OSError: it cannot be read.
    """
    reader = _Reader()
    plainxml.read(stream, reader)
    return Content(reader.version, frozenset(reader.rules), dict(sorted(reader.running().items())))


class _Reader:
    """Collects rules, definitions, tests and objects, and how they lead to each other."""

    def __init__(self) -> None:
        self.version = ""
        self.rules: dict[str, set[str]] = {}
        self.leads: dict[str, set[str]] = {}
        self.reasons: dict[str, str] = {}
        self._rule = ""
        self._item = ""
        self._inside: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._inside.append(tag)
        if tag.startswith(_XCCDF):
            self._of_rule(tag.removeprefix(_XCCDF), attributes)
        elif tag.startswith(_OVAL):
            self._of_oval(tag.rpartition("}")[2], attributes)

    def end(self, tag: str, text: str) -> None:
        self._inside.pop()
        if tag == f"{_XCCDF}Rule":
            self._rule = ""
        elif tag == f"{_XCCDF}version" and self._inside[-1:] == [f"{_XCCDF}Benchmark"]:
            self.version = self.version or text.strip()
        elif tag.startswith(_OVAL):
            place = text.strip().lstrip("^")
            if self._item and place.startswith(PLACES):
                top = place.split("/")[1]
                self.reasons.setdefault(self._item, f"what stands below /{top}")

    def _of_rule(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Rule":
            self._rule = attributes.get("id", "").removeprefix(_RULE)
            self.rules.setdefault(self._rule, set())
        elif name == "check-content-ref" and self._rule and "name" in attributes:
            self.rules[self._rule].add(attributes["name"])

    def _of_oval(self, name: str, attributes: dict[str, str]) -> None:
        if "id" in attributes:
            self._item = attributes["id"]
            self.leads.setdefault(self._item, set())
            if name in KINDS:
                self.reasons[self._item] = KINDS[name]
        found = self.leads.get(self._item)
        if found is not None:
            found |= {
                value
                for key, value in attributes.items()
                if key in _REFERENCES or key in ("test_ref", "definition_ref")
            }

    def running(self) -> dict[str, str]:
        """Rule to what of a running system it looks at."""
        found = {}
        for rule, names in self.rules.items():
            reason = next(filter(None, map(self._reason, sorted(names))), "")
            if reason:
                found[rule] = reason
        return found

    def _reason(self, start: str) -> str:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self.reasons:
                return self.reasons[name]
            waiting += sorted(self.leads.get(name, ()), reverse=True)
        return ""

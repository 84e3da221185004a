"""Reads what OpenSCAP wrote: the result of every rule of a scan, and what it was judged with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from provision.core import plainxml
from provision.core.plainxml import NotPlain

_XCCDF = "{http://checklists.nist.gov/xccdf/1.2}"
_RULE = "xccdf_org.ssgproject.content_rule_"
_PROFILE = "_profile_"


@dataclass(frozen=True)
class RuleResult:
    """One rule's result in a scan. `title` is the content's own; `messages` are the scanner's."""

    rule: str
    result: str
    severity: str = "unknown"
    title: str = ""
    messages: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """One scan of one system: every rule of the content with its result."""

    benchmark: str
    version: str
    profile: str
    started: str
    ended: str
    scanner: str
    rules: dict[str, RuleResult] = field(default_factory=dict)

    @property
    def selected(self) -> dict[str, RuleResult]:
        """The rules that the profile selects."""
        return {name: r for name, r in self.rules.items() if r.result != "notselected"}


def short(rule: str) -> str:
    """A rule's id without the prefix that all rules of the content share."""
    return rule.removeprefix(_RULE)


def read(path: Path) -> Scan:
    """The scan in a results file of XCCDF 1.2, alone or inside an asset report (ARF).

    Raises:
        NotPlain: the file is not XML, has a document type, or holds no result of a scan.
        OSError: it cannot be read.
    """
    reader = _Reader()
    plainxml.read(path, reader)
    if reader.scans != 1:
        raise NotPlain(f"it holds {reader.scans} results of scans, not one")
    return Scan(
        benchmark=reader.benchmark,
        version=reader.version,
        profile=reader.profile,
        started=reader.times[0],
        ended=reader.times[1],
        scanner=reader.scanner,
        rules={
            rule: RuleResult(
                rule,
                result,
                severity,
                reader.titles.get(rule, ""),
                tuple(messages),
                tuple(reader.platforms.get(rule, ())),
            )
            for rule, (result, severity, messages) in reader.found.items()
        },
    )


class _Reader:
    """Collects rules' titles and platforms from the benchmark, and results from the result."""

    def __init__(self) -> None:
        self.benchmark = self.version = self.profile = self.scanner = ""
        self.times = ("", "")
        self.scans = 0
        self.titles: dict[str, str] = {}
        self.platforms: dict[str, list[str]] = {}
        self.found: dict[str, tuple[str, str, list[str]]] = {}
        self._groups: list[list[str]] = []
        self._rule = ""
        self._result = ""
        self._open = ""
        self._severity = ""
        self._messages: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not tag.startswith(_XCCDF):
            return
        name = tag.removeprefix(_XCCDF)
        if name == "Benchmark":
            self.benchmark = self.benchmark or attributes.get("id", "")
        elif name == "Group":
            self._groups.append([])
        elif name == "Rule":
            self._rule = short(attributes.get("id", ""))
            self.platforms[self._rule] = [p for group in self._groups for p in group]
        elif name == "platform" and self._open == "":
            owner = self.platforms.get(self._rule) if self._rule else None
            if owner is None and self._groups:
                owner = self._groups[-1]
            if owner is not None:
                owner.append(attributes.get("idref", "").lstrip("#"))
        elif name == "TestResult":
            self.scans += 1
            self.times = (attributes.get("start-time", ""), attributes.get("end-time", ""))
            self.scanner = attributes.get("test-system", "")
            self.version = attributes.get("version", "")
            self._open = "TestResult"
        elif self._open:
            self._start_result(name, attributes)

    def _start_result(self, name: str, attributes: dict[str, str]) -> None:
        if name == "profile" and self._open == "TestResult":
            self.profile = attributes.get("idref", "").partition(_PROFILE)[2]
        elif name == "rule-result":
            self._open = short(attributes.get("idref", ""))
            self._severity = attributes.get("severity", "unknown")
            self._messages, self._result = [], ""

    def end(self, tag: str, text: str) -> None:
        if not tag.startswith(_XCCDF):
            return
        name = tag.removeprefix(_XCCDF)
        if name == "Rule":
            self._rule = ""
        elif name == "Group":
            self._groups.pop()
        elif name == "title" and self._rule:
            self.titles.setdefault(self._rule, " ".join(text.split()))
        elif name == "TestResult":
            self._open = ""
        elif not self._open or self._open == "TestResult":
            return
        elif name == "result":
            self._result = text.strip()
        elif name == "message":
            self._messages.append(" ".join(text.split()))
        elif name == "rule-result":
            self._keep()

    def _keep(self) -> None:
        """A rule with several results has the worst of them; the content never does that."""
        before = self.found.get(self._open)
        if before is None or before[0] in ("pass", "notapplicable", "notselected"):
            self.found[self._open] = (self._result or "missing", self._severity, self._messages)
        self._open = "TestResult"

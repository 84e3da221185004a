"""Reads what OpenSCAP wrote: the result of every rule of a scan, and what it was judged with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from provision.core import plainxml
from provision.core.plainxml import NotPlain

_XCCDF = "{http://checklists.nist.gov/xccdf/1.2}"
_RULE = "xccdf_org.ssgproject.content_rule_"
_PROFILE = "_profile_"
_BEGINS, _ENDS = "I: oscap: Evaluating definition '", "I: oscap: Definition '"
_JUDGES = "I: oscap: Evaluating XCCDF rule '"
_ASKS = "I: oscap: Querying systemdunit"
_ANSWERED, _LATE = "systemd answered", "systemd late"
_SEEN = ("pass", "fail", "fixed")


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


def doubted(scan: Scan, asked: Iterable[str]) -> Scan:
    """The scan without the results of rules that asked systemd while it answered nobody.

    OpenSCAP waits 25 s for an answer of systemd, and then takes a unit for one that does not exist:
    a rule that wants it fails, and one that does not want it passes. Neither was seen.

    Args:
        scan: what OpenSCAP wrote.
        asked: its log, with a line between for each time that somebody else asked systemd; of the
            log, the lines about rules and about what is asked of systemd.
    """
    reader = _Asked()
    for line in asked:
        reader.take(line)
    reader.answered()
    if not reader.doubtful:
        return scan
    doubtful = reader.rules()
    # What the log does not name may have asked as well.
    doubtful |= {name for name, r in scan.rules.items() if r.result in _SEEN} - set(reader.uses)
    rules = {name: _unseen(r) if name in doubtful else r for name, r in scan.rules.items()}
    return replace(scan, rules=rules)


class _Asked:
    """Reads which rules and definitions asked systemd while it was late.

    A definition is evaluated once; a rule that uses its result later has nothing better.
    """

    def __init__(self) -> None:
        self.uses: dict[str, set[str]] = {}
        self.doubtful: set[str] = set()
        self._rule = ""
        self._open: list[str] = []
        self._since: set[str] = set()
        self._late = False

    def take(self, line: str) -> None:
        """Take one line."""
        if line == _LATE:
            self._late = True
        elif line == _ANSWERED:
            self.answered()
        elif line.startswith(_JUDGES):
            self._rule, self._open = short(_quoted(line)), []
            self.uses.setdefault(self._rule, set())
        elif line.startswith(_BEGINS):
            self._open.append(_quoted(line))
            self.uses.setdefault(self._rule, set()).add(_quoted(line))
        elif line.startswith(_ENDS) and _quoted(line) in self._open:
            del self._open[self._open.index(_quoted(line)) :]
        elif line.startswith(_ASKS):
            self._since |= {self._rule, *self._open}

    def answered(self) -> None:
        """Systemd answered; what was asked of it since it did so before was answered, or late."""
        if self._late:
            self.doubtful |= self._since
        self._since, self._late = set(), False

    def rules(self) -> set[str]:
        """The rules whose results rest on what systemd did not say."""
        return {rule for rule, used in self.uses.items() if {rule, *used} & self.doubtful}


def _quoted(line: str) -> str:
    return line.partition("'")[2].partition("'")[0]


def _unseen(found: RuleResult) -> RuleResult:
    if found.result not in _SEEN:
        return found
    why = f"systemd did not answer while it was judged; OpenSCAP said {found.result}"
    return replace(found, result="unknown", messages=(*found.messages, why))


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

"""What needs attention, said once.

The same finding on many nodes is one issue, and so are the many checks that could not look for
one reason: a node without power is one thing to do, not one for each of its checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from provision.verdict.model import Finding, Severity, Status, Verdict

_STATUSES = (Status.FAIL, Status.UNKNOWN, Status.WAIVED)
_SEVERITIES = tuple(reversed(Severity))


@dataclass(frozen=True)
class Sighting:
    """What was seen, and on which nodes."""

    seen: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Issue:
    """Findings with one status and one thing to do.

    They are one check on one or more nodes, or several checks that could not look for the same
    reason. `finding` is the gravest of them; `checks` maps each check id to its title.
    """

    finding: Finding
    sightings: tuple[Sighting, ...]
    checks: dict[str, str]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node that has it, in the order of the inventory."""
        return tuple(dict.fromkeys(n for s in self.sightings for n in s.nodes))

    @property
    def title(self) -> str:
        """What was checked, or how many checks could not look."""
        if len(self.checks) == 1:
            return self.finding.title
        return f"{len(self.checks)} checks could not look"

    @property
    def expected(self) -> str:
        """What was expected; several checks expect several things, so theirs is left out."""
        return self.finding.expected if len(self.checks) == 1 else ""


def all_findings(verdict: Verdict) -> tuple[Finding, ...]:
    """The findings, and an unknown one for each node (or rack) of which nothing is proven."""
    return (*verdict.findings, *_unproven(verdict))


def issues(verdict: Verdict) -> tuple[Issue, ...]:
    """All failing, unknown and waived findings of a rack, the gravest first."""
    return issues_of(all_findings(verdict))


def issues_of(findings: Iterable[Finding]) -> tuple[Issue, ...]:
    """The failing, unknown and waived ones of `findings`, the gravest first."""
    causes: dict[tuple[str, ...], list[Finding]] = {}
    others: list[Finding] = []
    for finding in findings:
        if finding.status is Status.UNKNOWN:
            causes.setdefault(_cause(finding), []).append(finding)
        elif finding.status in _STATUSES:
            others.append(finding)
    groups: list[list[Finding]] = []
    for group in causes.values():
        if len({f.check for f in group}) > 1:
            groups.append(group)
        else:
            others += group
    groups += _grouped(others)
    return tuple(sorted((_issue(group) for group in groups), key=_rank))


def _cause(f: Finding) -> tuple[str, ...]:
    return (f.seen, f.action, f.clears, f.reason)


def _grouped(findings: Iterable[Finding]) -> Iterable[list[Finding]]:
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for f in findings:
        key = (f.check, f.title, f.status, f.severity, f.expected, f.action, f.clears, f.reason)
        groups.setdefault(key, []).append(f)
    return groups.values()


def _issue(group: list[Finding]) -> Issue:
    seen: dict[str, dict[str, None]] = {}
    for finding in group:
        seen.setdefault(finding.seen, {})[finding.node] = None
    return Issue(
        finding=min(group, key=lambda f: _SEVERITIES.index(f.severity)),
        sightings=tuple(Sighting(text, tuple(nodes)) for text, nodes in seen.items()),
        checks={f.check: f.title for f in group},
    )


def _rank(issue: Issue) -> tuple[int, int, int, str]:
    found = issue.finding
    return (
        _STATUSES.index(found.status),
        _SEVERITIES.index(found.severity),
        -len(issue.nodes),
        found.check,
    )


def _unproven(verdict: Verdict) -> Iterator[Finding]:
    names = verdict.missing if verdict.nodes or verdict.findings else (verdict.rack,)
    for name in names:
        yield Finding(
            node=name,
            check="verdict.judged",
            title="Something was judged",
            status=Status.UNKNOWN,
            expected="at least one check that applies",
            seen="no check looked",
            severity=Severity.HIGH,
            action=f"run {verdict.kind} again; --limit names the nodes to look at",
            clears="one check that applies and passes",
        )

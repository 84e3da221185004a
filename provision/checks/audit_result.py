"""What a node's own audit says, read on the controller: untrusted, bounded, judged as a whole.

A result comes from a machine that may be broken, or somebody else's by now. It is believed about
that machine only, and only when it is whole: it has the published shape
(`provision/health/data/result.schema.json`), its sums are those of its findings, and it names the
node that was asked.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from provision.core.shown import printable
from provision.verdict.model import Finding, Severity, Status

MOST_BYTES = 2 * 1024 * 1024
"""The most that a result may have; one of eight GPUs has about 60 KiB."""
MOST_PARTS = 5_000
"""The most findings and parts of findings together."""
MOST_GPUS = 64
WHOLE = "audit.whole"
"""The finding of `findings` that names the checks without a result."""
_EVIDENCE = 2000
_LONGEST_S = 86400.0
_GATING = ("fail", "unknown")

StatusWord = Literal["pass", "fail", "not_applicable", "unknown"]
_Amount = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e12)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]
_STRICT = ConfigDict(extra="forbid", strict=True)


@with_config(_STRICT)
class Part(TypedDict):
    """A check's result for one thing: a GPU, a link, a mount."""

    entity: str
    status: StatusWord
    seen: str


@with_config(_STRICT)
class Judged(TypedDict):
    """One check's result."""

    check: Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[A-Za-z0-9_-]+)*$", max_length=200)]
    title: str
    status: StatusWord
    severity: Literal["info", "low", "medium", "high", "critical"]
    expected: str
    seen: str
    action: Literal[
        "none", "restart_application", "reset_gpu", "reboot", "drain", "inspect", "return"
    ]
    advice: str
    clears: str
    reason: str
    parts: list[Part]


@with_config(_STRICT)
class Cost(TypedDict):
    """What the audit took of the node."""

    cpu_s: _Amount
    memory_kib: _Amount


@with_config(_STRICT)
class Board(TypedDict):
    """A GPU that NVML shows; what it did not say is empty."""

    bus: str
    uuid: str
    serial: str
    name: str


@with_config(_STRICT)
class LeftBehind(TypedDict):
    """A probe that hangs and cannot be killed."""

    probe: str
    pid: int
    born: str
    since: _Number
    doing: str


@with_config(_STRICT)
class ProbeRun(TypedDict):
    """How a probe ended."""

    name: str
    status: Literal[
        "ended", "missing", "mismatch", "not_supported", "no_permission", "gone", "timeout",
        "hang", "crash", "truncated", "not_looked", "error",
    ]  # fmt: skip
    seconds: _Number
    reason: str
    pid: int
    left_behind: bool


@with_config(_STRICT)
class Document(TypedDict):
    """A result, as `result.schema.json` describes it."""

    schema: Literal["holdfast.health/1"]
    node: str
    boot: str
    status: Literal["pass", "fail", "unknown"]
    counts: dict[Literal["pass", "fail", "waived", "not_applicable", "unknown"], _Count]
    started: _Amount
    ended: _Amount
    declared: bool
    under_load: bool
    versions: dict[str, str]
    gpus: list[Board]
    cost: Cost
    notes: list[str]
    left_behind: list[LeftBehind]
    probes: list[ProbeRun]
    findings: list[Judged]


_READER = TypeAdapter(Document)


class Refused(Exception):
    """The result cannot be believed; the message says why, and is safe to print."""


@dataclass(frozen=True)
class AuditResult:
    """A result that was believed: of `node`, which is also what it says itself."""

    node: str
    document: Document

    @property
    def findings(self) -> list[Judged]:
        """What each check gave."""
        return self.document["findings"]

    @property
    def missing(self) -> tuple[str, ...]:
        """Checks that this release has and the result says nothing of: they prove nothing."""
        told = {f["check"] for f in self.findings}
        return tuple(c for c in known_checks() if c not in told)

    @property
    def status(self) -> Status:
        """The worst finding; unknown where nothing fails but a check gave no result."""
        said = Status(self.document["status"])
        return Status.UNKNOWN if self.missing and said is Status.PASS else said


@functools.cache
def known_checks() -> tuple[str, ...]:
    """The ids of the checks that an audit of this release always judges."""
    from provision.health.checks.all import checks

    return tuple(c.id for c in checks())


def read(raw: bytes, node: str) -> AuditResult:
    """The result in `raw`.

    Args:
        raw: what came from the node.
        node: the node that was asked, by the inventory's name.

    Raises:
        Refused: it is too large, has another shape, contradicts itself, or is of another node.
    """
    if len(raw) > MOST_BYTES:
        raise Refused(f"the result has more than {MOST_BYTES} bytes")
    try:
        document = _READER.validate_json(raw)
    except ValidationError as error:
        raise Refused(_said(error)) from error
    said = contradiction(document, node)
    if said:
        raise Refused(said)
    return AuditResult(node, document)


def contradiction(document: Document, node: str) -> str:
    """What of a well-shaped result cannot be true, or nothing."""
    if document["node"] != node:
        return f"the result is of the node {_short(document['node'])}, not of {node!r}"
    found = document["findings"]
    took = document["ended"] - document["started"]
    if not 0 <= took <= _LONGEST_S:
        return f"the audit would have taken {took:.0f} s"
    if len(found) + sum(len(f["parts"]) for f in found) > MOST_PARTS:
        return f"the result has more than {MOST_PARTS} findings and parts"
    if len(document["gpus"]) > MOST_GPUS:
        return f"the result has more than {MOST_GPUS} GPUs"
    twice = [check for check, times in Counter(f["check"] for f in found).items() if times > 1]
    if twice:
        return f"the check {twice[0]} is there twice"
    counts: Counter[str] = Counter(f["status"] for f in found)
    if document["counts"] != {s.value: counts.get(s.value, 0) for s in Status}:
        return "the counts are not those of the findings"
    if document["status"] != _worst(counts):
        return f"the status is {document['status']}; the findings say {_worst(counts)}"
    if document["under_load"] != any(map(under_load, found)):
        return "the result contradicts itself about whether anything was tested under load"
    lies = [f["check"] for f in found if f["status"] == "pass" and _bad(f["parts"])]
    return f"the check {lies[0]} passes though a part of it does not" if lies else ""


def _worst(statuses: Iterable[str]) -> str:
    held = set(statuses)
    return next((s for s in ("fail", "unknown", "pass") if s in held), "unknown")


def under_load(finding: Judged) -> bool:
    """Whether a check under load came to a result."""
    return finding["check"].startswith("load.") and finding["status"] in ("pass", "fail")


def _bad(parts: list[Part]) -> bool:
    return any(p["status"] in _GATING for p in parts)


def _said(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(p) for p in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    where = f" at {_short(place)}" if place else ""
    return f"it is not a result{where}: {_short(first['msg'], 120)[1:-1]}{more}"


def _short(text: str, most: int = 60) -> str:
    return repr(printable(text[:most]) + ("..." if len(text) > most else ""))


def findings(result: AuditResult, prefix: str = "", *, gating_only: bool = False) -> list[Finding]:
    """The result as findings of a verdict, with one more where checks gave no result.

    Args:
        result: what was believed.
        prefix: goes before each check's id.
        gating_only: leave out what passes and what does not apply.
    """
    told = (f for f in result.findings if not gating_only or f["status"] in _GATING)
    found = [_finding(result.node, f, prefix) for f in told]
    if result.missing:
        names = ", ".join(result.missing[:8])
        rest = len(result.missing) - 8
        found.append(
            Finding(
                node=result.node,
                check=prefix + WHOLE,
                title="Every check of the audit gave a result",
                status=Status.UNKNOWN,
                expected=f"{len(known_checks())} checks",
                seen=f"no result of {names}" + (f" and {rest} more" if rest > 0 else ""),
                severity=Severity.HIGH,
                action="put this release's audit on the node: `holdfast audit install`",
                clears="an audit with all checks",
            )
        )
    return found


_STATUS = {s.value: s for s in Status}
_SEVERITY = {s.value: s for s in Severity}


def _finding(node: str, told: Judged, prefix: str) -> Finding:
    bad = told["status"] in _GATING
    title = told["title"] or told["check"]
    return Finding(
        node=node,
        check=prefix + told["check"],
        title=title[:1].upper() + _clipped(title[1:]),
        status=_STATUS[told["status"]],
        expected=_clipped(told["expected"]),
        seen=_clipped(told["seen"]),
        severity=_SEVERITY[told["severity"]],
        action=_clipped(f"{told['action'].replace('_', ' ')}: {told['advice']}") if bad else "",
        clears=_clipped(told["clears"]),
        reason=_clipped(told["reason"]) if told["status"] == "not_applicable" else "",
    )


def _clipped(text: str) -> str:
    return text if len(text) <= _EVIDENCE else text[: _EVIDENCE - 1] + "…"

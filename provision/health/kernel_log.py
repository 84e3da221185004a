"""Judges coded events of the kernel's log: which still stand, and how grave they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from provision.health.case import Case
from provision.health.codes import Code, table
from provision.health.words import (
    ACTIONS,
    FAIL,
    PASS,
    SEVERITIES,
    UNKNOWN,
    Outcome,
    Part,
    counted,
    listed,
)


@dataclass(frozen=True)
class Event:
    """Every line with one code about one device, since the boot."""

    code: int
    who: str
    count: int
    order: int
    sample: str
    fatal: bool


def events(case: Case, kind: str) -> list[Event]:
    """The events of a kind that still stand, in the order of their last line."""
    told: dict[str, Any] = case.part("log.events")["events"]
    found = []
    for key, event in told.items():
        called, code, who = (*key.split("|"), "", "")[:3]
        if called == kind and code:
            found.append(
                Event(int(code), who, event["count"], event["order"], event["sample"],
                      bool(event.get("fatal")))
            )  # fmt: skip
    return sorted(found, key=lambda e: e.order)


def cleared(case: Case, event: Event, code: Code | None) -> bool:
    """Whether something later in the log took care of what a reset or a restart repairs."""
    if code is None or code.action not in ("reset_gpu", "restart_application"):
        return False
    told = case.part("log.events")["events"]
    later = [told.get("loaded"), told.get(f"recovered||{event.who}")]
    return any(x and x["order"] > event.order for x in later)


def lost_gpus(case: Case) -> list[str]:
    """GPUs that the log calls fallen off the bus, with or without an XID."""
    told = case.part("log.events")["events"]
    return sorted(key.split("|")[2] for key in told if key.startswith("off_the_bus|"))


def judge(case: Case, name: str, expected: str) -> Outcome:
    """Judge every event of a table (``xid`` or ``sxid``)."""
    known = table(name)
    parts, worst = [], Code(0, "", "", "info", "none")
    if name == "xid":
        parts = [
            Part(who or "a GPU", FAIL, "it fell off the bus, says the driver's log")
            for who in lost_gpus(case)
        ]
        worst = known[79] if parts else worst
    strange = bool(case.part("log.events")["events"].get(f"unreadable|{name}|"))
    for event in events(case, name):
        code = _as_said(name, event, known.get(event.code))
        status = _status(case, event, code)
        parts.append(Part(event.who, status, _text(name, event, code)))
        if status == FAIL and code is not None:
            worst = _graver(worst, code)
    for part in parts:
        if part.status == UNKNOWN:
            strange = True
    bad = [p for p in parts if p.status == FAIL]
    if bad:
        return Outcome(FAIL, _listed(bad), expected, tuple(parts), severity=worst.severity,
                       action=worst.action)  # fmt: skip
    if strange:
        odd = [p for p in parts if p.status == UNKNOWN]
        seen = _listed(odd) or "a line that looks like a code cannot be read"
        return Outcome(UNKNOWN, seen, expected, tuple(parts), reason=seen)
    lost = _lost(case)
    if lost:
        return Outcome(UNKNOWN, lost, expected, tuple(parts), reason=lost)
    seen = f"none; {counted(len(parts), 'notice')}: {_listed(parts)}" if parts else "none"
    return Outcome(PASS, seen, expected, tuple(parts))


def _as_said(name: str, event: Event, code: Code | None) -> Code | None:
    """The code as the line says it: what the switch's own driver calls fatal is no notice."""
    if name == "sxid" and event.fatal and code is not None and code.kind == "notice":
        return replace(code, kind="decides", severity="critical", action="reset_gpu")
    return code


def _lost(case: Case) -> str:
    """Why lines may be missing: they were too many for the kernel, or for us."""
    if case.part("log.events").get("behind"):
        return "the log is longer than one audit reads; the next ones read on"
    told = case.part("log.events")["events"]
    if any(key.startswith("lost_lines") for key in told):
        return "the kernel's log lost lines, so a code may be missing from it"
    return "there are more kinds of events than are kept" if "overflow" in told else ""


def _status(case: Case, event: Event, code: Code | None) -> str:
    if code is None:
        return UNKNOWN
    gates = code.kind == "hardware" or (code.kind == "decides" and event.fatal)
    return FAIL if gates and not cleared(case, event, code) else PASS


def _graver(one: Code, two: Code) -> Code:
    severity = max(one.severity, two.severity, key=SEVERITIES.index)
    return Code(0, "", "", severity, max(one.action, two.action, key=ACTIONS.index))


def _text(name: str, event: Event, code: Code | None) -> str:
    says = code.says if code else f"a code that is not in the table: {event.sample[:80]!r}"
    times = f", {event.count} times" if event.count > 1 else ""
    return f"{name.upper() if name == 'xid' else 'SXid'} {event.code}{times}: {says}"


def _listed(parts: list[Part]) -> str:
    return listed([f"{p.entity}: {p.seen}" for p in parts], 6, "; ")


def others(case: Case, kinds: dict[str, str], expected: str) -> Outcome:
    """Judge lines without codes: any of these kinds is a failure until the node restarts.

    Args:
        case: what was seen.
        kinds: the words for each kind of `probes.log.PATTERNS`.
        expected: what was expected.
    """
    parts = []
    for key, event in case.part("log.events")["events"].items():
        kind, _, who = (*key.split("|"), "", "")[:3]
        if kind in kinds:
            times = f", {event['count']} times" if event["count"] > 1 else ""
            text = f"{kinds[kind]}{times}: {event['sample'][:120]}"
            parts.append(Part(who or kind, FAIL, text))
    if parts:
        return Outcome(FAIL, _listed(parts), expected, tuple(parts))
    lost = _lost(case)
    if lost:
        return Outcome(UNKNOWN, lost, expected, reason=lost)
    return Outcome(PASS, "none", expected)

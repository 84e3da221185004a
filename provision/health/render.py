"""A result for a person, for monitoring and for schedulers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from provision.health.words import FAIL, NOT_APPLICABLE, PASS, SEVERITIES, UNKNOWN

TAG = "holdfast:"
"""Begins every reason that the audit gives a scheduler, so that only our drains are lifted."""
NAGIOS = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
METRICS = {
    "last_run_timestamp_seconds": "When the last audit ended; an old one is stale.",
    "valid_until_timestamp_seconds": "When the last audit's result stops to count.",
    "duration_seconds": "How long the last audit took.",
    "cpu_seconds": "Processor time of the last audit.",
    "healthy": "1 when nothing fails and everything was seen.",
    "left_behind": "Probes that hang and cannot be killed.",
    "findings": "Findings by status.",
    "check": "1 for the status that a check has.",
}
"""What Prometheus gets, each name after ``holdfast_audit_``."""
_REASON = 240
_SIGNS = {FAIL: "FAIL", UNKNOWN: "UNKNOWN", PASS: "ok", NOT_APPLICABLE: "n/a", "waived": "waived"}


def _graver_first(findings: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    order = {FAIL: 0, UNKNOWN: 1}
    return sorted(
        findings,
        key=lambda f: (order.get(f["status"], 2), -SEVERITIES.index(f["severity"]), f["check"]),
    )


def gating(result: dict[str, Any], least: str = "info") -> list[dict[str, Any]]:
    """Findings that fail or are unknown, of at least a severity, the gravest first."""
    floor = SEVERITIES.index(least)
    return _graver_first(
        f for f in result["findings"]
        if f["status"] in (FAIL, UNKNOWN) and SEVERITIES.index(f["severity"]) >= floor
    )  # fmt: skip


def as_text(result: dict[str, Any], *, everything: bool = False) -> str:
    """For a person: what fails and is unknown with its remedy, then one line for the rest."""
    lines = []
    for finding in _graver_first(result["findings"]):
        bad = finding["status"] in (FAIL, UNKNOWN)
        if not bad and not everything:
            continue
        lines.append(f"{_SIGNS[finding['status']]:8}{finding['check']:26}{finding['title']}")
        if finding["status"] == NOT_APPLICABLE:
            lines.append(f"{'':8}{finding['reason']}")
        elif finding["seen"]:
            lines.append(f"{'':8}seen:   {finding['seen']}")
        if bad:
            lines.append(
                f"{'':8}do:     {finding['action'].replace('_', ' ')}: {finding['advice']}"
            )
            lines.append(f"{'':8}clears: {finding['clears']}")
    counts = result["counts"]
    told = ", ".join(f"{n} {s.replace('_', ' ')}" for s, n in counts.items() if n)
    took = result["ended"] - result["started"]
    lines.append(f"{result['node']}: {result['status']} ({told or 'no check'}) in {took:.1f} s")
    lines.append(_under_load(result))
    return "\n".join(lines) + "\n"


def _under_load(result: dict[str, Any]) -> str:
    if not result["under_load"]:
        return "The node was looked at as it is, not tested under load."
    tested = [f for f in result["findings"] if f["check"].startswith("load.")]
    names = ", ".join(f["check"] for f in tested if f["status"] in (PASS, FAIL))
    return f"Tested under load: {names}. Everything else was looked at as it is."


def as_reason(result: dict[str, Any], least: str = "info") -> str:
    """For a scheduler: the gravest finding in one line of plain characters, tagged as ours."""
    bad = gating(result, least)
    if not bad:
        return f"{TAG} ok"
    first = bad[0]
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    text = f"{TAG} {first['check']} {first['status']}: {first['seen']}; {first['action']}{more}"
    plain = "".join(c if 32 <= ord(c) < 127 and c not in "\"'\\`$|;" else " " for c in text)
    return " ".join(plain.split())[:_REASON]


def as_nagios(result: dict[str, Any]) -> tuple[str, int]:
    """For Nagios: its line and its status; info and low findings are a warning."""
    bad = gating(result)
    failed = [f for f in bad if f["status"] == FAIL]
    word = "ok"
    if any(SEVERITIES.index(f["severity"]) >= SEVERITIES.index("medium") for f in failed):
        word = "critical"
    elif any(f["status"] == UNKNOWN for f in bad) or (not bad and result["status"] != PASS):
        word = "unknown"
    elif failed:
        word = "warning"
    counts = result["counts"]
    numbers = " ".join(f"{name}={counts[name]}" for name in (PASS, FAIL, UNKNOWN))
    said = as_reason(result).removeprefix(TAG).strip() if bad else f"{counts[PASS]} checks pass"
    return f"HOLDFAST {word.upper()} - {said} | {numbers}\n", NAGIOS[word]


MAX_AGE_S = 900.0
"""Three runs of the timer as it ships: one may be late, one may be lost."""


def samples(
    result: dict[str, Any], max_age: float = MAX_AGE_S
) -> dict[str, list[tuple[str, float]]]:
    """A result as numbers: for each of `METRICS` its samples, each with its labels.

    Args:
        result: the result document.
        max_age: seconds after which it does not count any more.
    """
    node, counts = f'node="{_label(result["node"])}"', result["counts"]
    checks = [
        f'check="{_label(f["check"])}",status="{f["status"]}",severity="{f["severity"]}",'
        f'action="{f["action"]}",{node}'
        for f in result["findings"]
    ]
    return {
        "last_run_timestamp_seconds": [(node, result["ended"])],
        "valid_until_timestamp_seconds": [(node, result["ended"] + max_age)],
        "duration_seconds": [(node, result["ended"] - result["started"])],
        "cpu_seconds": [(node, result["cost"]["cpu_s"])],
        "healthy": [(node, result["status"] == PASS)],
        "left_behind": [(node, len(result["left_behind"]))],
        "findings": [(f'status="{status}",{node}', number) for status, number in counts.items()],
        "check": [(labels, 1) for labels in checks],
    }


def as_textfile(result: dict[str, Any], max_age: float = MAX_AGE_S) -> str:
    """For Prometheus' textfile collector."""
    lines = []
    for name, found in samples(result, max_age).items():
        lines.append(f"# HELP holdfast_audit_{name} {METRICS[name]}")
        lines.append(f"# TYPE holdfast_audit_{name} gauge")
        for labels, value in found:
            lines.append(f"holdfast_audit_{name}{{{labels}}} {float(value):.3f}")
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def stale(result: dict[str, Any], most_s: float) -> str:
    """Why a kept result is too old to be believed, or nothing."""
    age = time.time() - float(result["ended"])
    if age > most_s or age < -60:
        return f"the last audit ended {age:.0f} s ago, more than {most_s:.0f} s"
    return ""

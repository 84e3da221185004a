"""Reads what programs that test GPUs under load print: dcgmi, nvbandwidth and nccl-tests.

What is not whole, or of another shape than these programs document, is an error and never a result.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from provision.health.probes.ask import Failed

_LINE = 300
_COLUMNS = ("time", "algbw", "busbw", "#wrong")


def diag(text: str, wanted: Sequence[str]) -> dict[str, Any]:
    """What ``dcgmi diag -j`` of DCGM 4 says.

    Args:
        text: its whole answer.
        wanted: the tests that have to be in it.

    Returns:
        `version` of DCGM; `serials`, the serial number by DCGM's number of each GPU; `tests`, for
        each one by the GPU's number its status (Pass, Fail, Warn, Skip) and what is said of it.

    Raises:
        Failed: it is not such an answer, or a test is missing.
    """
    document = _document(text, "dcgmi")
    told = document.get("DCGM Diagnostic")
    if not isinstance(told, dict):
        raise Failed("error", "the answer of dcgmi has no 'DCGM Diagnostic'; DCGM 4 is meant")
    if told.get("runtime_error"):
        raise Failed("error", f"dcgmi: {_line(str(told['runtime_error']))}")
    tests = {
        str(test["name"]).lower().replace(" ", "_"): test
        for category in told["test_categories"]
        for test in category["tests"]
    }
    absent = [name for name in wanted if name not in tests]
    if absent:
        raise Failed("error", f"dcgmi says nothing of the test {absent[0]}")
    return {
        "version": str((document.get("metadata") or {}).get("version") or ""),
        "serials": _serials(document),
        "tests": {name: _by_gpu(tests[name]) for name in wanted},
    }


def _serials(document: dict[str, Any]) -> dict[str, str]:
    return {
        str(entity["entity_id"]): str(entity["serial_num"])
        for group in document.get("entity_groups") or ()
        if group["entity_group"] == "GPU"
        for entity in group["entities"]
        if entity.get("serial_num")
    }


def _by_gpu(test: dict[str, Any]) -> dict[str, list[str]]:
    found = {}
    for result in test["results"]:
        if result["entity_group"] != "GPU":
            continue
        said = [str(w["warning"]) for w in result.get("warnings") or ()]
        said += [str(line) for line in result.get("info") or ()]
        found[str(result["entity_id"])] = [str(result["status"]), _line("; ".join(said))]
    return found


def bandwidths(text: str, wanted: str) -> list[list[float | None]]:
    """The matrix of one test of ``nvbandwidth -j``, in GB/s; None where there is no pair.

    Raises:
        Failed: the test did not pass, or the answer is not a whole one.
    """
    told = _document(text, "nvbandwidth")["nvbandwidth"]
    if told.get("error"):
        raise Failed("error", f"nvbandwidth: {_line(str(told['error']))}")
    for test in told.get("testcases") or ():
        if test["name"] != wanted:
            continue
        if test["status"] != "Passed":
            kind = "not_supported" if test["status"] == "Waived" else "error"
            raise Failed(kind, f"nvbandwidth says of {wanted}: {_line(str(test['status']))}")
        return [
            [None if cell == "N/A" else _number(cell, "nvbandwidth") for cell in row]
            for row in test["bandwidth_matrix"]
        ]
    raise Failed("error", f"nvbandwidth says nothing of {wanted}")


def _number(cell: object, program: str) -> float:
    value = float(str(cell))
    if not math.isfinite(value) or value < 0:
        # What took no time was not measured, and infinity is more than any number asks for.
        raise ValueError(f"{program} says {cell!r} for a bandwidth")
    return value


def reduced(text: str) -> dict[str, float]:
    """What ``all_reduce_perf`` says: `ranks`, least bus bandwidth `bus` in GB/s, `wrong` values.

    Raises:
        Failed: the table is missing or not whole.
    """
    lines = text.splitlines()
    columns = [line.lstrip("# ").split() for line in lines if line.startswith("#")]
    head = next((c for c in columns if c[:5] == ["size", "count", "type", "redop", "root"]), None)
    if head is None:
        raise Failed("error", f"all_reduce_perf printed no table: {_last(lines)}")
    times = head[5:].count("busbw")
    if not times or tuple(head[5:]) != _COLUMNS * times:
        raise Failed("error", f"the table of all_reduce_perf has other columns: {' '.join(head)}")
    if not any(re.match(r"# Avg bus bandwidth\s*:", line) for line in lines):
        raise Failed("truncated", f"the table of all_reduce_perf ends early: {_last(lines)}")
    rows = [row for row in (line.split() for line in lines) if row and row[0].isdigit()]
    if not rows or any(len(row) != len(head) for row in rows):
        raise Failed("error", f"a row of all_reduce_perf has other columns: {_last(lines)}")
    first = range(5, len(head), len(_COLUMNS))
    bus = [_number(row[at + 2], "all_reduce_perf") for row in rows for at in first]
    wrong = [_wrong(row[at + 3]) for row in rows for at in first]
    out = re.search(r"(?m)^# Out of bounds values : (\d+)", text)
    ranks = sum(1 for line in lines if re.match(r"#\s+Rank\s+\d+\s", line))
    return {"ranks": ranks, "bus": min(bus), "wrong": sum(wrong) + (int(out[1]) if out else 0)}


def _wrong(cell: str) -> int:
    if not cell.isdigit():
        raise Failed("error", f"all_reduce_perf did not compare its results: #wrong is {cell}")
    return int(cell)


def _document(text: str, program: str) -> dict[str, Any]:
    """The JSON object in an answer; lines before it are the program's own remarks."""
    at = text.find("{")
    if at < 0:
        said = _last(text.splitlines()) or "nothing"
        raise Failed("error", f"{program} said no JSON: {said}")
    try:
        found, _ = json.JSONDecoder().raw_decode(text[at:])
    except ValueError as error:
        raise Failed("truncated", f"the answer of {program} is not whole: {error}") from error
    if not isinstance(found, dict):
        raise Failed("error", f"{program} said JSON of another kind")
    return found


def _last(lines: list[str]) -> str:
    return next((_line(line) for line in reversed(lines) if line.strip()), "")


def _line(text: str) -> str:
    return " ".join(text.split())[:_LINE]

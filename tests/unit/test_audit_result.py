"""A result from a node is read as what it is: input of a stranger, who may lie."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from provision.checks import audit_result
from provision.checks.audit_result import MOST_BYTES, Refused, findings, known_checks, read
from provision.health.data_files import text
from provision.verdict.model import Status
from provision.verdict.text import clean
from tests.unit.fleet_support import raw, result

pytestmark = pytest.mark.slow

SCHEMA = jsonschema.Draft202012Validator(json.loads(text("result.schema.json")))


@pytest.mark.parametrize("kind", ["healthy", "lost", "two", "unknown"])
def test_a_real_result_is_read(kind):
    told = result(kind)
    SCHEMA.validate(told)
    found = read(raw(told), "n01")
    assert found.document == told
    assert found.missing == ()
    assert found.status.value == told["status"]


def small() -> dict[str, Any]:
    """A real result with few findings, so that each place in it can be changed."""
    told = result("two")
    kept = [f for f in told["findings"] if f["check"] in ("gpu.pcie.width", "host.kernel")]
    for finding in kept:
        finding["parts"] = finding["parts"][:3]
    told |= {"findings": kept, "probes": told["probes"][:1], "gpus": told["gpus"][:1]}
    behind = {"probe": "nvml", "pid": 7, "born": "9", "since": 1.0, "doing": "nvmlInit"}
    told["left_behind"] = [behind]
    counts = dict.fromkeys(told["counts"], 0)
    for finding in kept:
        counts[finding["status"]] += 1
    return {**told, "counts": counts, "notes": ["a note"], "status": "fail"}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from places(value[index], (*path, index))


def mutants() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every place of a result with something else in it, without it, and with more in it."""
    whole = small()
    for path in places(whole):
        if not path:
            continue
        for other in (None, True, False, "x", 7, 1.5, [], {}, [None], {"x": 1}):
            told = copy.deepcopy(whole)
            holder = told
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = other
            yield f"{path} = {other}", told
        told = copy.deepcopy(whole)
        holder = told
        for step in path[:-1]:
            holder = holder[step]
        if isinstance(holder, dict):
            value = holder.pop(path[-1])
            yield f"without {path}", copy.deepcopy(told)
            holder[path[-1]] = value
            holder["more"] = 1
            yield f"more beside {path}", told


def test_the_reader_and_the_published_schema_say_the_same():
    """What the schema refuses is refused; what it allows has a shape that is read."""
    wrong, seen = [], {True: 0, False: 0}
    for name, told in mutants():
        valid = SCHEMA.is_valid(told)
        seen[valid] += 1
        try:
            audit_result._READER.validate_json(raw(told))
            shaped = True
        except ValueError:
            shaped = False
        try:
            read(raw(told), "n01")
            taken = True
        except Refused:
            taken = False
        if (valid and not shaped) or (taken and not valid):
            wrong.append((name, valid, shaped, taken))
    assert wrong == []
    assert min(seen.values()) > 20


def lie(told: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**told, **changes}


def without_failures(told: dict[str, Any]) -> dict[str, Any]:
    found = [f for f in told["findings"] if f["status"] != "fail"]
    return {**told, "findings": found}


def passing_part(told: dict[str, Any]) -> dict[str, Any]:
    told = copy.deepcopy(told)
    finding = next(f for f in told["findings"] if f["status"] == "pass" and f["parts"])
    finding["parts"][0]["status"] = "fail"
    return told


LIES = {
    "of another node": (lambda t: lie(t, node="n02"), "of the node 'n02', not of 'n01'"),
    "a status too good": (lambda t: lie(t, status="pass"), "the findings say fail"),
    "counts too good": (
        lambda t: lie(t, counts={**t["counts"], "fail": 0}), "counts are not those"),
    "failures left out": (without_failures, "counts are not those"),
    "a check twice": (lambda t: lie(t, findings=t["findings"] * 2), "is there twice"),
    "a part that fails in a check that passes": (passing_part, "though a part of it does not"),
    "ended before it started": (lambda t: lie(t, ended=t["started"] - 5), "would have taken"),
    "took a year": (lambda t: lie(t, ended=t["started"] + 3e7), "would have taken"),
    "no number": (lambda t: lie(t, ended=float("nan")), "not a result at 'ended'"),
    "endless": (lambda t: lie(t, started=float("-inf")), "not a result at 'started'"),
    "many GPUs": (lambda t: lie(t, gpus=t["gpus"] * 9), "more than 64 GPUs"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_result_that_lies_is_refused(name):
    change, says = LIES[name]
    with pytest.raises(Refused) as refused:
        read(raw(change(result("two"))), "n01")
    assert says in str(refused.value)


def test_too_many_parts_are_refused():
    told = result()
    part = {"entity": "x", "status": "pass", "seen": ""}
    told["findings"][0]["parts"] = [part] * audit_result.MOST_PARTS
    with pytest.raises(Refused, match="findings and parts"):
        read(raw(told), "n01")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"schema": "holdfast.health/1", "node": "n0',
        b"[" * 100_000,
        b'{"schema": "holdfast.health/1", "node": "\\ud800"}',
        b'{"schema": "\\u001b[2J\\u202e"}',
        b'{"\\u001b]0;x\\u0007": 1}',
    ],
    ids=["empty", "null", "list", "open", "no-text", "cut", "deep", "surrogate", "escape", "key"],
)
def test_what_is_no_result_is_refused_in_words_that_are_safe(sent):
    with pytest.raises(Refused) as refused:
        read(sent, "n01")
    said = str(refused.value)
    assert said == clean(said)
    assert "\n" not in said
    assert len(said) < 300


def test_a_large_answer_is_not_even_read():
    with pytest.raises(Refused, match="bytes"):
        read(b" " * (MOST_BYTES + 1), "n01")


def test_checks_without_a_result_make_a_node_unknown():
    """A node that leaves out what fails, or has an older audit, proves less."""
    told = result("healthy")
    told["findings"] = told["findings"][1:]
    told["counts"]["pass"] -= 1
    found = read(raw(told), "n01")
    assert found.missing == known_checks()[:1]
    assert found.status is Status.UNKNOWN
    more = findings(found, "audit.")[-1]
    assert (more.check, more.status) == ("audit.audit.whole", Status.UNKNOWN)
    assert known_checks()[0] in more.seen


def test_findings_carry_what_to_do_and_what_clears():
    found = findings(read(raw(result("two")), "n01"), "audit.")
    assert len(found) == len(known_checks())
    width = next(f for f in found if f.check == "audit.gpu.pcie.width")
    assert width.node == "n01"
    assert width.status is Status.FAIL
    assert width.seen
    assert width.action
    assert width.clears
    assert width.title[0].isupper()
    passing = next(f for f in found if f.status is Status.PASS)
    assert (passing.action, passing.clears) == ("", "")
    only = findings(read(raw(result("two")), "n01"), gating_only=True)
    assert {f.check for f in only} == {"gpu.pcie.width", "gpu.temperature.core"}

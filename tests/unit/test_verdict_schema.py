"""The verdict on disk: schema, reader, and old versions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError
from provision.verdict import schema
from provision.verdict.model import SCHEMA, Finding, NodeSummary, Severity, Status, Verdict
from tests.data.sample_verdict import hostile, sample

DATA = Path(__file__).parent.parent / "data"


@pytest.mark.parametrize(
    "made",
    [
        sample(2),
        sample(9),
        sample(9, positions=False),
        hostile(),
        Verdict("verify", "", "", (), ()),
    ],
)
def test_what_is_written_fits_the_published_schema(made: Verdict) -> None:
    validator = jsonschema.Draft202012Validator(schema.json_schema())
    assert list(validator.iter_errors(json.loads(schema.to_text(made)))) == []


LATER = {"rules"}
"""What the first verdicts of this version of the schema did not have."""


def test_published_schema_has_not_drifted_from_the_model() -> None:
    published = schema.json_schema()
    jsonschema.Draft202012Validator.check_schema(published)
    document = sample(2).to_json()
    parts = published["$defs"]
    for described, written in (
        (published, document),
        (parts["node"], document["nodes"][0]),
        (parts["finding"], document["findings"][0]),
        (published["properties"]["counts"], document["counts"]),
    ):
        assert list(described["properties"]) == list(written)
        assert described["required"] == [key for key in written if key not in LATER]
    assert published["properties"]["schema"]["const"] == SCHEMA
    assert parts["status"]["enum"] == [s.value for s in Status]
    assert parts["severity"]["enum"] == [s.value for s in Severity]
    assert list(parts["finding"]["properties"]) == [f.name for f in dataclasses.fields(Finding)]
    node = [f.name for f in dataclasses.fields(NodeSummary)]
    assert list(parts["node"]["properties"]) == [*node, "status"]


@pytest.mark.parametrize("made", [sample(2), sample(9), sample(9, positions=False)])
def test_reading_gives_back_what_was_written(made: Verdict) -> None:
    assert schema.from_json(schema.to_text(made)) == made


def test_bytes_that_are_not_utf8_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    path.write_text(schema.to_text(hostile()), encoding="utf-8")
    assert schema.read_verdict(path).status is Status.FAIL


@pytest.mark.parametrize("version", [1])
def test_published_versions_stay_readable(version: int) -> None:
    made = schema.read_verdict(DATA / f"verdict-{version}.json")
    assert made.rack == "lab-a"
    assert made.status is Status.FAIL
    assert made.counts() == {"pass": 1, "fail": 1, "waived": 1, "not_applicable": 1, "unknown": 1}
    assert made.findings[1].severity is Severity.CRITICAL
    assert made.findings[1].seen == "HTTP 503\nLoading model"


def broken(**changes: Any) -> str:
    return json.dumps({**sample(2).to_json(), **changes})


def refused(text: str) -> HoldfastError:
    with pytest.raises(HoldfastError) as caught:
        schema.from_json(text, "verdict.json")
    assert caught.value.exit_code is ExitCode.USAGE
    assert all(p.where == "verdict.json" for p in caught.value.problems)
    return caught.value


def test_unknown_keys_are_passed_over() -> None:
    assert schema.from_json(broken(newer={"a": 1})) == sample(2)


@pytest.mark.parametrize("version", ["holdfast.verdict/2", None, 1, ["holdfast.verdict/1"]])
def test_unknown_versions_are_refused(version: object) -> None:
    problem = refused(broken(schema=version)).problems[0]
    assert problem.code == "unknown-schema"
    assert SCHEMA in problem.message
    assert problem.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\x00"])
def test_what_is_no_verdict_is_refused(text: str) -> None:
    assert refused(text).problems[0].code in {"not-json", "unknown-schema"}


def test_every_mistake_is_reported_with_its_place() -> None:
    document = sample(2).to_json()
    document["findings"][3]["status"] = "passed"
    document["findings"][5]["seconds"] = "long"
    del document["nodes"][1]["name"]
    text = str(refused(json.dumps(document)))
    assert "findings[3].status" in text
    assert "findings[5].seconds" in text
    assert "nodes[1].name" in text


def test_values_are_not_guessed() -> None:
    document = sample(2).to_json()
    document["findings"][0]["seconds"] = "3"
    document["rehearsal"] = "yes"
    assert len(refused(json.dumps(document)).problems) == 2


def test_a_file_cannot_claim_what_its_findings_deny() -> None:
    read = schema.from_json(broken(status="pass", counts={}, missing=[]))
    assert read.status is Status.FAIL


def test_missing_file_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError) as caught:
        schema.read_verdict(tmp_path / "none.json")
    assert [p.code for p in caught.value.problems] == ["unreadable"]

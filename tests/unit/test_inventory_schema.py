"""The published JSON Schema and the reference page: up to date, and true."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from provision.rack import reference, schema
from provision.rack.variables import CONNECTION, VARIABLES

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = yaml.safe_load((ROOT / "inventory.example.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def validator() -> Any:
    text = (ROOT / "provision" / "rack" / "inventory.schema.json").read_text(encoding="utf-8")
    body = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(body)
    return jsonschema.Draft202012Validator(body)


def test_the_schema_is_up_to_date():
    path = ROOT / "provision" / "rack" / "inventory.schema.json"
    assert path.read_text(encoding="utf-8") == schema.published(), "run `make docs`"


def test_the_reference_page_is_up_to_date():
    path = ROOT / "docs" / "reference" / "inventory.md"
    assert path.read_text(encoding="utf-8") == reference.page(), "run `make docs`"


def test_the_reference_page_names_every_variable():
    page = reference.page()
    for name in [v.name for v in VARIABLES] + list(CONNECTION):
        assert f"`{name}`" in page


def test_the_example_fits(validator: Any):
    assert [e.message for e in validator.iter_errors(EXAMPLE)] == []


def test_every_default_and_example_is_valid():
    for variable in VARIABLES:
        if "AAAA..." not in variable.example:
            variable.adapter.validate_python(yaml.safe_load(variable.example))
        if variable.default.startswith("{"):
            variable.adapter.validate_python(yaml.safe_load(variable.default))


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda all_: all_["vars"].update(holdfast_rak="x"),
        lambda all_: all_["vars"].update(holdfast_rack="Lab A"),
        lambda all_: all_["vars"].update(holdfast_waves={"sizes": []}),
        lambda all_: all_["vars"].update(holdfast_waves={"sizes": [0]}),
        lambda all_: all_["vars"].update(holdfast_waves={"size": [1]}),
        lambda all_: all_["vars"].update(holdfast_api_key="the key itself"),
        lambda all_: all_.update(host={}),
        lambda all_: all_["children"]["gpu"].update(hosts=["gpu-01"]),
        lambda all_: all_["children"]["gpu"]["vars"].update(holdfast_rack="lab-b"),
        lambda all_: all_["children"]["gpu"]["vars"].update(holdfast_kind="metall"),
        lambda all_: all_["children"]["gpu"]["vars"]["holdfast_inference"].pop("model"),
        lambda all_: all_["children"]["gpu"]["vars"]["holdfast_inference"].update(port="8443"),
        lambda all_: all_["children"]["gpu"]["hosts"]["gpu-01"].update(holdfast_position=12),
        lambda all_: all_["children"]["gpu"]["hosts"]["gpu-01"].update(holdfast_host_keys=["x"]),
    ],
)
def test_bad_inventories_do_not_fit(validator: Any, change: Change):
    body = copy.deepcopy(EXAMPLE)
    change(body["all"])
    assert list(validator.iter_errors(body))


@pytest.mark.parametrize("body", [{}, [], None, {"plugin": "x"}, {"holdfast_rack": "a"}])
def test_what_is_no_inventory_does_not_fit(validator: Any, body: object):
    assert list(validator.iter_errors(body))

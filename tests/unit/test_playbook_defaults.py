"""A default that stands in the inventory's model must be the one that plain ansible applies."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from provision.core.paths import data_dir, playbook
from provision.rack.model import Audit, Inference

MAPPED = re.compile(r"holdfast_inference\.(?P<field>\w+) \| default\((?P<value>[^)]*)\)")


def _model_default(field: str) -> object:
    return Inference.model_fields[field].default


def test_the_playbook_maps_the_models_own_defaults() -> None:
    text = (playbook("site").parent / "vars/inference.yml").read_text()
    found = {m["field"]: yaml.safe_load(m["value"]) for m in MAPPED.finditer(text)}
    assert {"port", "context", "parallel", "max_tokens"} <= set(found)
    optional = {name for name, field in Inference.model_fields.items() if not field.is_required()}
    compared = {name: value for name, value in found.items() if name in optional}
    assert compared == {name: _model_default(name) for name in compared}


def test_the_role_alone_has_the_same_defaults() -> None:
    role = yaml.safe_load((Path(data_dir("roles")) / "inference/defaults/main.yml").read_text())
    for field in ("port", "context", "parallel", "max_tokens"):
        assert role[f"inference_{field}"] == _model_default(field), field


def test_the_audit_runs_as_often_under_plain_ansible() -> None:
    text = playbook("site").read_text()
    usual = re.search(
        r"holdfast_audit \| default\(\{\}\)\)\.every_minutes \| default\((\d+)\)", text
    )
    assert usual is not None
    assert int(usual[1]) == Audit().every_minutes
    role = yaml.safe_load((Path(data_dir("roles")) / "health_audit/defaults/main.yml").read_text())
    assert role["health_audit_every_minutes"] == Audit().every_minutes
    # Whoever has GPUs has it, where nobody says otherwise.
    assert "enabled | default(holdfast_hardware.gpus is defined)" in text
    assert Audit().enabled is None

"""Definitions of images: ours are right, and every bad one is told where it stands."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from provision.cli.main import main
from provision.image.definition import Definition
from provision.image.fitting import resolution_of
from provision.image.load import load, ours, read
from provision.image.roles import offline_roles
from provision.image.schema import json_schema, published
from tests.unit.image_definitions import MINIMAL, definition

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests/data/bad_images"
CASES = sorted(FOLDER.glob("*.yml"))
EXPECT = re.compile(r"# expect: (\S+) (\d+):(\d+) (.*)")


def test_ours_are_right():
    assert set(ours()) == {"gpu-node", "inference-node", "head-node"}
    for path in ours().values():
        found, problems = read(path)
        assert not problems
        assert found is not None
        assert found.name == path.stem


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_bad_definition(path: Path, capsys: pytest.CaptureFixture[str]):
    wanted = [m for m in map(EXPECT.fullmatch, path.read_text().splitlines()) if m]
    assert wanted
    assert main(["image", "list", str(path), "--json"]) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    found = sorted((p["code"], p["file"], p["line"], p["column"]) for p in problems)
    assert found == sorted((m[1], str(path), int(m[2]), int(m[3])) for m in wanted)
    for match in wanted:
        said = " ".join(f"{p['message']} {p['hint']}" for p in problems)
        assert match[4] in said


def test_every_bad_one_is_right_but_for_its_mistake(tmp_path):
    """The same file without a mistake is taken, so each finding comes of the mistake alone."""
    good = tmp_path / "node.yml"
    good.write_text(yaml.safe_dump({"schema": 1, **MINIMAL}), encoding="utf-8")
    assert load(good).definition.name == "node"


def test_an_unknown_name_is_told_the_nearest(capsys: pytest.CaptureFixture[str]):
    assert main(["image", "build", "gpu-nod"]) == 2
    assert "did you mean 'gpu-node'?" in capsys.readouterr().err


def test_the_published_schema_is_this_one():
    path = ROOT / "provision/image/image.schema.json"
    assert path.read_text(encoding="utf-8") == published()
    Draft202012Validator.check_schema(json_schema())


def test_the_schema_takes_ours_and_refuses_what_it_can():
    judge = Draft202012Validator(json_schema())
    for path in ours().values():
        # Dates are text in JSON.
        body = json.loads(json.dumps(yaml.safe_load(path.read_text()), default=str))
        assert list(judge.iter_errors(body)) == []
        assert list(judge.iter_errors({**body, "formats": ["iso"]}))
        assert list(judge.iter_errors({**body, "roles": {"base": {"firewal": True}}}))


def test_one_definition_has_one_digest():
    other = definition(roles={"hardening": {}, "base": {}})
    assert other.digest == definition(roles={"base": {}, "hardening": {}}).digest
    assert other.digest != definition(roles={"hardening": {}}).digest


def test_time_stamps_follow_from_the_date():
    assert definition(date=date(1970, 1, 3)).epoch == 2 * 24 * 3600


@pytest.mark.parametrize(
    ("roles", "gpus", "traits"),
    [
        ({}, False, set()),
        ({"container_runtime": {}}, False, {"containers"}),
        ({"model_store": {}}, True, {"inference", "gpu"}),
        ({"gpu_driver": {}}, False, {"gpu"}),
    ],
)
def test_overlays_see_what_a_node_will_be(roles: dict[str, Any], gpus: bool, traits: set[str]):
    assert definition(roles=roles, gpus=gpus).traits == traits


def test_a_profile_is_resolved_for_an_image():
    found = resolution_of(definition())
    assert found.target.kind == "image"
    assert len(found.applied) > 100
    rehearsed = resolution_of(definition(base="rehearsal"))
    # Debian has no policy of SELinux; nothing else is different.
    gone = {one.control.id for one in found.applied} - {one.control.id for one in rehearsed.applied}
    assert gone
    assert all("selinux" in name for name in gone)


def test_every_role_with_an_offline_mode_can_configure_an_image():
    """A new role that has one is not forgotten in the order in which they run."""
    specs = (yaml.safe_load(p.read_text()) for p in ROOT.glob("roles/*/meta/argument_specs.yml"))
    names = {
        option.removesuffix("_offline")
        for spec in specs
        for option in spec["argument_specs"]["main"]["options"]
        if option.endswith("_offline")
    }
    # preflight looks at a node that runs.
    assert names - {"preflight"} == set(offline_roles())


def test_a_format_less_is_no_mistake(tmp_path, capsys: pytest.CaptureFixture[str]):
    """`--format raw` of an image with a verity root leaves the root's proof without effect."""
    del tmp_path
    assert main(["image", "build", "gpu-node", "--format", "raw", "--until", "nonsense"]) == 3
    assert "there is no stage 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["build", "gpu-node", "--baselines", "absent"], "there is no folder absent"),
        (["build", "gpu-node", "--privileged", "absent"], "there is no absent"),
        (["build", "gpu-node", "--canaries", "absent"], "absent cannot be read: No such file"),
        (["diff", "a", "b", "--html", "absent/page.html"], "absent/page.html cannot be written"),
    ],
)
def test_a_file_that_is_not_there_is_said_before_any_work(
    words, says, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["image", *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert words[-2] in said


def test_a_model_is_validated_as_strictly_as_an_inventory():
    with pytest.raises(ValueError, match="gpus"):
        Definition.model_validate({**MINIMAL, "date": "2026-11-23", "gpus": "yes"})

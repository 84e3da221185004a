"""The way of controls from a rack to its nodes' module."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provision.core.problems import HoldfastError
from provision.engine.controls import controls_of, digest, variables, write_controls
from provision.policy.load import load_policy
from provision.policy.resolve import render, resolve
from provision.rack.model import Waiver
from tests.unit.engine_support import node, rack, serving
from tests.unit.roles_support import plugin

PACKAGES = plugin("filter", "controls").control_packages


@pytest.fixture(scope="module")
def policy():
    return load_policy()


@pytest.fixture
def hardened(tmp_path):
    nodes = (node("n1"), node("n2"), node("n3", kind="container", inference=serving()))
    return rack(tmp_path).model_copy(update={"profile": "cis_l1_server", "nodes": nodes})


def test_nodes_that_get_the_same_share_a_file(hardened, policy, tmp_path):
    files = write_controls(hardened, policy, tmp_path / "controls")
    assert set(files) == {"n1", "n2", "n3"}
    assert files["n1"] == files["n2"]
    assert files["n1"]["el10"] != files["n3"]["el10"]
    assert files["n1"]["el10"] != files["n1"]["el9"]
    assert (tmp_path / "controls").stat().st_mode & 0o777 == 0o700
    body = json.loads(Path(files["n1"]["el10"]).read_text(encoding="utf-8"))
    assert body == controls_of(hardened, policy, hardened.node("n1"), "el10")
    assert {control["phase"] for control in body} >= {"hardening", "access"}
    assert variables(files) == {"engine_controls": files}


def test_a_rack_without_a_profile_has_none(tmp_path, policy):
    plain = rack(tmp_path)
    assert write_controls(plain, policy, tmp_path / "controls") == {}
    assert not (tmp_path / "controls").exists()
    assert digest(plain, policy) is None
    assert variables({}) == {}


def test_the_digest_follows_what_nodes_get(hardened, policy):
    before = digest(hardened, policy)
    part = hardened.model_copy(update={"nodes": hardened.nodes[:1]})
    assert digest(part, policy) == before, "a resume may be for some nodes only"
    waiver = Waiver.model_validate(
        {
            "control": "sshd-no-root-login",
            "reason": "not before May",
            "owner": "o",
            "expires": "2099-01-01",
        },
        strict=False,
    )
    assert digest(hardened.model_copy(update={"waivers": (waiver,)}), policy) != before


def test_a_release_without_controls_is_named(hardened, policy):
    with pytest.raises(HoldfastError, match="no controls for el8"):
        controls_of(hardened, policy, hardened.node("n1"), "el8")


@pytest.mark.parametrize("profile", ["cis_l1_server", "cis_l2_server", "stig"])
@pytest.mark.parametrize("release", ["el9", "el10"])
@pytest.mark.parametrize("kind", ["metal", "container"])
def test_every_rendered_resource_is_one_that_the_module_takes(policy, profile, release, kind):
    from provision.policy.resolve import Selection, Target

    check = plugin("module_utils.hardening", "base").problems
    types = plugin("module_utils.hardening", "registry").TYPES
    resolution = resolve(policy, Selection(profile), Target(release, kind))
    wrong = [
        (item.control.id, what)
        for item in resolution.applied
        for resource in render(item)["resources"]
        for what in check(resource["type"], types[resource["type"]].schema, resource)
    ]
    assert wrong == []
    assert len(resolution.applied) > 50


def test_packages_are_asked_for_by_phase_and_state():
    controls = [
        {"id": "a", "resources": [{"type": "package", "name": "x"}]},
        {"id": "b", "resources": [{"type": "package", "name": "y", "state": "absent"}]},
        {"id": "c", "phase": "access", "resources": [{"type": "package", "name": "z"}]},
    ]
    assert PACKAGES(controls, "hardening") == ["x"]
    assert PACKAGES(controls, "hardening", "absent") == ["y"]
    assert PACKAGES(controls, "access") == ["z"]

"""What an inventory asks for and its lock lacks: said when no release of the lock has it."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from provision.cli.inputs import load_rack
from provision.core.problems import HoldfastError
from provision.policy.load import load_policy
from provision.policy.resources import Package
from provision.rack.known import Objection, Security
from provision.rack.model import Gpu, Gpus, Hardware, Inference, Node
from provision.supply import demands
from provision.supply.model import StackLock
from tests.unit.gpu_support import EXAMPLE, ROOT, gpu_lock, without_units

H100 = Gpus(model="NVIDIA H100 80GB HBM3", pci_id="10de:2330", count=8)
SERVES = Inference(
    engine="llama_cpp", model="tiny", image="llama-cpp", port=8443, allow_from=("192.0.2.0/24",)
)


@functools.cache
def policy():
    return load_policy()


def node(**more: Any) -> Node:
    """A node with GPUs that asks for nothing else."""
    plain = {"hardware": Hardware(gpus=H100), "gpu": Gpu(dcgm=False)}
    return Node(name="n1", address="192.0.2.11", **{**plain, **more})


def judged(lock: dict[str, Any], *nodes: Node, profile: str = "none") -> list[Objection]:
    """What is objected to."""
    parsed = StackLock.model_validate_json(json.dumps(lock))
    return list(demands.judge_with(parsed, policy())(Security(profile, (), (), nodes)))


def codes(lock: dict[str, Any], *nodes: Node, profile: str = "none") -> list[str]:
    return [found.code for found in judged(lock, *nodes, profile=profile)]


def without(lock: dict[str, Any], *names: str, el: str | None = None) -> dict[str, Any]:
    """A lock without some packages, in one release or in all."""
    gone = [r for r in lock["rpms"] if r["name"] in names and el in (None, r["el"])]
    assert {r["name"] for r in gone} == set(names)
    return {**lock, "rpms": [r for r in lock["rpms"] if r not in gone]}


def spoilt(**unit: Any) -> dict[str, Any]:
    """A lock whose unit is changed so."""
    lock = gpu_lock()
    lock["gpu"][0].update(unit)
    return lock


def test_a_lock_that_installs_nothing_anywhere_is_objected_to_by_every_profile():
    """No release to judge by is no release in which all is there."""
    bare = {**gpu_lock(), "repositories": [], "rpms": []}
    plain = node(hardware=None, gpu=None)
    (found,) = judged(bare, plain, profile="cis_l1_server")
    assert (found.code, found.at) == ("missing-packages", ("profile",))
    assert "no repository" in found.message
    assert judged(bare, plain) == []


class TestGpus:
    def test_a_unit_for_any_release_is_one(self):
        assert codes(gpu_lock(), node()) == []
        assert codes(without_units(), node()) == ["no-gpu-unit"]
        assert codes(without_units(), node(hardware=None, gpu=None)) == []

    def test_the_objection_is_about_the_node(self):
        (found,) = judged(without_units(), node(hardware=None), node().model_copy(
            update={"name": "n2"}))  # fmt: skip
        assert (found.node, found.at) == ("n2", ("hardware", "gpus"))
        assert "8 x NVIDIA H100 80GB HBM3" in found.message

    @pytest.mark.parametrize(
        ("lock", "gpu", "code", "at"),
        [
            (spoilt(fabric_manager=None), {"fabric": "nvswitch"}, "no-fabric-manager", "fabric"),
            (gpu_lock(), {"toolkit": True}, "no-toolkit", "toolkit"),
            (without(gpu_lock(), "datacenter-gpu-manager-4-core"), {"dcgm": True}, "no-dcgm",
             "dcgm"),
        ],
    )  # fmt: skip
    def test_a_part_that_is_not_there_is_wanted_only_where_it_is_asked_for(
        self, lock, gpu, code, at
    ):
        asks = node(gpu=Gpu(**{"dcgm": False, **gpu}))
        (found,) = judged(lock, asks)
        assert (found.code, found.at) == (code, ("gpu", at))
        assert found.hint
        assert codes(lock, node()) == []

    def test_dcgm_is_wanted_where_nothing_is_said(self):
        (found,) = judged(without(gpu_lock(), "datacenter-gpu-manager-4-core"), node(gpu=None))
        assert (found.code, found.at) == ("no-dcgm", ("hardware", "gpus"))

    def test_the_unit_of_another_release_will_do(self):
        lock = json.loads(EXAMPLE.read_text())
        wants = node(gpu=Gpu(fabric="nvswitch"))
        assert codes(lock, wants) == []
        lock["gpu"][1]["fabric_manager"] = None
        assert codes(lock, wants) == []
        lock["gpu"][0]["fabric_manager"] = None
        assert codes(lock, wants) == ["no-fabric-manager"]

    def test_an_image_that_the_driver_runs_on_other_gpus_only(self):
        lock = spoilt()
        lock["images"][0]["cuda"] = {"version": "13.1", "forward": True}
        lock["gpu"][0]["driver"] = "570.195.03"
        served = {"inference": SERVES}
        assert codes(lock, node(**served)) == []
        card = H100.model_copy(update={"model": "NVIDIA GeForce RTX 4090"})
        (found,) = judged(lock, node(hardware=Hardware(gpus=card), **served))
        assert (found.code, found.at) == ("driver-too-old", ("inference", "image"))
        assert codes(lock, node(hardware=Hardware(gpus=card))) == []


class TestPackages:
    def test_the_example_has_what_every_profile_wants(self, tmp_path):
        text = (ROOT / "inventory.example.yml").read_text()
        lock = "tests/data/example/stack.lock.json"
        (tmp_path / lock).parent.mkdir(parents=True)
        (tmp_path / lock).write_text(EXAMPLE.read_text())
        for profile in policy().profiles:
            line = f"holdfast_profile: {profile}"
            path = tmp_path / f"{profile}.yml"
            path.write_text(text.replace("holdfast_profile: cis_l1_server", line))
            assert line in path.read_text()
            try:
                load_rack(path)
            except HoldfastError as error:
                pytest.fail("\n".join(p.render() for p in error.problems))

    def test_only_what_no_release_has_is_said(self):
        lock = json.loads(EXAMPLE.read_text())
        plain = node(hardware=None, gpu=None)
        assert codes(lock, plain, profile="cis_l1_server") == []
        lock = without(lock, "aide", el="9")
        assert codes(lock, plain, profile="cis_l1_server") == []
        lock = without(lock, "aide", "systemd-journal-remote", el="10")
        (found,) = judged(lock, plain, plain, profile="cis_l1_server")
        assert (found.code, found.at, found.node) == ("missing-packages", ("profile",), None)
        assert found.message.endswith("not on EL 9 x86_64 either: aide")
        assert codes(lock, plain) == []

    def test_what_no_role_installs_is_not_there(self):
        lock = json.loads(EXAMPLE.read_text())
        for rpm in lock["rpms"]:
            rpm["roles"] = [] if rpm["name"] == "aide" else rpm["roles"]
        plain = node(hardware=None, gpu=None)
        assert codes(lock, plain, profile="cis_l1_server") == ["missing-packages"]

    def test_an_unknown_profile_is_for_another_judge(self):
        assert codes(json.loads(EXAMPLE.read_text()), profile="none_such") == []
        assert codes(without_units(), node(), profile="none_such") == ["no-gpu-unit"]

    def test_what_every_installation_has_is_wanted_by_some_control(self):
        wanted = {
            resource.name
            for control in policy().controls.values()
            for resource in control.resources
            if isinstance(resource, Package) and resource.state == "present"
        }
        assert wanted >= demands.MINIMAL


def test_both_kinds_come_with_everything_else(tmp_path: Path):
    text = (ROOT / "inventory.example.yml").read_text()
    text = text.replace("tests/data/example/", "").replace("unit: 40", "unit: 99")
    (tmp_path / "inventory.yml").write_text(text)
    lock = without(without_units(), "aide")
    (tmp_path / "stack.lock.json").write_text(json.dumps(lock))
    with pytest.raises(HoldfastError) as raised:
        load_rack(tmp_path / "inventory.yml")
    found = [(p.code, p.position.line) for p in raised.value.problems if p.position]
    said = {code for code, _ in found}
    assert said >= {"missing-packages", "no-gpu-unit"}
    lines = text.splitlines()
    assert [lines[n - 1].strip() for code, n in found if code == "missing-packages"] == [
        "holdfast_profile: cis_l1_server"
    ]
    # One line, although eight nodes have it from there.
    assert len([code for code, _ in found if code == "no-gpu-unit"]) == 1

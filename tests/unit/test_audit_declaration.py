"""What the audit is told to expect: each part follows from a declaration, and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.checks import audit_expected
from provision.checks.audit_expected import Platform, expectations
from provision.cli.inputs import load_rack
from provision.engine.audit import write_audit
from provision.health.expect import SHAPE, read
from provision.health.words import FAIL, PASS
from tests.unit.gpu_support import DRIVER, KERNEL, gpu_lock
from tests.unit.health_support import one, recorded

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINVjUhXnfFQ+/h3IrFCJ7TbKTwCwSOhf+6+yUgvGlS55"
H100: dict[str, Any] = {"model": "NVIDIA H100 80GB HBM3", "pci_id": "10de:2330", "count": 8}
BY = {"owner": "a@example.org", "expires": "2099-01-01"}


def told(
    folder: Path, lock: dict[str, Any] | None = None, platform: str = "el10-x86_64", **said: Any
) -> dict[str, Any]:
    """What the audit of a node of this inventory is told; `said` are its variables."""
    (folder / "stack.lock.json").write_text(json.dumps(lock or gpu_lock()))
    rack = {k: said.pop(k) for k in ("profile", "overlays", "waivers") if k in said}
    inventory = {
        "all": {
            "vars": {
                "holdfast_schema": 1,
                "holdfast_rack": "lab-a",
                "holdfast_stack": "stack.lock.json",
                **{f"holdfast_{name}": value for name, value in rack.items()},
            },
            "hosts": {
                "n1": {
                    "ansible_host": "192.0.2.11",
                    "holdfast_host_keys": [KEY],
                    **{f"holdfast_{name}": value for name, value in said.items()},
                }
            },
        }
    }
    (folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
    inputs = load_rack(folder / "inventory.yml")
    found = expectations(inputs.rack, inputs.lock, inputs.policy, inputs.rack.nodes[0])
    text = json.dumps(found[platform])
    # What it is told is what it can read, and stays what it is on its way there.
    read(text)
    assert json.loads(text) == found[platform]
    whole: dict[str, Any] = found[platform]
    return whole


def test_a_node_of_which_nothing_is_declared(tmp_path):
    found = told(tmp_path)
    assert found == {
        "schema": "holdfast.health.expect/1",
        "node": "n1",
        "kind": "metal",
        "gpus": {"count": 0},
        "services": ["chronyd.service", "firewalld.service", "holdfast-health.timer"],
    }


def test_gpus_follow_from_hardware_and_from_the_unit_of_the_lock(tmp_path):
    found = told(tmp_path, hardware={"gpus": H100})
    assert found["gpus"] == {
        "count": 8,
        "model": H100["model"],
        "persistence": True,
        "driver": DRIVER,
        "mig_enabled": False,
    }
    assert found["kernel"] == {"release": f"{KERNEL[0]}-{KERNEL[1]}.x86_64"}
    assert found["containers"] == {"cdi": True, "toolkit": "1.20.0"}
    assert found["security"] == {"unsigned_modules": []}
    running = {"nvidia-persistenced.service", "holdfast-gpu-mig.service", "nvidia-dcgm.service"}
    assert running <= set(found["services"])
    assert "nvidia-fabricmanager.service" not in found["services"]


def test_modules_that_nobody_signs_are_declared(tmp_path):
    found = told(tmp_path, gpu_lock("cuda_open_dkms"), hardware={"gpus": H100})
    assert "nvidia_uvm" in found["security"]["unsigned_modules"]


def test_another_platform_has_its_own_unit_or_none(tmp_path):
    found = told(tmp_path, platform="el9-x86_64", hardware={"gpus": H100})
    assert "driver" not in found["gpus"]
    assert "kernel" not in found


@pytest.mark.parametrize(
    ("gpu", "gpus", "service"),
    [
        ({"fabric": "nvswitch"}, {}, True),
        ({"fabric": "none"}, {"nvlinks": 0, "p2p": False}, False),
        ({"dcgm": False}, {}, False),
    ],
)
def test_the_fabric_follows_from_what_is_written_down(tmp_path, gpu, gpus, service):
    found = told(tmp_path, hardware={"gpus": H100}, gpu=gpu)
    assert {k: v for k, v in found["gpus"].items() if k in ("nvlinks", "p2p")} == gpus
    assert ("nvidia-fabricmanager.service" in found["services"]) is service
    assert ("nvidia-dcgm.service" in found["services"]) is gpu.get("dcgm", True)


def test_each_gpu_has_its_layout(tmp_path):
    mig = [{"gpus": [0, 2], "profiles": ["3g.40gb", "3g.40gb"]}]
    found = told(tmp_path, hardware={"gpus": {**H100, "count": 3}}, gpu={"mig": mig})
    assert found["gpus"]["mig"] == [["3g.40gb"] * 2, [], ["3g.40gb"] * 2]
    assert "mig_enabled" not in found["gpus"]


def test_an_image_with_cuda_is_a_container_that_uses_gpus(tmp_path):
    lock = gpu_lock()
    model, image = lock["models"][0]["name"], lock["images"][0]
    secrets = dict.fromkeys(("api_key", "tls_certificate", "tls_key", "tls_ca"), "file:x")
    said = {"engine": "llama_cpp", "model": model, "image": image["name"],
            "allow_from": ["192.0.2.0/24"]}  # fmt: skip
    found = told(tmp_path, lock, hardware={"gpus": H100}, inference=said, **secrets)
    assert "gpu_units" not in found["containers"]
    assert "holdfast-inference.service" in found["services"]
    for one_of in lock["images"]:
        one_of["cuda"] = {"version": "12.8"}
    found = told(tmp_path, lock, hardware={"gpus": H100}, inference=said, **secrets)
    assert found["containers"]["gpu_units"] == ["holdfast-inference.service"]


def test_hardware_network_and_mounts(tmp_path):
    mounts = [{"path": "/scratch", "type": "lustre", "options": ["nosuid"], "writable": True}]
    found = told(
        tmp_path,
        hardware={
            "memory_gib": 64,
            "nics": [{"name": "eno1", "speed_gbps": 25}],
            "infiniband": [{"device": "mlx5_0", "rate_gbps": 400}],
        },
        audit={"mounts": mounts, "limits": {"host.space.used": 95}},
    )
    assert found["memory"] == {"mib": 65536}
    assert found["ethernet"] == [{"name": "eno1", "speed_mbps": 25000}]
    assert found["infiniband"] == [{"device": "mlx5_0", "port": 1, "rate_gbps": 400}]
    assert found["filesystems"] == mounts
    assert found["limits"] == {"host.space.used": 95}


def test_a_clock_may_be_as_far_off_as_the_site_says(tmp_path):
    assert "limits" not in told(tmp_path, time={"servers": ["192.0.2.1"]})
    found = told(tmp_path, time={"servers": ["192.0.2.1"], "max_offset_s": 0.25})
    assert found["limits"] == {"host.time.milliseconds": 250}
    found = told(tmp_path, time={"servers": ["192.0.2.1"], "max_offset_s": 3600})
    assert found["limits"] == {"host.time.milliseconds": 60000}


def test_security_follows_from_the_adopted_profile(tmp_path):
    found = told(tmp_path, profile="stig")
    assert found["security"]["selinux"] == "enforcing"
    assert found["security"]["fips"] is True
    assert found["security"]["audit"] is True
    assert found["security"]["audit_immutable"] is True
    assert found["security"]["sysctl"]["kernel.randomize_va_space"] == "2"
    assert "audit=1" in found["kernel"]["arguments"]
    assert "auditd.service" in found["services"]


def test_what_the_site_does_without_is_not_expected(tmp_path):
    why = "The rack's storage works with nothing else."
    waivers = [
        {"control": name, "reason": why, **BY} for name in ("fips-mode", "selinux-enforcing")
    ]
    found = told(tmp_path, profile="stig", waivers=waivers)["security"]
    assert "fips" not in found
    assert found.get("selinux") != "enforcing"


def test_a_container_is_held_to_what_is_its_own(tmp_path):
    found = told(tmp_path, kind="container", profile="cis_l2_server", hardware={"gpus": H100})
    assert found["kind"] == "container"
    assert "kernel" not in found
    assert "unsigned_modules" not in found.get("security", {})
    assert "audit" not in found.get("security", {})


@pytest.mark.parametrize(
    ("slurm", "expected"),
    [
        ({}, None),
        ({"max_drained": 2}, None),
        ({"drain": True}, {"drain": True, "least": "high", "max_percent": 10}),
        (
            {"drain": True, "max_drained": 2, "partition": "gpu", "least": "critical"},
            {"drain": True, "least": "critical", "max_nodes": 2, "partition": "gpu"},
        ),
    ],
)
def test_slurm_is_told_what_may_be_drained(tmp_path, slurm, expected):
    found = told(tmp_path, audit={"slurm": slurm, "every_minutes": 10})
    assert found.get("slurm") == expected
    # A result is believed for three runs of the timer.
    limits = {"scheduler.slurm.age": 1800} if expected else None
    assert found.get("limits") == limits


def test_only_nodes_with_gpus_are_audited_unless_the_inventory_says_so(tmp_path):
    def asked(**said: Any) -> bool:
        told(tmp_path, **said)
        return load_rack(tmp_path / "inventory.yml").rack.nodes[0].audited

    assert not asked()
    assert asked(hardware={"gpus": H100})
    assert not asked(hardware={"gpus": H100}, audit={"enabled": False})
    assert asked(audit={"enabled": True})


def test_what_is_written_for_playbooks(tmp_path):
    told(tmp_path, hardware={"gpus": H100})
    inputs = load_rack(tmp_path / "inventory.yml")
    folder = tmp_path / "audit"
    given = write_audit(inputs.rack, inputs.lock, inputs.policy, folder)["engine_audit"]
    assert given["files"] == str(folder)
    body = json.loads(Path(given["expect"]["n1"]).read_text())
    assert body["el10-x86_64"]["gpus"]["count"] == 8
    names = {path.name for path in folder.iterdir()}
    assert {"holdfast-health.pyz", "holdfast-health.service", "holdfast-health.timer"} <= names
    before = (folder / "holdfast-health.pyz").read_bytes()
    write_audit(inputs.rack, inputs.lock, inputs.policy, folder)
    assert (folder / "holdfast-health.pyz").read_bytes() == before
    told(tmp_path)
    inputs = load_rack(tmp_path / "inventory.yml")
    assert write_audit(inputs.rack, inputs.lock, inputs.policy, tmp_path / "none") == {}
    assert not (tmp_path / "none").exists()


def test_every_part_of_the_declaration_that_this_writes_is_one_that_the_audit_reads():
    written = {"containers", "memory", "ethernet", "infiniband", "filesystems", "kernel",
               "services", "security", "limits", "slurm"}  # fmt: skip
    assert written <= set(SHAPE["properties"])
    assert Platform("10", "aarch64").name == "el10-aarch64"
    assert audit_expected.TIMER.endswith(".timer")


POLICY = "etc/crypto-policies/state/current"
MODE = "sys/fs/selinux/enforce"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seen", "declared", "status"),
    [
        ((MODE, "1"), ("selinux", "permissive"), PASS),
        ((MODE, "0"), ("selinux", "permissive"), PASS),
        ((MODE, "0"), ("selinux", "enforcing"), FAIL),
        ((POLICY, "DEFAULT:NO-SHA1"), ("crypto_policy", "DEFAULT"), PASS),
        ((POLICY, "DEFAULT:SHA1"), ("crypto_policy", "DEFAULT"), FAIL),
        ((POLICY, "FIPS:NO-SHA1"), ("crypto_policy", "DEFAULT:NO-SHA1"), PASS),
        ((POLICY, "DEFAULT"), ("crypto_policy", "DEFAULT:NO-SHA1"), FAIL),
    ],
)
def test_stricter_than_declared_is_well(tmp_path, monkeypatch, seen, declared, status):
    node = recorded(tmp_path)
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(node.state_file))
    node.files[seen[0]] = seen[1]
    node.expected["security"][declared[0]] = declared[1]
    node.lay()
    check = f"security.{declared[0]}"
    assert one(node.audit(check), check).status == status


@pytest.mark.slow
@pytest.mark.parametrize(("cut", "status"), [((0, 2), PASS), ((0,), FAIL), ((0, 1, 2), FAIL)])
def test_some_gpus_may_be_divided_and_others_whole(tmp_path, monkeypatch, cut, status):
    from provision.rehearsal.gpu import models

    node = recorded(tmp_path)
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(node.state_file))
    halves = ["3g.40gb", "3g.40gb"]
    cuts = [models.Cut(index, halves) for index in cut]
    node.gpus = models.partitioned(models.load("h100-sxm"), node.gpus, *cuts)
    node.expected["gpus"].pop("mig_enabled", None)
    node.expected["gpus"]["mig"] = [halves if index in (0, 2) else [] for index in range(8)]
    node.lay()
    assert one(node.audit("gpu.mig"), "gpu.mig").status == status


@pytest.mark.slow
def test_a_kernel_without_a_list_of_modules_still_shows_them(tmp_path, monkeypatch):
    node = recorded(tmp_path)
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(node.state_file))
    node.files["proc/modules"] = None
    node.lay()
    assert one(node.audit("gpu.driver.modules"), "gpu.driver.modules").status == PASS
    node.gpu({"module.others": ["nvidia_modeset"]})
    node.lay()
    found = one(node.audit("gpu.driver.modules"), "gpu.driver.modules")
    assert (found.status, "nvidia_uvm" in found.seen) == (FAIL, True)


@pytest.mark.slow
def test_a_container_is_not_asked_for_its_hosts_module(tmp_path, monkeypatch):
    node = recorded(tmp_path)
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(node.state_file))
    node.commands["modinfo"] = "575.57.08\n"
    node.lay()
    check = "gpu.driver.agreement"
    assert one(node.audit(check), check).status == FAIL
    node.expected["kind"] = "container"
    node.lay()
    assert one(node.audit(check), check).status == PASS

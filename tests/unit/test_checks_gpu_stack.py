"""What is installed of kernels and of NVIDIA's beside the lock: what the check makes of it."""

from __future__ import annotations

import json

import pytest

from provision.checks import test_base as base
from provision.checks import test_gpu_stack as checks
from provision.checks.declaration import expected_of
from provision.rack.model import Gpus, Hardware
from provision.supply.model import StackLock
from tests.unit import checks_support
from tests.unit.gpu_support import DRIVER, KERNEL, gpu_lock

HARDWARE = Hardware(gpus=Gpus(model="NVIDIA H100 80GB HBM3", pci_id="10de:2330", count=8))
RUNNING = f"{KERNEL[0]}-{KERNEL[1]}.x86_64"
LOCK = StackLock.model_validate_json(json.dumps(gpu_lock()))


def named(*nevras):
    return [{"name": n.rsplit("-", 2)[0], "nevra": n, "signature": ""} for n in nevras]


def asked(tmp_path, installed, *, kernel=RUNNING, kind="metal", test=checks.test_lock):
    """What the check says of a node with these packages, and what it saw."""
    node = checks_support.node(kind=kind, hardware=HARDWARE, inference=None)
    expected = expected_of(checks_support.rack(tmp_path, node), LOCK, node, "00" * 32)
    parts = {
        "installed": installed,
        "release": {"VERSION_ID": "10.1", "MACHINE": "x86_64", "KERNEL": kernel},
    }
    evidence = []
    test(lambda area, part: parts[part], evidence.append, expected)
    return evidence


def test_the_unit_alone_passes(tmp_path):
    everything = named(*LOCK.gpu[0].packages, "glibc-0:2.39-1.x86_64")
    assert asked(tmp_path, everything) == ["kernels beside the lock: none"]


def test_a_package_of_nvidias_beside_the_lock_fails_with_its_nevra(tmp_path):
    stray = "cuda-toolkit-13-0-0:13.0.2-1.x86_64"
    old = f"libnvidia-ml-3:{DRIVER}-9.el10.x86_64"
    with pytest.raises(AssertionError, match=f"not in the lock: {stray}, {old}"):
        asked(tmp_path, named(*LOCK.gpu[0].packages, stray, old))


def test_a_kernel_beside_the_lock_is_a_way_back_until_it_runs(tmp_path):
    spare = "kernel-core-0:6.12.0-55.9.1.el10_0.x86_64"
    assert asked(tmp_path, named(spare)) == [f"kernels beside the lock: {spare}"]
    with pytest.raises(AssertionError, match=r"kernel 6\.12\.0-55\.9\.1\.el10_0\.x86_64 runs"):
        asked(tmp_path, named(spare), kernel="6.12.0-55.9.1.el10_0.x86_64")
    assert asked(tmp_path, named(spare), kernel="6.18.1-host", kind="container")


def test_a_kernel_beside_the_locked_one_is_no_other_version_of_it(tmp_path):
    spare = "kernel-core-0:6.12.0-55.9.1.el10_0.x86_64"
    both = named(*LOCK.gpu[0].packages, spare)
    assert asked(tmp_path, both, test=base.test_packages_locked)
    with pytest.raises(AssertionError, match=f"{spare} instead of"):
        asked(tmp_path, named(spare), test=base.test_packages_locked)
    older = f"nvidia-driver-cuda-3:{DRIVER}-0.el10.x86_64"
    with pytest.raises(AssertionError, match=f"{older} instead of"):
        asked(tmp_path, [*both, *named(older)], test=base.test_packages_locked)


def test_it_is_about_nodes_with_gpus_alone(tmp_path):
    node = checks_support.node()
    expected = expected_of(checks_support.rack(tmp_path, node), LOCK, node, "00" * 32)
    assert checks.where_gpus_are_declared(expected) == "the inventory declares no GPU"

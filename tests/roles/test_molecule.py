"""Every role's molecule scenario, against one simulated node.

A scenario applies its role, applies it again without a change, looks at what the node really
does, lets the node drift, and looks whether the role mends it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.core.events import NullSink
from provision.rehearsal import rack as racks
from provision.rehearsal.rack import Rehearsal

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = [path.parent.name for path in sorted(ROOT.glob("tests/molecule/*/molecule.yml"))]
ORDER = (
    "preflight",
    "repositories",
    "base",
    "gpu_driver",
    "gpu_fabric",
    "gpu_mig",
    "cuda",
    "dcgm",
    "time",
    "container_runtime",
    "hardening",
    "model_store",
    "inference",
    "access",
    "audit_trail",
)
GPUS = "h100-sxm"
"""Roles for GPUs need some; the others do not mind."""
SECONDS = 600

pytestmark = pytest.mark.rehearsal


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A rack with one bare node."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = os.fspath(tmp_path_factory.mktemp("state"))
    rack = racks.build(release="10", count=1, gpus=GPUS, events=NullSink(), keep=False)
    try:
        yield rack
    finally:
        rack.take_down()
        if before is None:
            os.environ.pop("XDG_STATE_HOME", None)
        else:
            os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="module")
def passed() -> set[str]:
    """The scenarios that passed on the node."""
    return set()


def _before(scenario: str) -> set[str]:
    return set(ORDER[: ORDER.index(scenario)]) if scenario in ORDER else set(SCENARIOS)


def _key(scenario: str) -> tuple[int, str]:
    # In the order of provisioning, so that what a scenario stands on is mostly there already.
    return (ORDER.index(scenario) if scenario in ORDER else len(ORDER), scenario)


@pytest.mark.parametrize("scenario", sorted(SCENARIOS, key=_key))
def test_scenario(scenario, node, passed, tmp_path):
    known = tmp_path / "known_hosts"
    lines = [f"{one.address} {one.host_key}\n" for one in node.nodes]
    known.write_text("".join(lines), encoding="utf-8")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NO_COLOR": "1",
        "HOLDFAST_MOLECULE_INVENTORY": os.fspath(node.inventory),
        # What a scenario stands on is there when those before it passed; there is nothing to clean
        # up, so that step does nothing.
        "HOLDFAST_MOLECULE_BEGIN": "cleanup" if _before(scenario) <= passed else "prepare",
        "MOLECULE_GLOB": "tests/molecule/*/molecule.yml",
        "MOLECULE_EPHEMERAL_DIRECTORY": os.fspath(tmp_path / "molecule"),
        "ANSIBLE_SSH_ARGS": f"-o ControlMaster=auto -o ControlPersist=30s"
        f" -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known}",
    }
    done = subprocess.run(
        [*node.inside(), "molecule", "test", "--scenario-name", scenario],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{done.stdout[-12000:]}\n{done.stderr[-4000:]}", pytrace=False)
    passed.add(scenario)

"""Molecule's scenarios, and how one is run against a simulated node."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.core.events import NullSink
from provision.core.paths import playbook
from provision.engine.apply import phases_of
from provision.rehearsal import rack as racks
from provision.rehearsal.rack import Rehearsal

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = {path.parent.name for path in ROOT.glob("tests/molecule/*/molecule.yml")}
PHASES = ("preflight", *phases_of(playbook("site")))
"""What a node goes through, in order."""
NEED_GPUS = {"gpu_driver", "gpu_fabric", "gpu_mig", "cuda", "dcgm", "health_audit"}
SECONDS = 600


def in_order(scenarios: set[str]) -> list[str]:
    """Scenarios as a node is provisioned, so that what one stands on is mostly there already."""
    last = len(PHASES)
    return sorted(scenarios, key=lambda one: (PHASES.index(one) if one in PHASES else last, one))


@contextmanager
def bare_node(state: Path, gpus: str | None) -> Iterator[Rehearsal]:
    """A rack with one bare node, with GPUs of this model or without."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = os.fspath(state)
    rack = racks.build(release="10", count=1, gpus=gpus, events=NullSink(), keep=False)
    try:
        yield rack
    finally:
        rack.take_down()
        if before is None:
            os.environ.pop("XDG_STATE_HOME", None)
        else:
            os.environ["XDG_STATE_HOME"] = before


def run(scenario: str, node: Rehearsal, folder: Path, *, prepared: bool) -> None:
    """Run a scenario against a node; one that is `prepared` has what it stands on.

    There is nothing to clean up, so that step stands in for a preparation that is not needed.
    """
    known = folder / "known_hosts"
    lines = [f"{one.address} {one.host_key}\n" for one in node.nodes]
    known.write_text("".join(lines), encoding="utf-8")
    # All racks have the same addresses: with sockets in one place a connection to another rack's
    # node would be taken for one to this rack's. A socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="hf-") as sockets:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "NO_COLOR": "1",
            "HOLDFAST_MOLECULE_INVENTORY": os.fspath(node.inventory),
            "HOLDFAST_MOLECULE_BEGIN": "cleanup" if prepared else "prepare",
            "MOLECULE_GLOB": "tests/molecule/*/molecule.yml",
            "MOLECULE_EPHEMERAL_DIRECTORY": os.fspath(folder / "molecule"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
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

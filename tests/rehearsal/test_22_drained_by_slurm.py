"""A node is emptied for its GPU unit by a real Slurm.

As somebody who runs a cluster I want jobs to end before their driver goes, none to start meanwhile,
and what a person said of a node to stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.checks.bounded import Answer
from provision.core.events import ListSink
from provision.engine import drain
from provision.engine.drain import Drainer, is_ours
from provision.engine.onnode import Record, Ssh
from provision.rack.model import Drain, Rack
from provision.rack.ssh import SshSettings
from tests.rehearsal.cluster import Cluster, until
from tests.unit import engine_support

pytestmark = [pytest.mark.needs("slurm"), pytest.mark.soak]

BEGUN = ("RUNNING", "COMPLETING", "COMPLETED")


class Beside(Ssh):
    """A node of the cluster, asked here instead of over SSH: the same commands, the same words."""

    def __init__(self, cluster: Cluster, rack: Rack, folder: Path) -> None:
        super().__init__(rack, rack.nodes[0], SshSettings(folder / "k"))
        self.cluster = cluster
        self.kept: Record | None = None

    def record(self) -> Record | None:
        return self.kept

    def keep(self, record: Record | None) -> None:
        self.kept = record

    def busy(self) -> list[str]:
        return []

    def _ask(self, command: str, stdin: bytes = b"") -> Answer:
        script = f"hostname {self.node.name}.example && exec {command}"
        ran = self.cluster.inside("unshare", "--uts", "sh", "-c", script)
        assert ran.returncode == 0, ran.stderr + ran.stdout
        return Answer(0, ran.stdout.encode(), b"")


class Site:
    """A cluster, and what empties its first node."""

    def __init__(self, folder: Path) -> None:
        self.slurm = Cluster(folder / "slurm", dict.fromkeys(("health", "prolog", "epilog"),
                             "#!/bin/sh\n"))  # fmt: skip
        (folder / "slurm").mkdir()
        node = engine_support.node("n1", drain=Drain(by="slurm", deadline_minutes=5))
        rack = engine_support.rack(folder, ("n1",)).model_copy(update={"nodes": (node,)})
        self.at = Beside(self.slurm, rack, folder)
        self.sink = ListSink()
        self.drains = Drainer(rack, "r-1", SshSettings(folder / "k"), self.sink, lambda _: self.at)

    def submit(self, script: str) -> str:
        ran = self.slurm.inside("sbatch", "--parsable", "-w", "n1", "-o", "/dev/null", "--wrap",
                                script)  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def job(self, number: str) -> str:
        shown = self.slurm.inside("scontrol", "show", "job", number).stdout
        return next((w.partition("=")[2] for w in shown.split() if w.startswith("JobState=")), "")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(drain, "POLL_S", 0.2)
    made = Site(tmp_path)
    made.slurm.start()
    yield made
    made.slurm.stop()


def test_a_job_ends_first_no_other_starts_and_the_node_comes_back(site: Site) -> None:
    first = site.submit("sleep 4")
    until(lambda: site.job(first) == "RUNNING", "the job to run")
    assert site.drains.take("n1") is None
    assert site.job(first) == "COMPLETED"
    assert is_ours(site.slurm.reason("n1")), site.slurm.reason("n1")
    waited = [e.data["busy"] for e in site.sink.seen if e.kind == "drain.wait"]
    assert waited[0][0].startswith("jobs of Slurm (")
    later = site.submit("true")
    assert site.drains.take("n1") is None  # a resume
    assert site.job(later) == "PENDING"
    assert site.drains.lift("n1") is None
    assert not site.slurm.drained("n1")
    until(lambda: site.job(later) in BEGUN, "the job that waited")


def test_what_a_person_said_of_a_node_stands(site: Site) -> None:
    site.slurm.scontrol("update", "NodeName=n1", "State=DRAIN", "Reason=rack 7 moves")
    assert site.drains.take("n1") is None
    assert site.drains.lift("n1") is None
    assert site.slurm.reason("n1") == "rack 7 moves"
    site.slurm.scontrol("update", "NodeName=n1", "State=UNDRAIN")

    assert site.drains.take("n1") is None
    changed = site.slurm.reason("n1") + " - ann: part ordered"
    site.slurm.scontrol("update", "NodeName=n1", "State=DRAIN", f"Reason={changed}")
    assert site.drains.lift("n1") is None
    assert (site.slurm.drained("n1"), site.slurm.reason("n1")) == (True, changed)
    assert site.sink.seen[-1].kind == "drain.left"

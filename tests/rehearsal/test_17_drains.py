"""Slurm and the audit, with a real Slurm.

As somebody who runs a cluster I want a sick node out of service before the next job gets it, and
back when it is well; never a drain of my own touched; and never the whole cluster drained because
the audit is wrong.

The controller, the nodes' daemons and munge are Debian's; the nodes' results come from the audit
as it ships, which looks at recorded trees and a simulated driver.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provision.health import build
from provision.health.slurm import reason
from tests.rehearsal.cluster import ALL, Cluster, until
from tests.unit.health_support import Recorded, recorded

pytestmark = pytest.mark.needs("slurm")
quick = pytest.mark.rehearsal
BEGUN = ("RUNNING", "COMPLETING", "COMPLETED")
PROGRAMS = Path(build.__file__).parent / "slurm/programs"
NEXT_BOOT = "aaaaaaaa-0d7e-4a7c-9d5b-1f0f2f3e4d5c"
NO_WAIT = {"scheduler.slurm.hold": 0}
RESET = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.105.08"
AUDIT = """{python} -I {pyz} --root {at}/$N/root --nvml {nvml} --journal /log.jsonl \
--expect {at}/$N/expect.json --state {at}/$N/state --out {at}/$N/state/result.json --json \
--patience 10 >/dev/null
"""
ADAPTER = " --root {at}/$N/root --expect {at}/$N/expect.json --state {at}/$N/state"
HEAD = """#!/bin/sh
N=$SLURMD_NODENAME; export HOLDFAST_GPUS_STATE={at}/$N/root/@gpus.json
export SLURM_CONF={at}/slurm/slurm.conf  # slurmd does not pass it on to HealthCheckProgram
[ -d {at}/$N ] || exit 0
"""


class Site:
    """A cluster of which some nodes have an audit."""

    def __init__(self, at: Path, pyz: Path, ground: Path) -> None:
        self.at, self.pyz, self.ground = at, pyz, ground
        self.nodes: dict[str, Recorded] = {}
        self.cluster = Cluster(at / "slurm", {})
        (at / "slurm").mkdir()

    def node(self, name: str, **slurm: object) -> Recorded:
        """Give a node an audit; it is healthy."""
        folder = self.at / name
        (folder / "state").mkdir(parents=True)
        laid: dict[str, object] = {}
        made = recorded(folder / "root", laid=laid)
        made.expected |= {"slurm": {"drain": True, **slurm}, "limits": NO_WAIT, "node": name}
        self.nodes[name] = made
        return made

    def start(self, *, living: tuple[str, ...] = ("n1", "n2"), interval: int = 0) -> None:
        """Start the cluster."""
        words = {"python": sys.executable, "pyz": self.pyz, "at": self.at,
                 "nvml": self._any().library.nvml}  # fmt: skip
        head, audit = HEAD.format(at=self.at), AUDIT.format(**words)
        self.cluster.programs = {"audit": head + audit}
        for name, which in (("health", "check"), ("prolog", "prolog"), ("epilog", "epilog")):
            text = (PROGRAMS / f"slurm-{name}").read_text()
            for shipped, here in (
                ("/usr/bin/python3", sys.executable),
                ("/usr/libexec/holdfast/holdfast-health.pyz", str(self.pyz)),
                (f"slurm {which}", f"slurm {which}" + ADAPTER.format(at=self.at)),
                (
                    "/usr/bin/systemctl start holdfast-health.service",
                    str(self.cluster.at / "audit"),
                ),
            ):
                assert shipped in text or "systemctl" in shipped
                text = text.replace(shipped, here)
            self.cluster.programs[name] = text.replace("#!/bin/sh\n", head)
        self.cluster.living, self.cluster.interval = living, interval
        self.cluster.start()

    def _any(self) -> Recorded:
        return next(iter(self.nodes.values()))

    def audit(self, name: str) -> None:
        """Let the node's audit run, on the node as it is now."""
        node = self.nodes[name]
        (self.at / name / "expect.json").write_text(json.dumps(node.expected))
        node.lay()
        ran = self._program("audit", name)
        assert ran.returncode in (0, 1), ran.stderr

    def health(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run HealthCheckProgram as slurmd does."""
        return self._program("health", name)

    def _program(self, which: str, name: str) -> subprocess.CompletedProcess[str]:
        return self.cluster.inside(str(self.cluster.at / which), SLURMD_NODENAME=name)

    def submit(self, name: str, script: str = "true") -> str:
        """Submit a job for a node; returns its id."""
        ran = self.cluster.inside("sbatch", "--parsable", "-w", name, "-o", "/dev/null",
                                  "--wrap", script)  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def job(self, number: str) -> str:
        """A job's state."""
        shown = self.cluster.inside("scontrol", "show", "job", number).stdout
        return next((w.partition("=")[2] for w in shown.split() if w.startswith("JobState=")), "")

    def ours(self, name: str) -> bool:
        """Whether a node is drained with an unchanged reason of ours."""
        shown = self.cluster.reason(name)
        return self.cluster.drained(name) and reason.read(shown) is not None


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("built") / "holdfast-health.pyz"
    build.build(target)
    return target


@pytest.fixture
def site(tmp_path: Path, pyz: Path) -> Iterator[Site]:
    made = Site(tmp_path, pyz, tmp_path)
    yield made
    made.cluster.stop()


def needs_reset(node: Recorded, needed: bool = True) -> None:
    """Let the driver of a node ask for a reset of a GPU, or ask for it no more."""
    node.gpu({"gpus.4.recovery_action": int(needed)})


@quick
def test_a_sick_node_is_drained_and_comes_back_when_it_is_well(site: Site) -> None:
    node = site.node("n1")
    site.start()
    slurm = site.cluster
    site.audit("n1")
    ran = site.health("n1")
    assert (ran.returncode, slurm.drained("n1")) == (0, False), ran.stderr

    needs_reset(node)
    site.audit("n1")
    ran = site.health("n1")
    assert (ran.returncode, site.ours("n1")) == (1, True), ran.stderr
    assert slurm.reason("n1").startswith("holdfast:gpu.recovery fail reset_gpu boot=")
    assert not slurm.drained("n2")
    first = slurm.field("n1", "Reason")

    needs_reset(node, False)
    for _ in range(2):
        site.audit("n1")
        ran = site.health("n1")
    assert "neither a restart nor a reset was seen" in ran.stderr
    assert slurm.field("n1", "Reason") == first

    node.log.append(RESET)
    site.audit("n1")
    ran = site.health("n1")
    assert (ran.returncode, "is back in service" in ran.stdout) == (0, True), ran.stderr
    until(lambda: slurm.state("n1") == "IDLE", "the node to be free")
    number = site.submit("n1")
    until(lambda: site.job(number) in BEGUN, "a job on the node")


@pytest.mark.soak
def test_a_drain_of_somebody_else_is_not_touched(site: Site) -> None:
    node = site.node("n1")
    site.start()
    slurm = site.cluster

    def stays(text: str) -> None:
        for needed in (True, False, False, False):
            needs_reset(node, needed)
            site.audit("n1")
            ran = site.health("n1")
            assert "It is left alone" in ran.stdout + ran.stderr
            assert (slurm.drained("n1"), slurm.field("n1", "Reason")) == (True, text)
        node.log.append(RESET)

    slurm.scontrol("update", "NodeName=n1", "State=DRAIN", "Reason=rack 7 moves")
    stays(slurm.field("n1", "Reason"))

    slurm.scontrol("update", "NodeName=n1", "State=UNDRAIN")
    needs_reset(node)
    site.audit("n1")
    assert site.health("n1").returncode == 1
    changed = slurm.reason("n1") + " - ann: part ordered"
    slurm.scontrol("update", "NodeName=n1", "State=DRAIN", f"Reason={changed}")
    stays(slurm.field("n1", "Reason"))


@pytest.mark.soak
def test_a_node_that_a_person_has_lifted_is_judged_anew(site: Site) -> None:
    node = site.node("n1")
    site.start()
    needs_reset(node)
    site.audit("n1")
    site.health("n1")
    assert site.ours("n1")
    site.cluster.scontrol("update", "NodeName=n1", "State=UNDRAIN")
    needs_reset(node, False)
    site.audit("n1")
    ran = site.health("n1")
    assert (ran.returncode, site.cluster.drained("n1")) == (0, False), ran.stderr


@pytest.mark.soak
def test_a_node_without_a_disk_comes_back_after_the_restart_that_it_owed(site: Site) -> None:
    node = site.node("n1")
    site.start()
    needs_reset(node)
    site.audit("n1")
    site.health("n1")
    assert site.ours("n1")
    shutil.rmtree(site.at / "n1/state")
    (site.at / "n1/state").mkdir()
    needs_reset(node, False)
    node.files["proc/sys/kernel/random/boot_id"] = NEXT_BOOT
    for _ in range(2):
        assert site.cluster.drained("n1")
        site.audit("n1")
        ran = site.health("n1")
    assert "is back in service" in ran.stdout


@quick
def test_the_breaker_keeps_a_tenth_of_the_nodes_at_most_out(site: Site) -> None:
    node = site.node("n1")
    site.start()
    slurm = site.cluster
    for number in (ALL - 1, ALL):
        slurm.scontrol("update", f"NodeName=n{number}", "State=DRAIN", "Reason=holdfast:x")
    needs_reset(node)
    site.audit("n1")
    ran = site.health("n1")
    assert (ran.returncode, slurm.drained("n1")) == (3, False)
    assert "BREAKER: 2 of 20 nodes of the cluster are drained by the audit already" in ran.stderr
    assert "n1 stays in service although gpu.recovery is fail" in ran.stderr
    metrics = (site.at / "n1/state/holdfast_slurm.prom").read_text()
    assert 'holdfast_slurm_breaker_tripped{node="n1"} 1.000' in metrics
    shown = json.loads((site.at / "n1/state/slurm.json").read_text())
    assert shown["breaker"]["others"] == 2

    # Slurm drains a node whose prolog fails, and counts nothing: the prolog lets the job pass.
    number = site.submit("n1")
    until(lambda: site.job(number) in BEGUN, "the job that the prolog lets pass")
    assert not slurm.drained("n1")

    slurm.scontrol("update", f"NodeName=n{ALL}", "State=DRAIN", "Reason=ann: mine now")
    assert (site.health("n1").returncode, site.ours("n1")) == (1, True)


@pytest.mark.soak
def test_nodes_that_come_together_do_not_pass_the_breaker(site: Site) -> None:
    names = [f"n{n}" for n in range(1, 9)]
    needs_reset(site.node("n1", max_nodes=3))
    site.start(living=tuple(names))
    site.audit("n1")
    for name in names[1:]:
        (site.at / name).mkdir()
        (site.at / name / "root").symlink_to(site.at / "n1/root")
        shutil.copy(site.at / "n1/expect.json", site.at / name)
        shutil.copytree(site.at / "n1/state", site.at / name / "state")
    with ThreadPoolExecutor(len(names)) as pool:
        codes = list(pool.map(lambda name: site.health(name).returncode, names))
    drained = [name for name in names if site.ours(name)]
    assert len(drained) <= 3
    assert [codes[names.index(name)] for name in drained] == [1] * len(drained)
    assert {codes[names.index(name)] for name in names if name not in drained} == {3}
    for name in names:
        site.health(name)
    assert len([name for name in names if site.ours(name)]) == 3


@pytest.mark.soak
def test_without_the_controller_nothing_changes_and_it_is_said(site: Site) -> None:
    node = site.node("n1")
    site.start()
    slurm = site.cluster
    needs_reset(node)
    site.audit("n1")
    slurm.stop_controller()
    ran = site.health("n1")
    assert ran.returncode == 3
    assert "gave no answer to go by: scontrol show node ended with 1" in ran.stderr
    assert "Nothing was changed although gpu.recovery is fail" in ran.stderr
    assert json.loads((site.at / "n1/state/slurm.json").read_text())["drain"] is None
    slurm.start_controller()
    until(lambda: "NOT_RESPONDING" not in slurm.state("n1"), "the node to answer")
    assert not slurm.drained("n1")
    assert (site.health("n1").returncode, site.ours("n1")) == (1, True)


@quick
def test_a_job_is_refused_on_a_sick_node_and_one_that_breaks_a_node_is_found_out(
    site: Site,
) -> None:
    one, two = site.node("n1", max_nodes=5), site.node("n2", max_nodes=5)
    site.start()
    slurm = site.cluster
    site.audit("n2")
    needs_reset(one)
    site.audit("n1")
    refused = site.submit("n1")
    until(lambda: slurm.drained("n1"), "the prolog to refuse")
    assert site.ours("n1"), slurm.reason("n1")
    until(lambda: "held" in slurm.scontrol("show", "job", refused), "the job to be held")

    breaks = site.submit("n2", "sleep 2")
    until(lambda: site.job(breaks) == "RUNNING", "the job to run")
    needs_reset(two)
    two.lay()
    until(lambda: slurm.drained("n2"), "the epilog to find it")
    assert site.ours("n2"), slurm.reason("n2")


@pytest.mark.soak
@pytest.mark.parametrize("broken", ["", "import nothing", "import time; time.sleep(600)"])
def test_a_broken_program_drains_nothing(site: Site, broken: str) -> None:
    site.node("n1")
    site.pyz = site.at / "broken.pyz"
    if broken:
        site.pyz.write_text(broken)
    site.start()
    for which in ("prolog", "epilog"):
        place = site.cluster.at / which
        place.write_text(re.sub("timeout [69]0", "timeout 1", place.read_text()))
    number = site.submit("n1")
    until(lambda: site.job(number) == "COMPLETED", "the job")
    assert not site.cluster.drained("n1")


@pytest.mark.soak
def test_slurmd_itself_calls_it_and_a_result_that_is_old_drains(site: Site) -> None:
    node = site.node("n1")
    (site.at / "n1/expect.json").write_text(json.dumps(node.expected))
    node.lay()
    site.start(interval=3)  # every second they pile up on a slow machine
    slurm = site.cluster
    until(lambda: slurm.drained("n1"), "a node without a result to be drained")
    assert slurm.reason("n1").startswith("holdfast:audit.result unknown inspect")

    def is_back() -> bool:
        site.audit("n1")
        time.sleep(3)
        return not slurm.drained("n1")

    until(is_back, "two results to bring it back")


@pytest.mark.soak
def test_nothing_of_a_cluster_stays(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, {"health": "#!/bin/sh\n"})
    cluster.start()
    pids = [process.pid for process in cluster.running.values()]
    assert len(pids) == 5
    cluster.stop()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []

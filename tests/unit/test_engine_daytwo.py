"""Day two of the GPU stack: which nodes change their unit, in which order, whose drain it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from provision.core.events import ListSink
from provision.engine import drain, unit, waves
from provision.engine.apply import NodeResult
from provision.engine.drain import Drainer, is_ours, reason_of
from provision.engine.gpu import locked
from provision.engine.onnode import CannotTell, Record
from provision.engine.plan import NodePlan, Plan, render
from provision.engine.unitwave import UnitWave
from provision.health import clients
from provision.health.slurm import reason as audits_reason
from provision.health.slurm.controller import Node as SlurmNode
from provision.rack.model import Drain, Gpu, Gpus, Hardware, Rack
from provision.rack.ssh import SshSettings
from provision.supply.gpu import packages
from provision.supply.model import StackLock
from provision.verdict.model import Finding, NodeSummary, Status, Verdict
from tests.unit import engine_support
from tests.unit.engine_support import FACTS
from tests.unit.gpu_support import DRIVER, KERNEL, gpu_lock
from tests.unit.roles_support import plugin

HARDWARE = Hardware(gpus=Gpus(model="NVIDIA H100 80GB HBM3", pci_id="10de:2330", count=8))
OLD = "580.95.05"
LOCK = StackLock.model_validate_json(json.dumps(gpu_lock()))
UNIT = LOCK.gpu[0]
BEFORE = tuple(n.replace(DRIVER, OLD) for n in UNIT.packages)


def gpu_node(name="n1", **given):
    return engine_support.node(name, hardware=HARDWARE, gpu=Gpu(fabric="nvswitch"), **given)


def facts(installed=(), loaded="", **more):
    return {**FACTS, "gpu_packages": list(installed), "gpu_loaded": loaded, **more}


def change(installed, loaded, node=None):
    return unit.change(node or gpu_node(), facts(installed, loaded), locked(LOCK))


class TestWhatChanges:
    def test_a_bare_node_has_nothing_to_lose(self):
        assert change([UNIT.kernels[0].kernel], "") is None

    def test_a_node_as_locked_changes_nothing(self):
        assert change(UNIT.packages, DRIVER) is None

    def test_another_unit_is_a_change_in_both_directions(self):
        found = change(BEFORE, OLD)
        assert str(found) == f"GPU unit: driver {OLD} to {DRIVER}"
        assert set(found.packages) < set(UNIT.packages)
        assert UNIT.imex not in found.packages
        newer = tuple(n.replace(DRIVER, "590.44.01") for n in UNIT.packages)
        assert str(change(newer, "590.44.01")) == f"GPU unit: driver 590.44.01 to {DRIVER}"

    def test_what_was_installed_and_not_started_is_still_a_change(self):
        assert str(change(UNIT.packages, OLD)) == f"GPU unit: driver {OLD} to {DRIVER}"

    def test_a_driver_of_somebody_else_is_a_unit_before(self):
        assert change(["akmod-nvidia-3:570.1-1.x86_64"], "").before == "570.1"

    def test_a_toolkit_for_containers_alone_is_no_driver(self):
        assert change([UNIT.toolkit[0]], "") is None

    def test_only_a_part_of_it_is_a_change(self):
        found = change([n for n in UNIT.packages if n != UNIT.toolkit[0]], DRIVER)
        assert found.packages == (UNIT.toolkit[0],)
        assert str(found) == f"GPU unit of driver {DRIVER}: 1 of its packages"

    def test_a_node_without_a_fabric_does_not_miss_its_manager(self):
        node = engine_support.node("n1", hardware=HARDWARE, gpu=Gpu())
        there = [n for n in UNIT.packages if n not in (UNIT.fabric_manager, UNIT.nscq)]
        assert change(there, DRIVER, node) is None
        assert change(there, DRIVER) is not None

    def test_a_node_without_gpus_has_no_unit(self):
        assert change(BEFORE, OLD, engine_support.node()) is None

    def test_the_plan_says_how_it_is_emptied(self):
        lock = locked(LOCK)
        told = unit.told(gpu_node(), facts(BEFORE, OLD), lock)
        assert told.endswith("nothing drains it first, checked before the next node begins")
        slurm = gpu_node(drain=Drain(by="slurm"))
        assert "; drained by Slurm first," in unit.told(slurm, facts(BEFORE, OLD), lock)
        held = facts(UNIT.packages, DRIVER, drained={"run": "r-1"})
        assert unit.told(slurm, held, lock).startswith("drained by run r-1: checked, and back")
        assert unit.told(gpu_node(), facts(UNIT.packages, DRIVER), lock) == ""

    def test_what_is_installed_and_not_in_the_lock_is_named(self):
        spare = f"kernel-core-0:{KERNEL[0]}-55.9.1.el10_0.x86_64"
        more = ["cuda-toolkit-13-0-0:13.0.2-1.x86_64", spare]
        found = unit.beside(gpu_node(), facts([*UNIT.packages, *more]), LOCK)
        assert found == tuple(more)
        assert unit.beside(engine_support.node(), facts(more), LOCK) == ()
        # What is replaced does not stay; IMEX, which this node is not given, does.
        assert unit.beside(gpu_node(), facts(BEFORE), LOCK) == (UNIT.imex.replace(DRIVER, OLD),)
        plan = Plan((NodePlan("n1", (), 3, unit="GPU unit: a to b", beside=found),))
        text = render(plan)
        assert "  GPU unit: a to b\n" in text
        assert f"  ! installed, and not in the stack lock: {spare}" in text
        assert Plan.from_json(plan.to_json()) == plan
        assert plan.units == plan.changing == ("n1",)

    def test_node_and_controller_know_the_same_packages(self):
        stack = plugin("module_utils", "gpustack")
        assert (stack.KERNELS, stack.NVIDIA) == (packages.KERNELS, packages.NVIDIA)
        lines = "kernel-core|0|6.12.0-1.el10.x86_64\nglibc|0|2-1.x86_64\nnope\n"
        lines += "libnvidia-ml|3|580.1-1.el10.x86_64\nkernel-srpm-macros|0|1-1.noarch\n"
        assert stack.parse(lines) == [
            "kernel-core-0:6.12.0-1.el10.x86_64", "libnvidia-ml-3:580.1-1.el10.x86_64",
        ]  # fmt: skip
        named = {packages.name_of(n) for n in UNIT.packages}
        assert {packages.name_of(n) for n in stack.parse(
            "\n".join(f"{name}|0|1-1.x86_64" for name in named)
        )} == named  # fmt: skip


def test_nodes_whose_unit_changes_come_last_and_alone():
    found = waves.ordered(["a", "b", "c", "d", "e"], {"b", "d"}, (2, 8), (1,))
    assert [(w.number, w.nodes, w.unit) for w in found] == [
        (1, ("a", "c"), False), (2, ("e",), False), (3, ("b",), True), (4, ("d",), True),
    ]  # fmt: skip
    assert [w.nodes for w in waves.ordered(["a", "b", "c"], {"a", "b", "c"}, (1,), (1, 2))] == [
        ("a",), ("b", "c"),
    ]  # fmt: skip


class FakeNode:
    """A node as the drainer sees it, with a Slurm of its own."""

    def __init__(self):
        self.kept: Record | None = None
        self.state, self.reason = {"IDLE"}, ""
        self.working: list[list[str]] = []
        self.done: list[str] = []
        self.refuses = False

    def record(self):
        return self.kept

    def keep(self, record):
        self.kept = record
        self.done.append("kept" if record else "forgotten")

    def busy(self):
        return list(self.working.pop(0)) if self.working else []

    def slurm(self):
        if self.refuses:
            raise CannotTell("scontrol does not answer")
        return SlurmNode("n1", frozenset(self.state), ("all",), self.reason)

    def drain(self, reason):
        self.done.append("drain")
        self.state, self.reason = {*self.state, "DRAIN"}, reason

    def undrain(self):
        self.done.append("undrain")
        self.state, self.reason = self.state - {"DRAIN"}, ""


@pytest.fixture
def at():
    return FakeNode()


@pytest.fixture
def make(tmp_path, at, monkeypatch):
    """Makes a drainer of a run for one node that is drained as given."""
    monkeypatch.setattr(drain, "POLL_S", 0.0)

    def made(how, run="r-1"):
        rack = engine_support.rack(tmp_path, ("n1",))
        rack = rack.model_copy(update={"nodes": (gpu_node(drain=how),)})
        sink = ListSink()
        return Drainer(rack, run, SshSettings(tmp_path / "k"), sink, lambda node: at), sink

    return made


SLURM = Drain(by="slurm", deadline_minutes=1)
NO_TIME = Drain(by="slurm", deadline_minutes=0)


class TestDrains:
    def test_slurm_is_told_waited_for_and_told_again(self, make, at):
        at.working = [["python (7)"], []]
        drains, sink = make(SLURM)
        assert drains.take("n1") is None
        assert at.reason == reason_of("r-1")
        assert at.done == ["kept", "drain", "kept"]
        assert at.kept == Record("r-1", "slurm", reason_of("r-1"), ours=True, done=True)
        assert drains.lift("n1") is None
        assert (at.state, at.kept) == ({"IDLE"}, None)
        assert [e.kind for e in sink.seen] == [
            "drain.due", "drain.taken", "drain.wait", "drain.lifted",
        ]  # fmt: skip

    def test_what_was_done_stands_on_the_node_before_it_is_done(self, make, at):
        at.drain = lambda reason: (_ for _ in ()).throw(CannotTell("killed here"))
        drains, _ = make(SLURM)
        assert "killed here" in drains.take("n1")
        assert at.kept == Record("r-1", "slurm", reason_of("r-1"))

    def test_jobs_that_do_not_end_fail_the_node_which_stays_drained(self, make, at):
        at.state = {"ALLOCATED"}
        drains, _ = make(NO_TIME)
        said = drains.take("n1")
        assert "after 0 minutes it is still used: jobs of Slurm (allocated)" in said
        assert "nothing was changed on it" in said
        assert at.done == ["kept", "drain", "kept"]

    def test_a_drain_of_somebody_else_is_used_and_never_lifted(self, make, at):
        at.state, at.reason = {"IDLE", "DRAIN"}, "ann: fan"
        drains, sink = make(SLURM)
        assert drains.take("n1") is None
        assert drains.lift("n1") is None
        assert (at.reason, "undrain" in at.done) == ("ann: fan", False)
        assert sink.seen[-1].kind == "drain.left"

    def test_a_reason_with_a_word_added_is_no_longer_ours(self, make, at):
        drains, sink = make(SLURM)
        drains.take("n1")
        at.reason += " - ann: keep"
        assert drains.lift("n1") is None
        assert "undrain" not in at.done
        assert sink.seen[-1].data["why"].endswith("ann: keep")

    def test_somebody_who_took_the_node_at_the_same_moment_keeps_it(self, make, at):
        ours = at.drain

        def raced(reason):
            ours(reason)
            at.reason = "ann: mine"

        at.drain = raced
        drains, _ = make(SLURM)
        assert drains.take("n1") is None
        assert at.kept.ours is False

    def test_a_killed_run_and_another_run_find_their_drain_again(self, make, at):
        make(SLURM)[0].take("n1")
        again, sink = make(SLURM, run="r-2")
        assert again.take("n1") is None
        assert at.done.count("drain") == 1
        assert at.kept.run == "r-1"
        assert again.lift("n1") is None
        assert sink.seen[-1].kind == "drain.lifted"

    def test_a_drain_that_a_person_lifted_meanwhile_is_made_again(self, make, at):
        make(SLURM)[0].take("n1")
        at.undrain()
        assert make(SLURM)[0].take("n1") is None
        assert at.done.count("drain") == 2

    def test_a_slurm_that_does_not_answer_refuses_the_node(self, make, at):
        at.refuses = True
        assert "scontrol does not answer" in make(SLURM)[0].take("n1")

    def test_where_nothing_drains_a_process_refuses_at_once(self, make, at):
        at.working = [["python (7)"]]
        drains, _ = make(None)
        assert "nothing drains it: python (7)" in drains.take("n1")
        assert at.done == []
        assert drains.take("n1") is None
        assert drains.lift("n1") is None

    def test_a_sites_own_commands_are_told_the_node(self, make, at, tmp_path):
        log = tmp_path / "log"
        script = tmp_path / "site"
        script.write_text(f'#!/bin/sh\necho "$@" >>{log}\n')
        script.chmod(0o755)
        how = Drain(
            by="commands",
            drain=(str(script), "out", "{node}", "{run}"),
            undrain=(str(script), "in", "{node}"),
        )
        drains, _ = make(how)
        assert drains.take("n1") is None
        assert drains.take("n1") is None  # a resume: it is out already
        assert drains.lift("n1") is None
        assert log.read_text() == "out n1 r-1\nin n1\n"
        assert at.kept is None

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("false",), "false ended with 1, and said: nothing"),
            (("/nowhere/site",), "cannot be run here: No such file"),
            (("sh", "-c", "echo no such node >&2; exit 4"), "ended with 4, and said: no such node"),
        ],
    )
    def test_a_command_that_fails_refuses_and_is_tried_again(self, make, at, words, says):
        drains, _ = make(Drain(by="commands", drain=words, undrain=("true",)))
        assert says in drains.take("n1")
        assert (at.kept.done, at.kept.ours) == (False, True)

    def test_our_reason_is_none_of_the_audits(self):
        ours = reason_of("20261123T091500Z-3f9a")
        assert is_ours(ours)
        assert not is_ours(ours + " x")
        assert not is_ours(ours.replace("3f9a", "3f9b"))
        assert audits_reason.read(ours) is None
        assert not audits_reason.tagged(ours)

    def test_a_record_that_is_none_is_not_guessed_at(self):
        whole = {"run": "r", "by": "slurm", "reason": "", "ours": True, "done": True}
        assert Record.from_json(whole).run == "r"
        for broken in ({}, [], None, {**whole, "x": 1}, {**whole, "ours": "yes"}):
            with pytest.raises(CannotTell):
                Record.from_json(broken)


class Drains:
    """Notes in which order nodes are emptied and put back."""

    def __init__(self, log, fails=()):
        self.log, self.fails = log, dict(fails)

    def take(self, name):
        self.log.append(f"take {name}")
        return self.fails.get(f"take {name}")

    def lift(self, name):
        self.log.append(f"lift {name}")
        return self.fails.get(f"lift {name}")

    def stop(self):
        self.log.append("stop")


def verdict_of(*findings):
    return Verdict("verify", "lab", "r", (NodeSummary("n1"),), findings)


def unit_wave(log, findings, *, fails=(), broken=()):
    def apply(todo):
        log.append(f"apply {','.join(todo)}")
        return {n: NodeResult(n not in broken, "gpu_driver" if n in broken else None) for n in todo}

    def gate(nodes):
        log.append(f"gate {','.join(nodes)}")
        return verdict_of(*findings)

    return UnitWave(Drains(log, fails), apply, gate, ListSink())


GOOD = Finding("n1", "audit.ran", "x", Status.PASS)


class TestUnitWave:
    def test_the_order_is_drain_change_gate_and_back(self):
        log = []
        assert unit_wave(log, [GOOD]).run({"n1": ["gpu_driver"]}) == {"n1": NodeResult(True)}
        assert log == ["take n1", "apply n1", "gate n1", "lift n1"]

    def test_a_node_that_is_not_empty_is_not_touched(self):
        log = []
        result = unit_wave(log, [GOOD], fails={"take n1": "still used"}.items()).run({"n1": ["x"]})
        assert log == ["take n1"]
        assert result["n1"] == NodeResult(False, "drain", "still used")

    def test_a_phase_that_fails_keeps_the_drain(self):
        log = []
        result = unit_wave(log, [GOOD], broken={"n1"}).run({"n1": ["gpu_driver"]})
        assert log == ["take n1", "apply n1"]
        assert (result["n1"].ok, result["n1"].phase) == (False, "gpu_driver")

    @pytest.mark.parametrize("status", [Status.FAIL, Status.UNKNOWN])
    def test_a_gate_that_does_not_hold_keeps_the_drain(self, status):
        log = []
        bad = Finding("n1", "audit.gpu.fabric", "x", status, seen="GPU 3", action="reboot")
        result = unit_wave(log, [GOOD, bad]).run({"n1": ["gpu_driver"]})["n1"]
        assert log == ["take n1", "apply n1", "gate n1"]
        assert (result.ok, result.phase) == (False, "gate")
        assert f"audit.gpu.fabric is {status.value}: GPU 3. Next: reboot" in result.message

    def test_a_gate_without_a_finding_is_no_gate(self):
        other = replace(GOOD, node="n2")
        result = unit_wave([], [other]).run({"n1": ["gpu_driver"]})["n1"]
        assert (result.ok, result.phase) == (False, "gate")

    def test_a_resume_behind_the_last_phase_goes_to_the_gate(self):
        log = []
        unit_wave(log, [GOOD]).run({"n1": []})
        assert log == ["take n1", "gate n1", "lift n1"]

    def test_a_drain_that_cannot_be_lifted_is_said(self):
        fails = {"lift n1": "no answer"}.items()
        result = unit_wave([], [GOOD], fails=fails).run({"n1": ["x"]})["n1"]
        assert (result.ok, result.phase, result.message) == (False, "undrain", "no answer")

    def test_several_at_once_fail_each_for_itself(self):
        log = []
        findings = [GOOD, replace(GOOD, node="n2", status=Status.FAIL)]
        wave = unit_wave(log, findings, fails={"take n3": "used"}.items())
        found = wave.run({"n1": ["x"], "n2": ["x"], "n3": ["x"]})
        assert {n: (r.ok, r.phase) for n, r in found.items()} == {
            "n1": (True, None), "n2": (False, "gate"), "n3": (False, "drain"),
        }  # fmt: skip
        assert log[-1] == "lift n1"


class TestClients:
    """The script that runs on a node, on a /proc of a test's own."""

    @pytest.fixture
    def proc(self, tmp_path):
        def process(pid, name, link, group="/user.slice/user-1000.slice"):
            folder = tmp_path / "proc" / str(pid)
            (folder / "fd").mkdir(parents=True)
            (folder / "comm").write_text(f"{name}\n")
            (folder / "cgroup").write_text(f"0::{group}\n")
            (folder / "fd/3").symlink_to(link)

        process(7, "python", "/dev/nvidia-uvm")
        process(8, "nv-hostengine", "/dev/nvidia0", "/system.slice/nvidia-dcgm.service")
        process(9, "bash", "/dev/null")
        process(10, "llama", "/dev/nvidia3", "/system.slice/holdfast-inference.service/payload")
        process(11, "fake", "/dev/nvidia3", "/user.slice/x/system.slice/nvidia-dcgm.service")
        process(12, "xorg", "/dev/nvidiactl")
        box = "/machine.slice/libpod-1.scope/container"
        process(14, "boxed", "/dev/nvidia3", f"{box}/system.slice/nvidia-dcgm.service")
        (tmp_path / "proc/self").mkdir()
        return tmp_path / "proc"

    def found(self, proc, capsys):
        clients.main(proc)
        return [(c["pid"], c["name"]) for c in json.loads(capsys.readouterr().out)["clients"]]

    def test_a_node_that_lies_in_a_control_group_itself_knows_its_services(self, proc):
        """A rehearsed node may be one of several systems below the same groups."""
        box = "/machine.slice/libpod-1.scope/container"
        (proc / "1").mkdir()
        (proc / "1/cgroup").write_text(f"0::{box}/init.scope\n")
        assert clients.unit_of(proc, 14) == "nvidia-dcgm.service"
        assert clients.unit_of(proc, 8) == ""

    def test_who_holds_a_gpu_is_found_at_its_device_file(self, proc, capsys, monkeypatch):
        monkeypatch.setattr(clients, "listed", dict)
        assert self.found(proc, capsys) == [(7, "python"), (11, "fake"), (14, "boxed")]

    def test_who_is_only_listed_counts_as_well(self, proc, capsys, monkeypatch, tmp_path):
        smi = tmp_path / "nvidia-smi"
        smi.write_text("#!/bin/sh\necho '7, /usr/bin/python3'\necho '4711, train'\necho '8, x'\n")
        smi.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert self.found(proc, capsys)[-2:] == [(14, "boxed"), (4711, "train")]

    def test_a_driver_that_answers_nothing_hides_nobody(self, proc, capsys, monkeypatch, tmp_path):
        smi = tmp_path / "nvidia-smi"
        smi.write_text("#!/bin/sh\necho 'Driver/library version mismatch'; exit 18\n")
        smi.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert self.found(proc, capsys) == [(7, "python"), (11, "fake"), (14, "boxed")]

    def test_it_runs_from_standard_input_as_the_engine_calls_it(self, proc):
        with open(clients.__file__, "rb") as source:
            ran = subprocess.run(
                [sys.executable, "-I", "-", proc], stdin=source, capture_output=True, check=True
            )
        assert [c["pid"] for c in json.loads(ran.stdout)["clients"]] == [7, 11, 14]

    def test_a_process_that_cannot_be_seen_is_no_answer(self, proc):
        (proc / "13").mkdir()
        (proc / "13/fd").write_text("")
        with pytest.raises(OSError, match="13/fd"):
            clients.main(proc)


def test_only_what_is_asked_for_may_become_older():
    older = plugin("modules", "rpm_transaction").older
    pairs = [("a-0:2-1.x86_64", "a-0:1-1.x86_64"), ("b-0:2-1.x86_64", "b-0:1-1.x86_64")]
    assert older(pairs, ["a-0:1-1.x86_64", "b-0:1-1.x86_64"]) == []
    assert older(pairs, ["a-0:1-1.x86_64"]) == [
        "b-0:2-1.x86_64 would become the older b-0:1-1.x86_64"
    ]


def test_a_rack_says_how_many_change_their_unit_at_once(tmp_path):
    rack: Rack = engine_support.rack(tmp_path)
    assert rack.waves.unit_sizes == (1,)

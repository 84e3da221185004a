"""What Slurm makes of the audit: every rule of a drain, without Slurm (the journeys have it)."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.health import cli, expect
from provision.health.checks.all import checks
from provision.health.expect import Expected
from provision.health.limits import Limits
from provision.health.places import Mistake
from provision.health.slurm import breaker, controller, reason, record
from provision.health.slurm.believe import RESULT, Evidence, evidence
from provision.health.slurm.controller import Node, Unreachable
from provision.health.slurm.decide import Case, Decision, Rules, case, decide
from provision.health.slurm.record import Record
from tests.unit.health_fixtures import adapter, several
from tests.unit.health_support import BOOT, EXPECT, one, recorded

RULES = Rules.of(Limits(checks(), Expected()))
NEXT_BOOT = "aaaaaaaa-0d7e-4a7c-9d5b-1f0f2f3e4d5c"
UP = Node("n1", frozenset({"IDLE"}), ("all",))
SHOWN = """\
NodeName=n1 Arch=x86_64 CoresPerSocket=1{sp}
   OS=Linux 6.1 State=DOWN Reason=no
   State={state} ThreadsPerCore=1 TmpDisk=0
   Partitions=all,few{sp}
   Comment=Reason=fake State=IDLE+DRAIN
   Reason={reason}

NodeName=n2 Arch=x86_64
   State=MIXED* ThreadsPerCore=1
"""


def finding(check: str, status: str = "pass", **more: Any) -> dict[str, Any]:
    return {"check": check, "title": check, "status": status, "severity": "high", "expected": "",
            "seen": "what was seen", "action": "none", "advice": "", "clears": "", "reason": "",
            "parts": [], **more}  # fmt: skip


def result(*bad: dict[str, Any], ended: float = 1000.0) -> dict[str, Any]:
    """A whole result in which all passes but `bad`."""
    told = {c.id: finding(c.id) for c in checks()} | {f["check"]: f for f in bad}
    return {"schema": "holdfast.health/1", "boot": BOOT, "ended": ended, "started": ended - 1,
            "status": "fail" if bad else "pass", "findings": list(told.values())}  # fmt: skip


LOST = finding("gpu.presence.driver", "fail", severity="critical", action="reboot")
RESET = finding("gpu.recovery", "fail", severity="critical", action="reset_gpu",
                parts=[{"entity": "0000:1b:00.0", "status": "fail", "seen": "x"}])  # fmt: skip
WARM = finding("gpu.temperature.core", "fail", action="inspect")
LOW = finding("gpu.persistence", "fail", severity="low")


class Story:
    """A node over time: results come, Slurm does what is decided."""

    def __init__(self) -> None:
        self.record, self.node, self.now = Record(), UP, 1000.0
        self.boot, self.log = BOOT, {"order": 10, "events": {}}

    def sees(self, *bad: dict[str, Any], later: float = 300.0) -> Decision:
        self.now += later
        return self._judged(Evidence(result(*bad, ended=self.now), "", False, self.boot, self.log))

    def stays_clean(self, results: int = 4) -> list[str]:
        """What is done while results come without a finding, until something is."""
        did = []
        while results > len(did) and "lift" not in did:
            did.append(self.sees().do)
        return did

    def sees_nothing(self, *, waiting: bool = False, later: float = 300.0) -> Decision:
        self.now += later
        return self._judged(Evidence(None, "it is too old", waiting, self.boot))

    def _judged(self, known: Evidence) -> Decision:
        found = case(self.record, known, "high", RULES, self.now)
        decision = decide(self.node, found)
        self.done(decision, found)
        return decision

    def done(self, decision: Decision, found: Case) -> None:
        kept = json.loads(json.dumps(self.record.to_json()))
        assert kept == self.record.to_json(), "the record is plain data"
        drain = decision.drain
        if decision.do in ("drain", "rewrite") and drain is not None:
            drain.settled = True
            if decision.do == "drain":
                self.record.drained.append(self.now)
                drain.by_hand = len(self.record.drained) >= found.rules.flaps
            self.node = Node("n1", frozenset({"IDLE", "DRAIN"}), ("all",), drain.reason, "root")
        if decision.do == "lift":
            drain, self.node = None, UP
        self.record.drain = drain


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_reason_of_ours_says_what_and_is_known_again():
    made = reason.made({**LOST, "seen": 'GPU "5" is [lost]; $(x) \u00e9\n'}, BOOT, 2)
    text = str(made)
    assert text.startswith("holdfast:gpu.presence.driver fail reboot boot=4f1c6a52 sum=")
    assert text.endswith(": GPU 5 is lost (x) (and 2 more)")
    assert reason.read(text) == made
    long = str(reason.made({**LOST, "seen": "x" * 5000}, BOOT, 0))
    assert len(long) < 300
    assert reason.read(long) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t + " - ann: waits for a part",
        lambda t: t.replace("fail", "pass"),
        lambda t: t.replace("reboot", "none"),
        lambda t: t.replace("boot=4", "boot=5"),
        lambda t: t[:-1],
        lambda t: "NHC: " + t,
        lambda _: "holdfast: maintenance",
        lambda _: "",
    ],
)
def test_a_reason_that_somebody_changed_is_not_ours(change):
    assert reason.read(change(str(reason.made(LOST, BOOT, 0)))) is None


def test_what_scontrol_shows_cannot_pass_for_a_state():
    text = SHOWN.format(sp=" ", state="IDLE*+DRAIN", reason="a b [root@2026-11-23T13:27:09]")
    one, two = controller.read(text)
    assert (one.name, one.state, one.partitions) == ("n1", {"IDLE", "DRAIN"}, ("all", "few"))
    assert (one.reason, one.by, one.drained, one.out) == ("a b", "root", True, False)
    assert (two.name, two.state, two.partitions, two.reason) == ("n2", {"MIXED"}, (), "")
    assert not two.drained
    plain = next(controller.read(SHOWN.format(sp="", state="DOWN", reason="x [a] y")))
    assert (plain.reason, plain.by, plain.drained, plain.out) == ("x [a] y", "", False, True)
    with pytest.raises(Unreachable, match="no state"):
        list(controller.read("NodeName=n1 Arch=x\n   Partitions=a\n"))


def nodes(drained: int, total: int = 20, words: str = "holdfast:x") -> list[Node]:
    gone = frozenset({"IDLE", "DRAIN"})
    return [
        Node(f"n{n}", gone if n <= drained else frozenset({"IDLE"}), ("all",),
             words if n <= drained else "")
        for n in range(1, total + 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "drained", "total", "allowed", "tripped"),
    [
        ({}, 0, 4, 1, False),
        ({}, 1, 4, 1, True),
        ({}, 1, 20, 2, False),
        ({}, 2, 20, 2, True),
        ({"max_percent": 50}, 9, 20, 10, False),
        ({"max_percent": 50}, 10, 20, 10, True),
        ({"max_nodes": 3}, 2, 20, 3, False),
        ({"max_nodes": 3}, 3, 20, 3, True),
    ],
)
def test_the_breaker_counts(settings, drained, total, allowed, tripped):
    counted = breaker.count(nodes(drained, total), f"n{total}", settings)
    assert (counted.allowed, counted.others, counted.tripped) == (allowed, drained, tripped)


def test_the_breaker_counts_in_its_partition_and_only_ours():
    assert breaker.count(nodes(5, words="NHC: bad"), "n20", {}).others == 0
    assert breaker.count(nodes(5, words="holdfast:x, ann: part"), "n20", {}).others == 5
    with pytest.raises(Unreachable, match="the partition gpu"):
        breaker.count(nodes(0), "n20", {"partition": "gpu"})
    some = [replace(n, partitions=("gpu",)) if n.name in ("n1", "n2") else n for n in nodes(9)]
    assert breaker.count(some, "n2", {"partition": "gpu"}).nodes == 2
    with pytest.raises(Unreachable, match="cluster"):
        breaker.count([], "n1", {})


def test_a_healthy_node_is_left_alone(story):
    assert (story.sees().do, story.sees().outcome) == ("leave", "well")
    assert story.sees(LOW, LOW).outcome == "well", "below the severity that counts"


def test_a_critical_failure_drains_at_once(story):
    decision = story.sees(LOST)
    assert decision.do == "drain"
    assert "gpu.presence.driver fail reboot" in decision.said


def test_what_is_less_certain_is_seen_twice(story):
    unknown = {**LOST, "status": "unknown"}
    assert (story.sees(WARM).outcome, story.sees(unknown).outcome) == ("sick", "sick")
    assert story.sees(later=1).outcome == "well"
    assert story.sees(WARM).do == "leave"
    assert story.sees(WARM).do == "drain"


def test_the_same_result_is_one_strike_however_often_it_is_read(story):
    known = Evidence(result(WARM, ended=1.0), "", False, BOOT)
    for _ in range(5):
        assert decide(UP, case(story.record, known, "high", RULES, 2.0)).do == "leave"


def test_a_missing_result_drains_and_a_young_node_waits(story):
    assert story.sees_nothing(waiting=True).outcome == "waiting"
    decision = story.sees_nothing()
    assert (decision.do, RESULT in decision.said) == ("drain", True)
    assert story.sees_nothing().outcome == "held"
    assert story.stays_clean() == ["leave", "lift"]


@pytest.mark.parametrize(
    "theirs",
    [
        Node("n1", frozenset({"IDLE", "DRAIN"}), (), "rack moves", "ann"),
        Node("n1", frozenset({"IDLE", "DRAIN"}), (), "holdfast: kept by ann", "ann"),
        Node("n1", frozenset({"IDLE", "DRAIN"}), (), "", ""),
        Node("n1", frozenset({"DOWN"}), (), "part ordered", "ann"),
    ],
    ids=lambda n: n.reason or "no-reason",
)
def test_what_somebody_else_took_out_is_left_alone(story, theirs):
    story.node = theirs
    for bad in ([LOST], [LOST], [], [], [], []):
        decision = story.sees(*bad)
        assert (decision.do, decision.outcome) == ("leave", "foreign")
    assert theirs.reason in decision.said


def test_ours_that_somebody_changed_is_theirs(story):
    story.sees(WARM)
    story.sees(WARM)
    story.node = replace(story.node, reason=story.node.reason + " ann: part ordered", by="ann")
    for _ in range(5):
        decision = story.sees()
    assert (decision.do, "somebody changed" in decision.said) == ("leave", True)


def test_ours_is_lifted_after_clean_results_and_a_while(story):
    story.sees(WARM)
    assert story.sees(WARM).do == "drain"
    assert story.sees(WARM).outcome == "held"
    assert "so far 1" in story.sees(later=590).said
    assert "9 s more" in story.sees(later=1).said
    assert story.sees(later=10).do == "lift"


def test_a_missing_result_lifts_nothing(story):
    story.sees(LOST)
    for _ in range(5):
        assert story.sees_nothing(waiting=True).outcome == "held"


def test_a_check_that_is_not_judged_any_more_lifts_nothing(story):
    mine = finding("site.mine", "fail", severity="critical")
    story.sees(mine)
    for _ in range(5):
        decision = story.sees()
    assert "site.mine is not judged any more" in decision.said


def test_a_restart_that_is_owed_has_to_be_seen(story):
    story.sees(LOST)
    for _ in range(4):
        decision = story.sees()
    assert "passes, but the node has not restarted" in decision.said
    story.boot = NEXT_BOOT
    assert story.sees().do == "lift"


@pytest.mark.parametrize(
    ("events", "lifts"),
    [
        ({}, False),
        ({"loaded": {"order": 5}}, False),
        ({"loaded": {"order": 11}}, True),
        ({"recovered||0000:1b:00.0": {"order": 11}}, True),
        ({"recovered||0000:1b:00.0": {"order": 9}}, False),
        ({"recovered||0000:ff:00.0": {"order": 11}}, False),
    ],
    ids=lambda e: (
        "-".join(f"{k}@{v['order']}" for k, v in e.items()) if isinstance(e, dict) else ""
    ),
)
def test_a_reset_that_is_owed_has_to_be_seen(story, events, lifts):
    story.sees(RESET)
    story.log = {"order": 20, "events": events}
    assert ("lift" in story.stays_clean()) is lifts
    story.boot = NEXT_BOOT
    assert lifts or story.sees().do == "lift"


def test_another_cause_takes_over_and_the_first_still_counts(story):
    story.sees(LOST)
    first = story.node.reason
    decision = story.sees(RESET)
    assert (decision.do, "gpu.recovery" in story.node.reason) == ("rewrite", True)
    assert story.node.reason != first
    story.log = {"order": 20, "events": {"loaded": {"order": 11}}}
    for _ in range(4):
        decision = story.sees()
    assert "gpu.presence.driver passes, but the node has not restarted" in decision.said


def test_a_node_without_a_memory_reads_its_own_reason(story):
    story.sees(LOST)
    story.record = Record()
    assert story.sees().outcome == "held"
    story.record, story.boot = Record(), NEXT_BOOT
    assert story.stays_clean() == ["leave", "leave", "lift"]


def test_a_node_that_flaps_ends_with_a_person(story):
    did = []
    for _ in range(5):
        did += [story.sees(WARM).do, story.sees(WARM).do]
        did += [story.sees().do, story.sees().do, story.sees().do, story.sees().do]
    assert did.count("drain") == 3
    assert did.count("lift") == 2
    assert "a person lifts it: scontrol update NodeName=n1" in story.sees().said
    story.now += 10 * RULES.window
    assert story.sees().outcome == "held", "time alone does not lift it"
    story.node, story.record.drain = UP, None
    assert story.sees().outcome == "well"


def test_checks_about_slurm_never_drain(story):
    mine = finding("scheduler.slurm", "fail", severity="critical")
    assert story.sees(mine).outcome == "well"


def node_folder(at: Path, told: Any, boot: str = BOOT, uptime: float = 86400) -> Path:
    (at / "proc/sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (at / "proc/sys/kernel/random/boot_id").write_text(boot + "\n")
    (at / "proc/uptime").write_text(f"{uptime} 1.0\n")
    (at / "result.json").write_text(told if isinstance(told, str) else json.dumps(told))
    return at


def test_a_whole_young_result_of_this_start_is_believed(tmp_path):
    told = result(ended=time.time())
    found = evidence(node_folder(tmp_path, told), tmp_path, 900)
    assert (found.result, found.why, found.waiting) == (told, "", False)


def lacking(told: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(told)
    made["findings"] = made["findings"][1:]
    return made


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: {**t, "ended": time.time() - 901}, "more than 900 s"),
        (lambda t: {**t, "ended": time.time() + 120}, "ago"),
        (lambda t: {**t, "boot": NEXT_BOOT}, "before the node's last start"),
        (lambda t: {**t, "boot": ""}, "before the node's last start"),
        (lambda t: {**t, "schema": "holdfast.health/0"}, "another kind"),
        (lambda t: {**t, "findings": []}, "lacks"),
        (lacking, "lacks 1 checks"),
        (lambda t: {k: v for k, v in t.items() if k != "ended"}, "KeyError"),
        (lambda t: json.dumps(t)[:-9], "cannot be read"),
        (lambda _: "[]", "cannot be read"),
        (lambda _: "", "cannot be read"),
        (lambda t: {**t, "ended": "now"}, "cannot be read"),
    ],
)
@pytest.mark.parametrize(("uptime", "waiting"), [(86400, False), (300, True)])
def test_what_is_not_believed_and_why(tmp_path, change, says, uptime, waiting):
    told = change(result(ended=time.time()))
    found = evidence(node_folder(tmp_path, told, uptime=uptime), tmp_path, 900)
    assert (found.result, says in found.why, found.waiting) == (None, True, waiting), found.why


def test_a_result_is_not_there_at_all(tmp_path):
    at = node_folder(tmp_path, "x")
    (at / "result.json").unlink()
    assert "no audit has ended" in evidence(at, at, 900).why
    (at / "last_failure.json").write_text('{"when": 0, "result": "timeout", "status": ""}')
    assert "1970-01-01 00:00:00 UTC was cut off" in evidence(at, at, 900).why


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "x"}', '{"schema": 3, "drain": 1}'])
def test_a_record_that_cannot_be_read_is_an_empty_one(tmp_path, text):
    (tmp_path / "slurm.json").write_text(text)
    assert record.load(tmp_path) == Record()


def test_a_record_comes_back_as_it_was(tmp_path, story):
    story.sees(RESET)
    record.save(tmp_path, story.record)
    assert record.load(tmp_path) == story.record


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"drain": "yes"}, "slurm.drain must be of type boolean"),
        ({}, "has no 'drain'"),
        ({"drain": True, "max_percent": 0}, "from 1 to 100"),
        ({"drain": True, "max_drained": "10%"}, "unknown key 'max_drained'"),
        ({"drain": True, "least": "grave"}, "slurm.least must be one of"),
    ],
)
def test_a_mistake_in_the_declaration_is_said(tmp_path, capsys, section, says):
    told = json.dumps({**EXPECT, "slurm": section})
    with pytest.raises(Mistake) as raised:
        expect.read(told)
    assert says in str(raised.value)
    (tmp_path / "e.json").write_text(told)
    for which, code in (("check", 2), ("prolog", 0), ("epilog", 0)):
        words = ["slurm", which, "--expect", str(tmp_path / "e.json"), "--state", str(tmp_path)]
        assert cli.main(words) == code
        assert says in capsys.readouterr().err


def test_without_slurm_it_says_so_and_keeps_what_it_knows(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(controller, "PLACES", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    at = node_folder(tmp_path, result(LOST, ended=time.time()))
    (at / "e.json").write_text(json.dumps({**EXPECT, "slurm": {"drain": True}}))
    words = ["--expect", str(at / "e.json"), "--state", str(at), "--root", str(at)]
    assert cli.main(["slurm", "check", *words]) == 3
    assert "the command scontrol is not there. Nothing was changed" in capsys.readouterr().err
    assert cli.main(["slurm", "prolog", *words]) == 0
    assert record.load(at).outcome == "unreachable"
    assert "holdfast_slurm_controller_reached{" in (at / "holdfast_slurm.prom").read_text()


def test_where_drains_are_not_asked_for_slurm_is_not_asked(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    at = node_folder(tmp_path, result(LOST, ended=time.time()))
    (at / "e.json").write_text(json.dumps(EXPECT))
    words = ["--expect", str(at / "e.json"), "--state", str(at), "--root", str(at)]
    assert cli.main(["slurm", "check", *words]) == 1
    assert "not asked for" in capsys.readouterr().err
    assert cli.main(["slurm", "prolog", *words]) == 0
    assert not (at / "slurm.json").exists()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (adapter("well"), "pass"),
        (adapter("held"), "pass"),
        (adapter("tripped"), "fail"),
        (adapter("unreachable"), "unknown"),
        (adapter("well", age=1000), "fail"),
        (adapter("well", age=1000, uptime=300), "pass"),
        (lambda n: n.expected.update(slurm={"drain": True}), "unknown"),
        (several(lambda n: n.expected.update(slurm={"drain": True}),
                 lambda n: n.files.update({"proc/uptime": "300 1"})), "pass"),
        (lambda n: n.expected.update(slurm={"drain": False}), "not_applicable"),
        (several(adapter("well"),
                 lambda n: n.files.update({"var/lib/holdfast/health/slurm.json": "{"})), "unknown"),
    ],
)  # fmt: skip
def test_the_audit_sees_what_the_adapter_did(tmp_path, monkeypatch, change, status):
    node = recorded(tmp_path)
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(node.state_file))
    change(node)
    for name, text in node.files.items():
        (node.root / name).parent.mkdir(parents=True, exist_ok=True)
        (node.root / name).write_text(str(text))
    if "proc/uptime" not in node.files:
        node_folder(tmp_path, "{}")
    found = one(node.audit("scheduler.slurm"), "scheduler.slurm")
    assert (found.status, found.seen or found.reason) == (status, found.seen or found.reason)

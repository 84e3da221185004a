"""Waves and plans: who is handled together, what is announced, who has nothing to do."""

from __future__ import annotations

import json

import pytest

from provision.core.events import Event
from provision.engine import plan as plans
from provision.engine.apply import NOBODY, RESTART_GROUP, hosts_of, phases_of, pieces
from provision.engine.journal import RunState
from provision.engine.plan import Item, NodePlan, Plan, Stop
from provision.engine.waves import over_budget, split


@pytest.mark.parametrize(
    ("count", "sizes", "want"),
    [
        (0, (1, 8), []),
        (1, (1, 8, 50), [1]),
        (9, (1, 8, 50), [1, 8]),
        (70, (1, 8, 50), [1, 8, 50, 11]),
        (5, (2,), [2, 2, 1]),
    ],
)
def test_waves_have_their_sizes_and_keep_the_order(count, sizes, want):
    names = [f"n{i}" for i in range(count)]
    waves = split(names, sizes)
    assert [len(w.nodes) for w in waves] == want
    assert [n for w in waves for n in w.nodes] == names
    assert [w.number for w in waves] == list(range(1, len(want) + 1))


@pytest.mark.parametrize("sizes", [(), (0,), (1, -2)])
def test_wave_sizes_must_be_positive(sizes):
    with pytest.raises(ValueError, match="positive"):
        split(["n1"], sizes)


def test_budget_is_what_is_tolerated():
    assert not over_budget(0, 0)
    assert over_budget(1, 0)
    assert not over_budget(2, 2)


def end(node, phase, task, status="changed", **data):
    body = {"task": task, "status": status, "changes": [], "depends": None, "check": True}
    return Event("task.end", node, phase, {**body, **data})


def test_plan_says_what_changes_and_what_depends():
    events = [
        end("n1", "base", "Packages", changes=["install a", "install b"]),
        end("n1", "time", "Service", changes=["start chronyd"], depends="chrony is not there yet"),
        end("n1", "time", "Look", status="ok"),
        end("n1", "node_lock", "Hold"),
        end("n2", "time", "Look", status="ok"),
    ]
    plan = plans.build(["n1", "n2"], events)
    first = plan.of("n1")
    assert [(i.phase, i.kind, i.changes) for i in first.items] == [
        ("base", "change", ("install a", "install b")),
        ("time", "depends", ("start chronyd",)),
    ]
    assert first.looked == 3
    assert plan.of("n2").nothing
    assert plan.changing == ("n1",)
    assert plan.counts() == {
        "nodes": 2, "nodes_changing": 1, "nodes_stopped": 0, "changes": 2, "depends": 1,
    }  # fmt: skip
    assert Plan.from_json(plan.to_json()) == plan
    with pytest.raises(KeyError):
        plan.of("n3")


def test_plan_says_what_no_restore_takes_back():
    notes = ["install aide", "sugroup: it stays"]
    events = [
        end("n1", "hardening", "Controls", changes=["set x"], notes=notes),
        end("n1", "access", "Controls", changes=["set y"], notes=notes[:1]),
        end("n2", "hardening", "Controls", changes=["set x"]),
        end("n2", "access", "Controls", changes=["set y"]),
    ]
    plan = plans.build(["n1", "n2"], events)
    assert plan.of("n1").lasting == tuple(notes)
    assert [g.nodes for g in plan.groups()] == [("n1",), ("n2",)]
    assert plan.to_json()["nodes"][0]["cannot_be_undone"] == notes
    assert Plan.from_json(plan.to_json()) == plan
    text = plans.render(plan)
    assert text.count("cannot be undone") == 2
    assert "  ! cannot be undone: sugroup: it stays\n" in text


def test_a_node_that_was_not_looked_at_has_no_empty_plan():
    plan = plans.build(["n1"], [])
    assert not plan.of("n1").nothing
    assert plan.changing == ()
    assert [p.node for p in plan.stopped] == ["n1"]


def test_a_failed_look_stops_the_plan_of_that_node():
    data = {"status": "failed", "task": "Packages", "message": "no such package"}
    events = [
        end("n1", "base", "Packages", status="failed"),
        Event("phase.end", "n1", "base", data),
    ]
    plan = plans.build(["n1"], events)
    assert plan.of("n1").stop == Stop("base", "Packages", "no such package")
    assert "no such package" in plans.render(plan)
    assert Plan.from_json(plan.to_json()) == plan


def test_a_restart_that_is_due_is_a_change():
    plan = plans.build(["n1"], [end("n1", "base", "Look", status="ok")], {"n1": ("new glibc",)})
    assert plan.changing == ("n1",)
    assert "new glibc" in plans.render(plan)


def test_nodes_with_the_same_changes_stand_together():
    item = Item("base", "t", ("a",))
    plan = Plan(
        (
            NodePlan("n1", (item,), 3),
            NodePlan("n2", (), 3),
            NodePlan("n3", (item,), 4),
            NodePlan("n4", (Item("base", "t", ("b",)),), 3),
        )
    )
    assert [g.nodes for g in plan.groups()] == [("n1", "n3"), ("n2",), ("n4",)]
    text = plans.render(plan)
    assert "n1, n3  (2 nodes)" in text
    assert "nothing to change (3 tasks looked)" in text
    assert "3 of 4 nodes change" in text
    assert "\x1b" not in text
    assert "\x1b[1m" in plans.render(plan, bold=True)


def test_digests_are_cut_for_a_person_only():
    digest = "sha256:" + "7dea81960fa3" + "0" * 52
    plan = Plan((NodePlan("n1", (Item("inference", "t", (f"load llama-cpp@{digest}",)),), 3),))
    assert "~ load llama-cpp@sha256:7dea81960fa3\n" in plans.render(plan)
    assert digest in json.dumps(plan.to_json())


def test_what_is_left_of_a_plan_is_what_no_phase_has_done():
    items = (Item("base", "t", ("a",)), Item("time", "t", ("b",)))
    plan = Plan(tuple(NodePlan(name, items, 3) for name in ("n1", "n2", "n3")))
    state = RunState()
    state.node("n1").status = "ok"
    state.node("n2").phases["base"] = "changed"
    state.node("n2").phases["time"] = "failed"
    left = plan.left("r1", state)
    assert [(p.node, [i.phase for i in p.items]) for p in left.nodes] == [
        ("n2", ["time"]),
        ("n3", ["base", "time"]),
    ]
    text = plans.render(left)
    assert text.startswith("run r1 goes on, and this is left of its plan\nfinished before: n1\n\n")
    assert "2 of 2 nodes change: 3 changes" in text
    assert "goes on" not in plans.render(plan)
    state.node("n2").status = state.node("n3").status = "ok"
    assert plans.render(plan.left("r1", state)) == (
        "run r1 goes on, and nothing is left of its plan\nfinished before: n1, n2, n3\n"
    )


def test_many_names_are_cut():
    plan = Plan(tuple(NodePlan(f"n{i}", (), 1) for i in range(30)))
    assert "and 18 more" in plans.render(plan)


def test_unknown_plan_schema_is_refused():
    with pytest.raises(ValueError, match="unknown plan schema"):
        Plan.from_json({"schema": "holdfast.plan/99"})


def test_host_patterns_split_where_a_restart_may_come():
    phases = ("repositories", "base", "time", "hardening", "inference")
    left = {
        "n1": list(phases),
        "n2": ["time", "hardening", "inference"],
        "n3": ["base"],
        "n4": [],
        "n5": ["inference"],
    }
    made = hosts_of(phases, left)
    nobody = dict.fromkeys(phases, NOBODY)
    assert made["engine_before"] == {**nobody, "repositories": "n1", "base": "n1,n3"}
    both = f"n1,n2,!{RESTART_GROUP}"
    assert made["engine_middle"] == {**nobody, "time": both, "hardening": both}
    assert made["engine_after"] == {**nobody, "inference": f"n1,n2,n5,!{RESTART_GROUP}"}
    assert made["engine_restart_hosts"] == f"n1,n2,n5,!{RESTART_GROUP}"
    assert made["engine_restart_again_hosts"] == f"n1,n2,n5,!{RESTART_GROUP}"
    # Without a profile nobody is asked after hardening.
    assert hosts_of(phases, left, again=False)["engine_restart_again_hosts"] == NOBODY


def test_base_and_the_gpu_driver_take_one_restart_together():
    phases = ("repositories", "base", "gpu_driver", "gpu_fabric", "hardening", "access")
    assert pieces(phases) == [phases[:3], phases[3:5], phases[5:]]


def test_phases_are_the_plays_of_the_playbook(tmp_path):
    site = tmp_path / "site.yml"
    site.write_text("- {name: base, hosts: all}\n- {name: time, hosts: all}\n", encoding="utf-8")
    assert phases_of(site) == ("base", "time")
    site.write_text("[]\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no named play"):
        phases_of(site)

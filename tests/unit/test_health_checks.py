"""Every check fails where it should and passes where it should: the table check x fixture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.health.checks.all import NAMES, checks, known
from provision.health.limits import lint
from provision.health.words import ACTIONS, FAIL, NOT_APPLICABLE, PASS, SEVERITIES
from tests.unit.health_fixtures import FAILING, PASSING, Failing, page
from tests.unit.health_support import Recorded, one, recorded

pytestmark = pytest.mark.slow
CHECKS = {check.id: check for check in checks()}


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """One folder for all nodes, and what lies there: laying a whole node takes long."""
    return tmp_path_factory.mktemp("node"), {}


@pytest.fixture
def node(ground, monkeypatch) -> Recorded:
    made = recorded(ground[0], laid=ground[1])
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(made.state_file))
    return made


def test_a_healthy_node_passes_everything(node):
    node.lay()
    result = node.audit()
    bad = {f.check: f.seen for f in result.findings if f.status not in (PASS, NOT_APPLICABLE)}
    assert bad == {}
    not_meant = [f.check for f in result.findings if f.status == NOT_APPLICABLE]
    assert not_meant == ["gpu.pages", "scheduler.slurm"]
    assert result.status == PASS


@pytest.mark.parametrize("model", ["a100-sxm", "b200", "l40s"])
def test_a_healthy_node_of_another_model_passes_everything(ground, monkeypatch, model):
    """An A100 has NVSwitches, and no fabric to register with."""
    made = recorded(ground[0], model, ground[1])
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(made.state_file))
    made.expected["gpus"] |= {"count": len(made.gpus.gpus), "model": made.gpus.gpus[0].name}
    made.lay()
    bad = {f.check: f.seen for f in made.audit().findings if f.status not in (PASS, NOT_APPLICABLE)}
    assert bad == {}


def test_no_check_is_without_a_node_on_which_it_passes(node):
    """What the healthy node passes only as not applicable has a node of another kind."""
    node.lay()
    passed = {f.check for f in node.audit().findings if f.status == PASS}
    assert set(CHECKS) - passed - set(PASSING) == set()


def test_the_table_names_every_check():
    rows = [line.split("|") for line in page().splitlines() if line.startswith("| [")]
    assert [row[1].split("]")[0].strip(" [") for row in rows] == [c.id for c in known()]
    assert all(row[2].strip() and row[3].strip() for row in rows)


@pytest.mark.parametrize("check", sorted(PASSING))
def test_a_node_of_another_kind_passes(node, check):
    PASSING[check](node)
    node.lay()
    finding = one(node.audit(check), check)
    assert (finding.status, finding.seen) == (PASS, finding.seen)


@pytest.mark.parametrize("failing", FAILING, ids=lambda f: f.id)
def test_a_sick_node_fails(node, failing: Failing):
    failing.change(node)
    node.lay()
    result = node.audit(failing.check)
    if failing.later is not None:
        assert one(result, failing.check).status != FAIL, "only the second sample shows it"
        node.later(60)
        failing.later(node)
        node.lay()
        result = node.audit(failing.check)
    finding = one(result, failing.check)
    assert (finding.status, finding.seen) == (FAIL, finding.seen)
    assert failing.says in finding.seen
    assert finding.advice
    assert finding.clears
    if failing.action:
        assert finding.action == failing.action


def without_fixture(names: set[str], failing: set[str]) -> set[str]:
    return names - failing


def test_no_check_is_without_a_fixture():
    failing = {f.check for f in FAILING}
    assert without_fixture(set(CHECKS), failing) == set()
    assert failing <= set(CHECKS)
    assert without_fixture({*CHECKS, "planted"}, failing) == {"planted"}
    assert len({f.id for f in FAILING}) == len(FAILING)


def test_every_check_says_what_it_is():
    assert len(CHECKS) == len(NAMES)
    for check in CHECKS.values():
        assert check.severity in SEVERITIES
        assert check.action in ACTIONS
        said = (check.title, check.what, check.why, check.signal, check.advice, check.clears)
        assert all(said), check.id
        assert check.needs, check.id
    assert lint(CHECKS.values()) == []

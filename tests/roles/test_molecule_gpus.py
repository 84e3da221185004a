"""The molecule scenarios of the roles for GPUs, against one simulated node that has some."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provision.rehearsal.rack import Rehearsal
from tests.roles import scenarios

HERE = scenarios.in_order({*scenarios.NEED_GPUS & scenarios.SCENARIOS, "container_runtime"})
"""Containers are handed GPUs by the runtime, where there are some."""
NOT_SEEN = {"health_audit"}
"""Scenarios that nobody has seen pass as a whole yet; they belong to `make soak` until then."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A rack with one bare node that has GPUs."""
    with scenarios.bare_node(tmp_path_factory.mktemp("state"), gpus="h100-sxm") as rack:
        yield rack


def marked(scenario: str):
    """The scenario with the mark that says when it runs."""
    kind = pytest.mark.soak if scenario in NOT_SEEN else pytest.mark.rehearsal
    return pytest.param(scenario, marks=kind)


@pytest.mark.parametrize("scenario", [marked(one) for one in HERE])
def test_scenario(scenario, node, tmp_path):
    scenarios.run(scenario, node, tmp_path, prepared=False)

"""The molecule scenarios of the roles for GPUs, against one simulated node that has some."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provision.rehearsal.rack import Rehearsal
from tests.roles import scenarios

HERE = scenarios.in_order({*scenarios.NEED_GPUS & scenarios.SCENARIOS, "container_runtime"})
"""Containers are handed GPUs by the runtime, where there are some."""

pytestmark = pytest.mark.rehearsal


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A rack with one bare node that has GPUs."""
    with scenarios.bare_node(tmp_path_factory.mktemp("state"), gpus="h100-sxm") as rack:
        yield rack


@pytest.mark.parametrize("scenario", HERE)
def test_scenario(scenario, node, tmp_path):
    scenarios.run(scenario, node, tmp_path, prepared=False)

"""Every role's molecule scenario, against one simulated node.

A scenario applies its role, applies it again without a change, looks at what the node really
does, lets the node drift, and looks whether the role mends it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provision.rehearsal.rack import Rehearsal
from tests.roles import scenarios

HERE = scenarios.in_order(scenarios.SCENARIOS - scenarios.NEED_GPUS)

pytestmark = pytest.mark.rehearsal


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A rack with one bare node."""
    with scenarios.bare_node(tmp_path_factory.mktemp("state"), gpus=None) as rack:
        yield rack


@pytest.fixture(scope="module")
def passed() -> set[str]:
    """The scenarios that passed on the node."""
    return set()


@pytest.mark.parametrize("scenario", HERE)
def test_scenario(scenario, node, passed, tmp_path):
    prepared = set(HERE[: HERE.index(scenario)]) <= passed
    scenarios.run(scenario, node, tmp_path, prepared=prepared)
    passed.add(scenario)

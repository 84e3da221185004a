"""A real node against the image that it came from: all that is planted is found, nothing else.

The node is a rehearsal's, started and not provisioned; its image is signed here from the base that
it started from. What the rehearsal itself puts on a node is a site's own list of what is ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.core.events import NullSink
from provision.rehearsal import rack as racks
from tests.rehearsal.conftest import SimulatedRack
from tests.soak.drifting import IGNORED, PLANTED, image_of, packed, says_its_image

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedRack]:
    """One node, started and no more."""
    before, state = os.environ.get("XDG_STATE_HOME"), tmp_path_factory.mktemp("state")
    os.environ["XDG_STATE_HOME"] = os.fspath(state)
    try:
        built = racks.build(release="10", count=1, events=NullSink(), keep=False)
        try:
            yield SimulatedRack(built, state)
        finally:
            built.take_down()
    finally:
        os.environ.pop("XDG_STATE_HOME")
        if before is not None:
            os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="module")
def words(bare: SimulatedRack, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that compares the node with its image, which the node now names."""
    folder = tmp_path_factory.mktemp("image")
    image, public = image_of(bare.rehearsal.base / "root", folder)
    ignored = folder / "ignored.tsv"
    ignored.write_text(IGNORED)
    bare.ssh("n1", says_its_image(image))
    return ["image", "drift", str(bare.inventory), "--image", str(image), "--key", str(public),
            "--ignore", str(ignored)]  # fmt: skip


def test_a_node_that_only_started_has_not_drifted(bare: SimulatedRack, words: list[str]):
    ran = bare.holdfast(*words, "--json", timeout=1200)
    assert ran.code == 0, ran.said()
    (node,) = ran.document["nodes"]
    assert (node["drifts"], node["unknown"]) == ([], [])
    assert node["ignored"]


def test_all_that_is_planted_is_found_and_nothing_else(
    bare: SimulatedRack, words: list[str], tmp_path: Path
):
    bare.ssh("n1", packed(tmp_path))
    bare.ssh("n1", "set -e\n" + "\n".join(command for _, _, command in PLANTED)
             + "\nrm /root/*.rpm", timeout=600)  # fmt: skip
    ran = bare.holdfast(*words, "--json", timeout=1200)
    assert ran.code == 1, ran.said()
    (node,) = ran.document["nodes"]
    found = sorted((d["kind"], d["what"]) for d in node["drifts"])
    wanted = sorted((kind, what) for kind, what, _ in PLANTED)
    assert len(found) == len(wanted), found
    for (kind, what), (planted_kind, planted) in zip(found, wanted, strict=True):
        assert kind == planted_kind
        assert what == planted or what.startswith((f"{planted}-", f"{planted}."))
    assert all(d["restore"] for d in node["drifts"])
    assert node["unknown"] == []


def test_a_node_that_names_no_image_or_another_is_unknown(bare: SimulatedRack, words: list[str]):
    bare.ssh("n1", "mv /etc/holdfast/image.json /root/")
    ran = bare.holdfast(*words, "--json", timeout=1200)
    assert ran.code == 1, ran.said()
    assert ran.document["nodes"][0]["status"] == "unknown"
    bare.ssh("n1", "sed 's/[0-9a-f]\\{64\\}/'$(printf '%064d' 0)'/' /root/image.json"
             " >/etc/holdfast/image.json")  # fmt: skip
    ran = bare.holdfast(*words, timeout=1200)
    assert ran.code == 1, ran.said()
    assert "came from another image" in ran.out

"""A node in use is hardened, and the hardening is taken back, file by file.

As an administrator I want to try a profile on a rack that people use, and to have an answer for
the day on which a control breaks what they do. What I changed by hand meanwhile stays mine, and
what cannot be taken back I want to know before.

Each profile on a node of its own; prints how many changes there were and how `up` ended, which is
with 0 where the profile's baseline is met. A provisioned node, the profile with its scan and four
restores are minutes for each, too much for `make test`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.soak.restoring import harden, inventory, look_and_restore, restore_by_force
from tests.soak.test_kill_campaign import one_node

pytestmark = pytest.mark.soak

ABSENT = {
    "crypto-policies-installed": "Debian has no such package",
    "subscription-tool-installed": "Debian has no such package",
}


@pytest.mark.parametrize("release", ["10", "9"])
@pytest.mark.parametrize("profile", ["cis_l1_server", "cis_l2_server", "stig"])
def test_a_profile_is_taken_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    profile: str,
    release: str,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", os.fspath(tmp_path))
    with one_node(tmp_path, release) as rack:
        ran = rack.holdfast("up", rack.inventory, timeout=1800)
        assert ran.code == 0, ran.said()
        tried = harden(rack, "n1", inventory(rack, profile, ABSENT if profile == "stig" else {}))
        with capfd.disabled():
            print(f"\nEL {release}, {profile}: {tried.told()}")
        assert any(note.startswith("install ") for note in tried.announced), tried.announced
        assert any(note.startswith("password-max-age: ") for note in tried.announced)
        assert len(tried.changes()) > 60
        done = look_and_restore(tried)
        assert len(done["changes"]) > 40
        assert set(done["cannot_be_undone"]) >= set(tried.announced)
        restore_by_force(tried)
        assert tried.ended.code == 0, tried.told()

"""5,000 mutated inventories: exit 0 or 2, never a traceback, never a connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.inventory_fuzz import check_mutations

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("seed", range(5))
def test_mutated_inventories(
    seed: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    codes = check_mutations(seed, 1000, tmp_path, capsys)
    with capsys.disabled():
        print(f"\nseed {seed}: {dict(codes)}")
    assert codes.total() == 1000
    assert codes[0] > 50, "too few stayed valid to say anything about exit 0"

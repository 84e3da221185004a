"""The list of calls for the first run on hardware: every reading of the audit, answered or not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.rehearsal.gpu import build, models, state
from provision.rehearsal.gpu.state import Fault

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def listed(folder: Path, name: str, *faults: Fault) -> tuple[int, list[dict[str, Any]]]:
    model = models.load(name)
    library = build.build(model.driver.version, lacks=model.driver.lacks)
    place, out = folder / "gpus.json", folder / "calls.json"
    state.write(place, state.struck(models.fresh(model), *faults))
    done = subprocess.run(
        [sys.executable, "-m", "provision.health", "calls", "--nvml", library.nvml, "--out", out],
        cwd=ROOT, env={"HOLDFAST_GPUS_STATE": str(place), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    told = json.loads(out.read_text())
    assert done.stdout.count("\n") == len(told["readings"]) + 1
    return done.returncode, told["readings"]


@pytest.mark.parametrize("model", ["h100-sxm", "l40s"])
def test_every_reading_is_listed_with_its_time(tmp_path, model):
    code, rows = listed(tmp_path, model)
    assert code == 0
    assert len({r["part"] for r in rows}) == len(rows)
    assert all(r["ms"] >= 0 and r["call"] for r in rows)
    one = {r["part"].split(".", 3)[-1]: r for r in rows if r["part"].startswith("gpu.0000:")}
    assert one["temperature"]["call"].endswith("nvmlDeviceGetTemperatureV")
    answered = [r for r in rows if "value" in r]
    refused = [r["why"] for r in rows if "why" in r]
    assert len(answered) > 8 * 25
    assert all(why.startswith("not_supported: ") for why in refused), refused


def test_a_driver_that_does_not_start_is_said(tmp_path):
    code, rows = listed(tmp_path, "h100-sxm", Fault(id="a", call="nvmlInit*", answer=9))
    assert (code, [r["part"] for r in rows]) == (1, ["nvml.init"])
    assert "the kernel driver is not loaded" in rows[0]["why"]

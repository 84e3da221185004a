"""The simulated NVML, call by call, through nvidia-ml-py as it is pinned."""

from __future__ import annotations

import pytest

from provision.rehearsal.gpu import models, state
from tests.unit import gpus_support as gpus

pytestmark = pytest.mark.together("gpusim")


@pytest.fixture(scope="module")
def library():
    return gpus.built()


def test_the_walking_skeleton(library, tmp_path):
    healthy = models.fresh(models.load("h100-sxm"))
    path = gpus.node(tmp_path, state.changed(healthy, {"gpus.3.temperature.gpu": 71}))
    found = gpus.ask(library, path, """
n.nvmlInit()
all = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]
answer = [[n.nvmlDeviceGetName(h), n.nvmlDeviceGetUUID(h), n.nvmlDeviceGetTemperatureV(h, 0)]
          for h in all]
""")  # fmt: skip
    assert found == [
        ["NVIDIA H100 80GB HBM3", gpu.uuid, 71 if index == 3 else 33]
        for index, gpu in enumerate(healthy.gpus)
    ]

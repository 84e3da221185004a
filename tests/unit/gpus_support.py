"""Runs pieces of Python against the simulated driver, through the nvidia-ml-py that is pinned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from provision.rehearsal.gpu import build, models, state
from provision.rehearsal.gpu.build import Built
from provision.rehearsal.gpu.state import State

_FRAME = """\
import json, sys
from ctypes import *
import pynvml as n

def tried(call, *given):
    try:
        found = call(*given)
    except n.NVMLError as error:
        return {"error": error.value}
    except Exception as error:
        return {"raised": type(error).__name__}
    return found

%s
print(json.dumps(answer))
"""


def built() -> Built:
    """The driver's userland of the H100 model."""
    driver = models.load("h100-sxm").driver
    return build.build(driver.version, lacks=driver.lacks)


def node(folder: Path, changed: State | None = None, name: str = "h100-sxm") -> Path:
    """A state file: a healthy node of a model, or what is given."""
    path = folder / "state.json"
    state.write(path, changed or models.fresh(models.load(name)))
    return path


def environment(library: Built, path: Path) -> dict[str, str]:
    """What a program needs to find the simulated driver and its state."""
    return {**os.environ, **library.environment(path)}


def ask(library: Built, path: Path, code: str, *, timeout: float = 10) -> object:
    """Run `code`, which leaves what it found in `answer`; `n` is pynvml there."""
    done = subprocess.run(
        [sys.executable, "-c", _FRAME % code], env=environment(library, path),
        capture_output=True, text=True, check=False, timeout=timeout, cwd=path.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

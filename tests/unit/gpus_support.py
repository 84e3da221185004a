"""Runs pieces of Python against the simulated driver, through the nvidia-ml-py that is pinned."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from provision.rehearsal.gpu import build, models, state
from provision.rehearsal.gpu.build import Built
from provision.rehearsal.gpu.state import State

FRAME = """\
import json, os, sys
from ctypes import *
import pynvml as n

def plain(found):
    if isinstance(found, Structure):
        return {name: plain(getattr(found, name)) for name, *_ in found._fields_}
    if isinstance(found, bytes):
        return found.decode("latin-1")
    if isinstance(found, n.nvmlFriendlyObject):
        return {name: plain(value) for name, value in vars(found).items()}
    if isinstance(found, Array):
        return [plain(one) for one in found]
    if isinstance(found, (list, tuple)):
        return [plain(one) for one in found]
    if isinstance(found, c_uint):
        return found.value
    if "LP_struct" in type(found).__name__:
        return "handle"
    return found

def tried(call, *given):
    try:
        return plain(call(*given))
    except n.NVMLError as error:
        return {"error": error.value}
    except Exception as error:
        return {"raised": type(error).__name__}

def filled(kind, call, *given):
    made = kind()
    found = tried(call, *given, byref(made))
    return found if isinstance(found, dict) else plain(made)

def use(path):
    os.environ["HOLDFAST_GPUS_STATE"] = path

"""


def built(name: str = "h100-sxm") -> Built:
    """The driver's userland of a model."""
    driver = models.load(name).driver
    return _built(driver.version, tuple(driver.lacks))


@functools.cache
def _built(version: str, lacks: tuple[str, ...]) -> Built:
    """Built once for all tests of a process, though each has a cache of its own."""
    return build.build(version, lacks=lacks)


def healthy(name: str = "h100-sxm") -> State:
    """A healthy node of a model."""
    return models.fresh(models.load(name))


def write(folder: Path, shown: State | None = None, name: str = "state.json") -> Path:
    """A state file: what is given, or a healthy H100 node."""
    path = folder / name
    state.write(path, shown or healthy())
    return path


def environment(library: Built, path: Path) -> dict[str, str]:
    """What a program needs to find the simulated driver and its state."""
    return {**os.environ, **library.environment(path)}


def ask(library: Built, path: Path, code: str, *, timeout: float = 20) -> object:
    """Run `code`, which leaves what it found in `answer`; `n` is pynvml there."""
    done = subprocess.run(
        command(code), env=environment(library, path), cwd=path.parent,
        capture_output=True, text=True, check=False, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def command(code: str) -> Sequence[str]:
    """A Python that runs `code` after the frame and prints `answer`."""
    return [sys.executable, "-c", f"{FRAME}{code}\nprint(json.dumps(answer))"]

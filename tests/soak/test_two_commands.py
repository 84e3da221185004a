"""The two commands of the README on fresh clones: in either order, twice, by two checkouts at once.

Somebody who looks at the project clones it and types `make rehearse` or `make test`; the machine of
CI does so for several changes at a time. The clones share this machine's cache and one state home,
as two checkouts of one user do. Of `make test` a part is run, by the same target: both its steps.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.soak

ROOT = Path(__file__).resolve().parents[2]
REHEARSE = ("make", "rehearse", "ARGS=--nodes 1")
TEST = ("make", "test", "ARGS=-k 'test_inventory_schema or wheel_says_its_licences'")
ROUNDS = (
    # Nobody has set up yet; each command is the first of its checkout.
    (REHEARSE, TEST),
    # The first checkout runs it again while the other has it as its second.
    (REHEARSE, REHEARSE),
    (TEST, TEST),
)
OURS = ("PYTHON", "VIRTUAL", "PYTEST", "MAKE", "MFLAGS", "VENV", "HOLDFAST", "COV", "ANSIBLE")
"""Beginnings of variables that a terminal would not have, and this process may."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    seconds: float
    said: str


def run(words: Sequence[str], folder: Path, state: Path) -> Done:
    """One command in a checkout, as from a shell there."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
    begin = time.monotonic()
    done = subprocess.run(
        words,
        cwd=folder,
        env={**environment, "XDG_STATE_HOME": str(state), "CI": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=1800,
        check=False,
    )
    return Done(done.returncode, time.monotonic() - begin, done.stdout)


def left(folder: Path) -> list[str]:
    """What is still there of racks whose state lies below a folder: by place and rack's name."""
    state = folder / "state/holdfast"
    records = [json.loads(path.read_text()) for path in state.glob("runs/*/run.json")]
    names = {str(record["rack"]) for record in records}
    names |= {path.stem for path in state.glob("rehearsal/hf-*")}
    found = [f"rack {path}" for path in state.glob("rehearsal/hf-*")]
    found += [f"network {name}" for name in names if (Path("/run/netns") / name).exists()]
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    found += [f"mount {line}" for line in mounts if str(folder) in line]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == str(os.getpid()):
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = os.fspath((entry / "cwd").readlink())
        except OSError:
            continue
        if place.startswith(str(folder)) or any(n in words for n in (str(folder), *names)):
            found.append(f"process {entry.name} in {place}: {words}")
    return found


def test_either_order_twice_and_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clones = [tmp_path / "one", tmp_path / "two"]
    for clone in clones:
        subprocess.run(["git", "clone", "-q", "--no-local", ROOT, clone], check=True)
    state = tmp_path / "state"
    for number, commands in enumerate(ROUNDS, 1):
        with ThreadPoolExecutor(2) as pool:
            ended = list(pool.map(run, commands, clones, [state] * 2))
        for words, clone, done in zip(commands, clones, ended, strict=True):
            with capfd.disabled():
                print(f"round {number}, {clone.name}: make {words[1]} ended with {done.code} "
                      f"after {done.seconds:.0f} s")  # fmt: skip
            assert done.code == 0, f"{clone}: {' '.join(words)}\n{done.said[-8000:]}"
        assert left(tmp_path) == []
    assert list(state.glob("holdfast/runs/*/run.json"))
    for clone in clones:
        said = subprocess.run(
            ["git", "status", "--short"], cwd=clone, capture_output=True, text=True, check=True
        )
        assert said.stdout == ""


def test_what_stays_would_be_seen(tmp_path: Path) -> None:
    """The look is no use unless each kind of thing shows in it."""
    assert left(tmp_path) == []
    name = f"hf-left-{os.getpid()}"
    record = tmp_path / "state/holdfast/runs/R/run.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"rack": name}))
    assert left(tmp_path) == []
    (tmp_path / "mounted").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "small", tmp_path / "mounted"], check=True)
    subprocess.run(["ip", "netns", "add", name], check=True)
    child = subprocess.Popen(["sleep", "600"], cwd=tmp_path)
    try:
        assert sorted(line.split()[0] for line in left(tmp_path)) == ["mount", "network", "process"]
    finally:
        child.kill()
        child.wait()
        subprocess.run(["ip", "netns", "delete", name], check=True)
        subprocess.run(["umount", tmp_path / "mounted"], check=True)
    (tmp_path / "state/holdfast/rehearsal/hf-1").mkdir(parents=True)
    assert [line.split()[0] for line in left(tmp_path)] == ["rack"]

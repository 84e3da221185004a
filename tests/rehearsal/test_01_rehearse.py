"""As somebody who has just heard of Holdfast I type one command. It builds a rack on my machine,
brings it up, asks every node a question, shows me the answers and where the report is, and leaves
nothing behind.

The rack that the other journeys use is the one that this command made; that nothing is left of it
is looked at when they are through. The whole, without `--keep`, is a campaign of its own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rehearsal.conftest import RACK_NAME, ROOT, Ran, left_of, rehearsed

if TYPE_CHECKING:
    from tests.rehearsal.conftest import SimulatedRack

QUESTION = "Who owns this rack?"


@pytest.mark.rehearsal
@pytest.mark.together("first")
def test_one_command_shows_a_rack(rack: SimulatedRack) -> None:
    assert rack.rehearsed is not None
    check_what_is_shown(rack.rehearsed)
    print(f"rehearse --keep: {rack.rehearsed.seconds:.0f} s")


@pytest.mark.soak
def test_one_command_shows_a_rack_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", os.fspath(tmp_path))
    ran = rehearsed()
    check_what_is_shown(ran)
    assert left_of(found_name(ran.out), tmp_path) == []
    assert list((tmp_path / "holdfast/rehearsal").iterdir()) == []


def check_what_is_shown(ran: Ran) -> None:
    """Every node's answer, on the terminal and in the report, and that nothing of it is real."""
    assert ran.code == 0, ran.said()
    shown = ran.out
    assert "passes: 2 nodes" in shown
    for node in ("n1", "n2"):
        answer = re.search(
            rf"^{node}  {re.escape(QUESTION)}\n +“(.+)”\n +\d+ tokens", shown, re.MULTILINE
        )
        assert answer, f"the answer of {node} is not shown:\n{shown}"
        assert len(answer[1]) > 5
    report = re.search(r"^report: (.+\.html)$", shown, re.MULTILINE)
    assert report, shown
    page = Path(report[1]).read_text(encoding="utf-8")
    assert page.count(QUESTION) >= 2
    assert "simulated" in shown
    assert "simulated" in page


def found_name(text: str) -> str:
    """The rack's name in what was shown."""
    found = RACK_NAME.search(text)
    assert found, text
    return found[0]


@pytest.mark.rehearsal
def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "provision.cli.main", "rehearse"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_STATE_HOME": os.fspath(tmp_path), "CI": "1"},
        cwd=ROOT,
        start_new_session=True,
    )
    homes = tmp_path / "holdfast/rehearsal"
    while not list(homes.glob("hf-*/nodes/n2/pid")):
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    name = next(homes.glob("hf-*/")).name
    assert left_of(name, tmp_path), "what is looked for is not there while the rack runs"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 130, out + err
    assert "Traceback" not in err
    assert left_of(name, tmp_path) == []
    assert list(homes.iterdir()) == []

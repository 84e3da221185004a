"""Asking nodes: each gives an answer, none waits for another, and what is sent along leaves."""

from __future__ import annotations

import base64
import json
import os
import platform
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from provision.checks import shipping
from provision.checks.audit_program import program
from provision.checks.audit_result import known_checks, read
from provision.core.events import Event, ListSink
from provision.fleet import onnode, pull
from provision.fleet.kept import Visit
from provision.fleet.progress import PullShow
from provision.health import expect
from provision.rack.model import Node
from tests.unit.fleet_support import rack, raw, result
from tests.unit.test_imports import house_imports

pytestmark = pytest.mark.slow

ONNODE = Path(onnode.__file__)


def test_every_node_is_asked_and_answers_come_in_the_order_of_the_rack():
    nodes = rack("n03", "n01", "n02").nodes
    sink = ListSink()

    def ask(node: Node) -> Visit:
        time.sleep(0.05 if node.name == "n03" else 0)
        return Visit(node.name, "fresh")

    found = pull.visits(nodes, ask, sink, at_once=2)
    assert [v.node for v in found] == ["n03", "n01", "n02"]
    kinds = [e.kind for e in sink.seen]
    assert (kinds[0], kinds[-1]) == ("audit.start", "audit.end")
    assert (kinds.count("audit.ask"), kinds.count("audit.answer")) == (3, 3)


def test_no_more_nodes_than_allowed_are_asked_together():
    now, most, lock = [0], [0], threading.Lock()

    def ask(node: Node) -> Visit:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1
        return Visit(node.name, "fresh")

    nodes = rack(*(f"n{n:02}" for n in range(40))).nodes
    assert len(pull.visits(nodes, ask, ListSink(), at_once=5)) == 40
    assert 1 < most[0] <= 5


def test_what_breaks_while_one_node_is_asked_is_that_nodes_answer():
    def ask(node: Node) -> Visit:
        if node.name == "n02":
            raise RuntimeError("who knows")
        return Visit(node.name, "fresh")

    found = pull.visits(rack("n01", "n02", "n03").nodes, ask, ListSink(), at_once=3)
    assert [v.outcome for v in found] == ["fresh", "not_run", "fresh"]
    assert "who knows" in found[1].why


@pytest.mark.parametrize("unicode", [True, False])
def test_the_live_table_says_who_is_still_asked(unicode):
    show = PullShow("run   rack lab")
    names = [f"n{n:02}" for n in range(30)]
    show.follow(Event("audit.start", data={"nodes": names}, at=100.0))
    show.follow(Event("audit.ask", node="n20", at=101.0))
    gone = {"outcome": "unreachable", "status": "unknown", "why": "no\x1b[2J route"}
    show.follow(Event("audit.answer", node="n21", data=gone, at=102.0))
    good = {
        "outcome": "fresh",
        "status": "pass",
        "counts": {"pass": 60, "fail": 0},
        "shipped": True,
    }
    show.follow(Event("audit.answer", node="n22", data=good, at=103.0))
    show.follow(Event("audit.answer", node="stranger", data=good, at=103.0))
    rows = ["".join(text for text, _ in row)
            for row in show.view(110.0, width=60, height=10, unicode=unicode)]  # fmt: skip
    assert "2 of 30 nodes" in rows[0]
    assert "00:10" in rows[0]
    assert rows[1].endswith("n21  unreachable: no\\x1b[2J route")
    assert "n20  asked (9 s)" in rows[2]
    assert len(rows) <= 10
    assert max(map(len, rows)) <= 60
    assert unicode or "".join(rows).isascii()
    lines = list(show.plain(Event("audit.answer", node="n22", data=good)))
    assert lines == ["n22: pass: audit sent along; 60 pass"]


def test_a_show_of_nothing_is_nothing():
    assert PullShow("x").view(1.0, width=80, height=10, unicode=True) == []


def test_files_of_other_nodes_and_of_nobody_are_not_believed(tmp_path):
    (tmp_path / "n01.json").write_bytes(raw(result("healthy", "n02", ended=time.time())))
    (tmp_path / "n03.json").mkdir()
    ask = pull.from_files(tmp_path)
    found = [ask(node) for node in rack("n01", "n02", "n03").nodes]
    assert [v.outcome for v in found] == ["refused", "absent", "refused"]


def here() -> str:
    """What this machine is called among platforms."""
    told = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    major = told.get("VERSION_ID", "").strip('"').partition(".")[0]
    return f"el{major}-{platform.machine()}"


def sent(job: dict[str, object], temporary: Path) -> subprocess.CompletedProcess[bytes]:
    """Run what is sent to a node, as it is sent, on this machine."""
    usual = 'place = "/run" if Path("/run").is_dir() else None'
    assert usual in ONNODE.read_text()
    script = ONNODE.read_text().replace(usual, f"place = {str(temporary)!r}")
    code = base64.b64encode(zlib.compress(script.encode(), 9)).decode()
    return subprocess.run(
        [sys.executable, "-I", "-c", shipping._ALONG, code], input=json.dumps(job).encode(),
        capture_output=True, check=False, timeout=120, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip


def test_what_is_sent_along_imports_nothing_of_the_house():
    assert house_imports([ONNODE]) == []


def job(**changes: object) -> dict[str, object]:
    declared = {"schema": expect.SCHEMA, "node": "n01", "gpus": {"count": 0}}
    return {
        "program": base64.b64encode(program().data).decode(), "expect": {here(): declared},
        "patience": 0.1, "most": 2 << 20, "under_load": False, **changes,
    }  # fmt: skip


def test_what_is_sent_along_audits_the_machine_and_leaves_nothing(tmp_path):
    """The real program on this real machine."""
    done = sent(job(), tmp_path)
    assert done.returncode == 0, done.stderr
    found = read(done.stdout, "n01")
    assert found.missing == ()
    assert len(found.findings) >= len(known_checks())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("under_load", [False, True])
def test_a_node_is_put_under_load_once_and_only_when_that_was_asked_for(tmp_path, under_load):
    """Between two looks: what counters are before, and what they have become."""
    said = tmp_path / "said"
    program = (
        f"import json, sys\nprint(*sys.argv[1:], file=open({str(said)!r}, 'a'))\n"
        "print(json.dumps({'findings': [{'status': 'unknown'}]}))\n"
    )
    told = job(program=base64.b64encode(program.encode()).decode(), under_load=under_load)
    done = sent({**told, "patience": 0.01}, tmp_path)
    assert done.returncode == 0, done.stderr
    looks = ["--under-load" in line for line in said.read_text().splitlines()]
    assert looks == [False, under_load]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"expect": {"el99-riscv": {}}}, "the stack lock has nothing for"),
        ({"expect": {here(): {"schema": "?"}}}, "schema must be one of"),
        ({"program": base64.b64encode(b"raise SystemExit(3)").decode()}, ""),
        ({"program": base64.b64encode(b"print('x')").decode()}, "JSON"),
    ],
    ids=["platform", "declaration", "cannot-run", "no-result"],
)
def test_what_cannot_be_run_is_said_and_leaves_nothing(tmp_path, changes, says):
    done = sent(job(**changes), tmp_path)
    assert done.returncode not in (0, 255)
    assert says in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []

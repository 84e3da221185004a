"""`holdfast audit run|report|history` on the command line, with results in files."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from provision.cli.main import main
from provision.core.events import read_events
from provision.fleet import metrics
from provision.fleet.history import place
from tests.unit.fleet_support import raw, result

pytestmark = pytest.mark.slow

LOCK = Path(__file__).resolve().parents[1] / "data/example/stack.lock.json"


def key(number: int) -> str:
    """A host key of its own."""
    told = b"".join(len(x).to_bytes(4, "big") + x for x in (b"ssh-ed25519", bytes([number]) * 32))
    return f"ssh-ed25519 {base64.b64encode(told).decode()}"


INVENTORY = {
    "all": {
        "vars": {
            "holdfast_schema": 1,
            "holdfast_rack": "lab",
            "holdfast_stack": str(LOCK),
            "holdfast_audit": {"enabled": True},
        },
        "hosts": {
            f"n{n:02}": {
                "ansible_host": "127.0.0.1",
                "ansible_port": 8 + n,
                "holdfast_host_keys": [key(n)],
                "holdfast_audit": {"enabled": n < 3},
            }
            for n in (1, 2, 3)
        },
    }
}


class Site:
    """A rack's inventory, and a folder with results."""

    def __init__(self, folder: Path) -> None:
        self.inventory = folder / "inventory.yml"
        self.inventory.write_text(json.dumps(INVENTORY))
        self.results = folder / "results"
        self.results.mkdir()

    def gave(self, node: str, kind: str, age: float = 60.0) -> None:
        told = result(kind, node, ended=time.time() - age)
        (self.results / f"{node}.json").write_bytes(raw(told))

    def report(self, *words: str) -> int:
        return main(
            ["audit", "report", str(self.inventory), "--from", str(self.results), *words]
        )  # fmt: skip

    def call(self, *words: str) -> int:
        return main(["audit", words[0], str(self.inventory), *words[1:]])


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


def test_results_in_files_become_a_report_and_a_history(site, capsys, tmp_path):
    site.gave("n01", "healthy")
    site.gave("n02", "healthy")
    assert site.report() == 0
    first = capsys.readouterr().out
    assert "Rack lab: the audit passes on 2 nodes" in first
    assert "1 not audited" in first
    site.gave("n02", "two", age=1)
    events = tmp_path / "events.jsonl"
    assert site.report("--json", "--events", str(events)) == 1
    told = json.loads(capsys.readouterr().out)
    assert {(c["node"], c["check"]) for c in told["changes"]} == {
        ("n02", "gpu.pcie.width"), ("n02", "gpu.temperature.core"),
    }  # fmt: skip
    kinds = [e.kind for e in read_events(events)]
    assert (kinds[0], kinds[-1], kinds.count("audit.answer")) == ("audit.start", "audit.end", 2)
    assert site.call("history", "--json", "--check", "gpu.pcie") == 0
    (spell,) = json.loads(capsys.readouterr().out)["spells"]
    assert (spell["node"], spell["check"], spell["ended"]) == ("n02", "gpu.pcie.width", None)
    assert site.call("history") == 0
    assert "gpu.temperature.core" in capsys.readouterr().out


def test_a_node_without_result_is_unknown_and_not_left_out(site, capsys):
    site.gave("n01", "healthy")
    assert site.report() == 1
    said = capsys.readouterr().out
    assert "1 of 2 nodes are not proven" in said
    assert "n02.json is not there" in " ".join(said.split())


def test_nothing_but_the_history_is_asked_when_offline(site, capsys):
    assert site.call("report", "--offline") == 1
    assert "never asked" in capsys.readouterr().out
    site.gave("n01", "pcie")
    site.gave("n02", "healthy", age=800)
    site.report()
    capsys.readouterr()
    assert site.call("report", "--offline", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [n["status"] for n in told["nodes"]] == ["fail", "pass"]
    assert told["source"].startswith("from the history")
    assert place("lab").exists()


def test_what_the_history_has_grows_old_by_itself(site, capsys, monkeypatch):
    site.gave("n01", "healthy")
    site.gave("n02", "healthy")
    assert site.report() == 0
    capsys.readouterr()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    assert site.call("report", "--offline", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [n["outcome"] for n in told["nodes"]] == ["stale", "stale"]


def test_a_result_that_went_back_in_time_is_stale_in_the_history_too(site, capsys):
    """The newer one that was seen before is not what the node said last."""
    site.gave("n01", "healthy")
    site.gave("n02", "healthy")
    assert site.report() == 0
    site.gave("n02", "healthy", age=3600)
    assert site.report() == 1
    capsys.readouterr()
    assert site.call("report", "--offline", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [n["outcome"] for n in told["nodes"]] == ["fresh", "stale"]
    assert "60 min old" in told["nodes"][1]["why"]
    assert told["nodes"][1]["status"] == "unknown"


def test_a_node_that_cannot_be_reached_is_unknown(site, capsys):
    """Real ssh, to ports that nobody listens on."""
    assert site.call("report", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [n["outcome"] for n in told["nodes"]] == ["unreachable"] * 2, told["nodes"][0]["why"]
    assert "refused" in told["nodes"][0]["why"]
    assert site.call("run", "--limit", "n03", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [(n["node"], n["outcome"]) for n in told["nodes"]] == [("n03", "unreachable")]
    assert site.call("run", "--limit", "n03", "--under-load", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["source"] == "audited now under load, over SSH"
    assert [(n["outcome"], n["shipped"]) for n in told["nodes"]] == [("unreachable", True)]


def test_every_form_is_written(site, capsys, tmp_path):
    site.gave("n01", "healthy")
    site.gave("n02", "two")
    page, numbers, board = (tmp_path / n for n in ("a.html", "a.prom", "a.json"))
    words = ["--html", str(page), "--openmetrics", str(numbers), "--grafana", str(board)]
    assert site.report(*words) == 1
    assert "the audit fails on 1 of 2 nodes" in page.read_text()
    assert board.read_text() == metrics.dashboard()
    capsys.readouterr()
    assert site.report("--openmetrics", "-") == 1
    text = capsys.readouterr().out
    for told in (text, numbers.read_text()):
        names = [f.name for f in text_string_to_metric_families(told)]
        assert "holdfast_audit_check" in names
    assert re.sub(r"(?m)^holdfast_fleet_pull.*\n", "", text) == re.sub(
        r"(?m)^holdfast_fleet_pull.*\n", "", numbers.read_text()
    )


def test_the_dashboard_alone_needs_no_inventory(tmp_path, capsys):
    assert main(["audit", "report", "--grafana", str(tmp_path / "board.json")]) == 0
    assert json.loads((tmp_path / "board.json").read_text())["panels"]
    assert main(["audit", "report"]) == 2
    assert "inventory is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["report", "--html", "{tmp}/nowhere/a.html"], "--html"),
        (["report", "--html", "{tmp}"], "--html"),
        (["report", "--openmetrics", "-", "--json"], "both want standard output"),
        (["report", "--from", "{tmp}/nowhere"], "there is no folder"),
        (["report", "--offline", "--from", "{tmp}"], "not allowed with"),
        (["report", "--limit", "n03"], "none of these nodes has the audit"),
        (["report", "--keep-days", "0"], "days from 1 to 3650"),
        (["history", "--since", "yesterday"], "neither so long ago"),
        (["history", "--since", "2026-13-01"], "neither so long ago"),
        (["run", "--limit", "n99"], "n99"),
    ],
)  # fmt: skip
def test_mistakes_are_said_before_a_node_is_asked(site, tmp_path, words, says, capsys):
    told = [w.format(tmp=tmp_path) for w in words]
    assert site.call(*told) == 2
    said = capsys.readouterr()
    assert says in said.err + said.out
    assert not place("lab").exists()


def test_a_history_that_cannot_be_used_is_said_and_nothing_is_lost(site, capsys):
    site.gave("n01", "healthy")
    place("lab").parent.mkdir(parents=True)
    place("lab").write_text("not a database, but somebody's file" * 100)
    assert site.report() == 3
    assert "hint" in capsys.readouterr().err
    assert place("lab").read_text().startswith("not a database")


def test_no_history_is_said_and_is_no_failure(site, capsys):
    assert site.call("history") == 0
    assert "no audit of rack lab is recorded" in capsys.readouterr().out
    site.gave("n01", "healthy")
    site.gave("n02", "healthy")
    site.report()
    capsys.readouterr()
    assert site.call("history", "--since", "2026-01-01") == 0
    assert "nothing was not well" in capsys.readouterr().out


def test_how_long_is_kept_is_remembered(site, capsys, monkeypatch):
    site.gave("n01", "two")
    site.gave("n02", "healthy")
    site.report("--keep-days", "1")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3 * 86400)
    site.gave("n01", "healthy")
    site.gave("n02", "healthy")
    site.report()
    later = now + 5 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    site.gave("n01", "healthy")
    site.report()
    capsys.readouterr()
    site.call("history", "--since", "4w", "--json")
    assert json.loads(capsys.readouterr().out)["spells"] == []

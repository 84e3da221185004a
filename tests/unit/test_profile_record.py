"""`holdfast profile record` and `shares`: two runs become a record, and records become figures."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from provision.checks import openscap
from provision.checks.openscap import Scanned
from provision.cli.main import main
from provision.core.paths import state_home
from provision.policy import recorded
from tests.unit.test_profile_baseline import Command

NAME = "into/cis_l1_server-el10-container.tsv"
TURNED = "sshd_disable_root_login"


class Record(Command):
    """The command; by the run R1 all that failed by R0 still fails, but for one rule."""

    def __init__(self, folder, capsys):
        super().__init__(folder, capsys)
        self.before = self.scan
        self.store("R0", self.scan)
        better = replace(self.scan.rules[TURNED], result="pass")
        self.scan = replace(self.scan, rules={**self.scan.rules, TURNED: better})
        self.store("R1", self.scan)

    def store(self, run, scan, **more):
        found = Scanned("n1", scan, content="ssg-rhel10-ds.xml", chosen="x", release="10", **more)
        place = state_home() / "runs" / run / "checks/openscap/n1"
        place.mkdir(parents=True, exist_ok=True)
        (place / "scan.json").write_text(json.dumps(openscap.to_json(found)))
        facts = {"name": "n1", "facts": {"system": "A node"}}
        (place.parents[2] / "verdict.json").write_text(json.dumps({"nodes": [facts]}))

    def record(self, *more, before="R0"):
        path = self.folder / "reasons.yml"
        path.write_text(json.dumps(self.whole))
        into = str(self.folder / "into")
        return self.run("record", str(self.inventory), "--before", before, "--after", "R1",
                        "--reasons", str(path), "--into", into, *more)  # fmt: skip

    def run(self, *words):
        self.capsys.readouterr()
        code = main(["profile", *words])
        said = self.capsys.readouterr()
        self.out, self.err = said.out, said.err
        return code


@pytest.fixture
def command(tmp_path, capsys):
    return Record(tmp_path, capsys)


def test_two_runs_become_a_record(command):
    assert command.record() == 0, command.err
    assert command.out.endswith("of the rules that failed, 1 of 98 (1.0 %) pass now\n")
    made = recorded.read(command.folder / NAME)
    assert (made.turned, made.system, made.version) == ({TURNED}, "A node", "0.1.76")


def test_the_untouched_node_may_be_a_table(command):
    table = command.folder / "before.tsv"
    rows = [f"{r.rule}\t{r.result}" for r in command.before.selected.values()]
    table.write_text("\n".join(["rule\tresult\tseverity", *rows]) + "\n")
    assert command.record(before=str(table)) == 0, command.err
    assert recorded.read(command.folder / NAME).turned == {TURNED}
    table.write_text("name\tresult\n")
    assert command.record(before=str(table)) == 2
    assert "no `rule`, tab, `result`" in command.err


def test_runs_of_different_content_are_not_compared(command):
    command.store("R0", replace(command.before, version="0.1.75"))
    assert command.record() == 2
    assert "judged by content 0.1.75, the other run by 0.1.76" in command.err


def test_a_quick_scan_is_no_before(command):
    command.store("R0", command.before, left_out=("x",))
    assert command.record() == 2
    assert "rules were left out of this scan" in command.err


def test_shares_are_printed_with_their_denominator(command):
    assert command.record("--json") == 0
    assert json.loads(command.out)["turned"] == 1
    into = str(command.folder / "into")
    assert command.run("shares", "--records", into) == 0
    assert command.out == "cis_l1_server  el10  container         1 of 98 (1.0 %)\n"
    assert command.run("shares", "cis_l1_server", "--all", "--records", into) == 0
    assert "  selinux_not_disabled\n      it is untouched\n" in command.out
    assert command.run("shares", "--json", "--records", into) == 0
    (one,) = json.loads(command.out)["shares"]
    assert (one["failed"], len(one["left"])) == (98, 97)


def test_without_a_record_there_is_no_share(command):
    assert command.record() == 0
    into = str(command.folder / "into")
    assert command.run("shares", "cis_l1_servr", "--records", into) == 2
    assert "cis_l1_server" in command.err
    assert command.run("shares", "--release", "9", "--records", into) == 2

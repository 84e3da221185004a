"""Verify: what an outcome becomes, and that nothing goes missing. pytest runs for real."""

from __future__ import annotations

import socket
import textwrap
from pathlib import Path

import pytest

from provision.checks.declaration import expected_of
from provision.checks.verify import complete, examine, load_checks, suite_files, verify
from provision.core.events import ListSink, NullSink
from provision.rack.ssh import SshSettings, write_known_hosts
from provision.verdict.model import Finding, Severity, Status
from tests.unit import checks_support as support

SUITE = """
from __future__ import annotations

import os
import time

import pytest

from provision.checks.declare import CouldNotLook, NotApplicable, check
from provision.verdict.model import Severity


def declared(name, **more):
    return check(
        name, title=f"title of {name}", expected="what is right", severity=Severity.HIGH,
        action="do", clears="clear", looks=("base", "model_store"), **more,
    )


@declared("sample.passes")
def test_passes(look, seen, expected):
    seen(f"{look('base', 'hardware')['cores']} cores on {expected.node}")


@declared("sample.fails")
def test_fails(look, seen, expected):
    seen("looked fine at first")
    assert look("base", "hardware")["cores"] > 100000, "too few\\x1b[31m cores"


@declared("sample.fails_bare")
def test_fails_bare(look, seen, expected):
    seen("the evidence")
    assert False


@declared("sample.breaks")
def test_breaks(look, seen, expected):
    seen("fine")
    look("base", "hardware")["no such thing"]


@declared("sample.times_out")
def test_times_out(look, seen, expected):
    seen("fine")
    raise TimeoutError("no answer in 5 s")


@declared("sample.skips")
def test_skips(look, seen, expected):
    seen("fine")
    pytest.skip("not today")


@pytest.mark.skip(reason="never")
@declared("sample.is_skipped")
def test_is_skipped(look, seen, expected):
    seen("fine")


@pytest.mark.xfail(reason="known")
@declared("sample.is_excused")
def test_is_excused(look, seen, expected):
    seen("fine")
    assert False, "it fails all the same"


@declared("sample.silent")
def test_silent(look, seen, expected):
    look("base", "hardware")


@declared("sample.does_not_apply", applies=lambda e: f"{e.node} is declared so")
def test_does_not_apply(look, seen, expected):
    raise RuntimeError("must not run")


@declared("sample.gives_up_early")
def test_gives_up_early(look, seen, expected):
    raise NotApplicable("the declaration says no")


@declared("sample.gives_up_late")
def test_gives_up_late(look, seen, expected):
    look("base", "hardware")
    raise NotApplicable("the node does not have it")


@declared("sample.cannot_look")
def test_cannot_look(look, seen, expected):
    seen(str(look("base", "no such part")))


@declared("sample.finds_nothing")
def test_finds_nothing(look, seen, expected):
    seen(str(look("model_store", "digests")))


@declared("sample.looks_elsewhere")
def test_looks_elsewhere(look, seen, expected):
    seen(str(look("packages", "installed")))


@pytest.fixture
def broken():
    raise RuntimeError("the fixture broke")


@declared("sample.fixture_breaks")
def test_fixture_breaks(look, seen, expected, broken):
    seen("fine")


@pytest.fixture
def spoiled():
    yield
    raise RuntimeError("cleaning up broke")


@declared("sample.teardown_breaks")
def test_teardown_breaks(look, seen, expected, spoiled):
    seen("fine")


def test_is_no_check():
    pass
"""

EXPECTED = {
    "sample.passes": (Status.PASS, "cores on n1"),
    "sample.fails": (Status.FAIL, "too few\N{REPLACEMENT CHARACTER}[31m cores"),
    "sample.fails_bare": (Status.FAIL, "the evidence"),
    "sample.breaks": (Status.UNKNOWN, "KeyError"),
    "sample.times_out": (Status.UNKNOWN, "no answer in 5 s"),
    "sample.skips": (Status.UNKNOWN, "not today"),
    "sample.is_skipped": (Status.UNKNOWN, "never"),
    "sample.is_excused": (Status.FAIL, "it fails all the same"),
    "sample.silent": (Status.UNKNOWN, "without recording"),
    "sample.does_not_apply": (Status.NOT_APPLICABLE, "n1 is declared so"),
    "sample.gives_up_early": (Status.NOT_APPLICABLE, "the declaration says no"),
    "sample.gives_up_late": (Status.UNKNOWN, "after looking at the node"),
    "sample.cannot_look": (Status.UNKNOWN, "did not say"),
    "sample.finds_nothing": (Status.FAIL, "is not there"),
    "sample.looks_elsewhere": (Status.UNKNOWN, "does not say so"),
    "sample.fixture_breaks": (Status.UNKNOWN, "the fixture broke"),
    "sample.teardown_breaks": (Status.UNKNOWN, "cleaning up broke"),
}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def ssh_for(rack, work: Path) -> SshSettings:
    write_known_hosts(rack, work / "known_hosts")
    return SshSettings(work / "known_hosts", connect_timeout_s=2)


def suite(tmp_path: Path, text: str) -> list[Path]:
    path = tmp_path / "test_sample.py"
    path.write_text(textwrap.dedent(text))
    return [path]


def test_every_outcome_becomes_the_right_finding(tmp_path, work, monkeypatch):
    support.local_ssh(tmp_path, monkeypatch)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    rack = support.rack(tmp_path, support.node("n1"), support.node("n2"))
    events = ListSink()
    got = examine(
        rack, support.stack(), ssh=ssh_for(rack, work), events=events, workdir=work,
        suite=suite(tmp_path, SUITE),
    )  # fmt: skip
    by_id = {f.check: f for f in got.findings if f.node == "n1"}
    assert set(by_id) == set(EXPECTED)
    for check, (status, words) in EXPECTED.items():
        finding = by_id[check]
        assert (finding.status, words in finding.seen + finding.reason) == (status, True), finding
        assert finding.expected == "what is right"
    assert {f.check for f in got.findings if f.node == "n2"} == set(EXPECTED)
    assert sum(e.kind == "verify.finding" for e in events.seen) == 2 * len(EXPECTED)


def test_a_node_that_does_not_answer_is_unknown_throughout(tmp_path, work):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rack = support.rack(tmp_path, support.node("gone", port=port, user="nobody"))
    lock = support.stack()
    found = verify(rack, lock, ssh=ssh_for(rack, work), events=NullSink(), workdir=work)
    checks = load_checks(suite_files())
    assert {f.check for f in found} == {c.id for c in checks}
    assert {f.status for f in found} == {Status.UNKNOWN}
    assert all("cannot be reached" in f.seen for f in found), found[0]
    assert "Connection refused" in found[0].seen


def test_a_node_whose_ssh_works_and_sudo_does_not_is_unknown(tmp_path, work, monkeypatch):
    support.local_ssh(tmp_path, monkeypatch, 'echo "sudo: a password is required" >&2; exit 1')
    rack = support.rack(tmp_path, support.node("n1"))
    got = examine(
        rack, support.stack(), ssh=ssh_for(rack, work), events=NullSink(), workdir=work,
        suite=suite(tmp_path, SUITE),
    )  # fmt: skip
    by_id = {f.check: f for f in got.findings}
    assert by_id["sample.passes"].status is Status.UNKNOWN
    assert "a password is required" in by_id["sample.passes"].seen


def test_a_node_that_hangs_is_unknown(tmp_path, work, monkeypatch):
    # What the node's own time limit leaves behind when it ends the probe.
    support.local_ssh(tmp_path, monkeypatch, "exit 124")
    rack = support.rack(tmp_path, support.node("n1"))
    got = examine(
        rack, support.stack(), ssh=ssh_for(rack, work), events=NullSink(), workdir=work,
        suite=suite(tmp_path, SUITE),
    )  # fmt: skip
    seen = {f.check: f.seen for f in got.findings}
    assert "did not end within" in seen["sample.passes"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import os\nfrom provision.checks.declare import check\n", "ended with"),
    ],
)
def test_a_suite_that_kills_its_process_leaves_nothing_missing(
    tmp_path, work, monkeypatch, text, words
):
    support.local_ssh(tmp_path, monkeypatch)
    killer = SUITE.replace('seen("looked fine at first")', "os.kill(os.getpid(), 9)")
    rack = support.rack(tmp_path, support.node("n1"))
    got = examine(
        rack, support.stack(), ssh=ssh_for(rack, work), events=NullSink(), workdir=work,
        suite=suite(tmp_path, killer),
    )  # fmt: skip
    by_id = {f.check: f for f in got.findings}
    assert set(by_id) == set(EXPECTED)
    assert by_id["sample.passes"].status is Status.PASS
    assert by_id["sample.fails"].status is Status.UNKNOWN
    assert words in by_id["sample.fails"].seen


def test_the_worst_of_two_results_counts(tmp_path):
    expected = expected_of(support.rack(tmp_path), support.stack(), support.node("n1"), "ab" * 32)
    check = next(c for c in load_checks(suite_files()) if c.id == "base.units")

    def line(status: Status) -> dict:
        finding = Finding("n1", check.id, check.title, status, severity=Severity.LOW)
        return {"kind": "finding", **finding.to_json()}

    for one, two, worst in (
        (Status.PASS, Status.FAIL, Status.FAIL),
        (Status.UNKNOWN, Status.PASS, Status.UNKNOWN),
        (Status.FAIL, Status.UNKNOWN, Status.FAIL),
        (Status.NOT_APPLICABLE, Status.PASS, Status.PASS),
    ):
        got = complete([line(one), line(two)], [check], [expected], "ended")
        assert [f.status for f in got.findings] == [worst]


def test_two_checks_with_one_id_are_refused(tmp_path):
    text = SUITE.replace("sample.fails_bare", "sample.fails")
    with pytest.raises(ValueError, match="declared twice"):
        load_checks(suite(tmp_path, text))


def test_every_check_of_ours_says_what_it_must():
    checks = load_checks(suite_files())
    assert len(checks) > 30
    roles = {"repositories", "base", "time", "container_runtime", "model_store", "inference"}
    assert {c.id.split(".")[0] for c in checks} == roles | {"hardening", "gpu_stack"}
    for check in checks:
        assert all((check.title, check.action, check.clears, check.looks)), check.id
        probes = Path(__file__).parents[2] / "provision/checks/probes"
        assert all((probes / f"{area}.py").exists() for area in check.looks), check.id

"""OpenSCAP on a node: which content judges, what comes back, and what is refused of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import ClassVar

import pytest

from provision.checks import openscap, scap_content, scap_pages, scap_results, scap_verdict
from provision.checks.openscap import Order, Scanned
from provision.checks.scap_content import NoContent
from provision.core import plainxml
from provision.core.events import NullSink
from provision.core.plainxml import NotPlain
from provision.core.problems import HoldfastError
from provision.policy import baseline
from provision.policy.load import load_policy
from provision.policy.resolve import Selection, Target, resolve
from provision.rack.model import Waiver
from provision.rack.ssh import SshSettings
from provision.verdict.model import Status
from provision.verdict.rules import Excuse
from tests.unit import checks_support

pytestmark = pytest.mark.slow

RECORDED = Path(__file__).parents[1] / "data/openscap/untouched-el10-cis_server_l1.xml"
DAY = date(2026, 11, 23)
FILES = ("ssg-rhel9-ds.xml", "ssg-rhel10-ds.xml")


def test_a_recorded_scan_is_read():
    scan = scap_results.read(RECORDED)
    assert (scan.version, scan.profile) == ("0.1.76", "cis_server_l1")
    assert scan.scanner == "cpe:/a:redhat:openscap:1.4.2"
    assert scan.started == "2026-11-23T07:42:18+00:00"
    assert len(scan.rules) == 283
    assert len(scan.selected) == 280, "rules of other profiles are not selected"
    rule = scan.rules["grub2_password"]
    assert (rule.result, rule.severity) == ("notapplicable", "high")
    assert rule.platforms == ("grub2_and_system_with_kernel", "non-uefi")


def results_of(tmp_path: Path, text: str) -> scap_results.Scan:
    path = tmp_path / "results.xml"
    path.write_text(text)
    return scap_results.read(path)


X = 'xmlns="http://checklists.nist.gov/xccdf/1.2"'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not XML"),
        ("<a><b></a>", "not XML"),
        (f"<Benchmark {X}></Benchmark>", "0 results"),
        (f"<arf><TestResult {X}/><TestResult {X}/></arf>", "2 results"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type"),
        ('<!DOCTYPE a [<!ENTITY x "&#120;"><!ENTITY y "&x;&x;">]><a>&y;</a>', "document type"),
        ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY % p SYSTEM "x"> %p;]><a/>', "document type"),
    ],
)
def test_what_is_no_result_of_a_scan_is_refused(tmp_path, text, words):
    with pytest.raises(NotPlain, match=words):
        results_of(tmp_path, text)


def test_a_recorded_scan_that_was_cut_short_is_refused(tmp_path):
    with pytest.raises(NotPlain, match="not XML"):
        results_of(tmp_path, RECORDED.read_text()[:-200])


def test_a_rule_without_a_result_has_none(tmp_path):
    scan = results_of(
        tmp_path,
        f'<TestResult {X}><rule-result idref="a"/><rule-result idref="b"><result>fail</result>'
        "<message>one  two</message></rule-result></TestResult>",
    )
    assert scan.rules["a"].result == "missing"
    assert scan.rules["b"].messages == ("one two",)


def test_the_worst_of_several_results_of_a_rule_counts(tmp_path):
    def result(word: str) -> str:
        return f'<rule-result idref="a"><result>{word}</result></rule-result>'

    for words in (("pass", "fail"), ("fail", "pass")):
        text = f"<TestResult {X}>{''.join(map(result, words))}</TestResult>"
        assert results_of(tmp_path, text).rules["a"].result == "fail"


def test_texts_of_the_content_are_not_taken_for_results(tmp_path):
    class Names:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def start(self, tag, attributes):
            self.seen.append(tag)

        def end(self, tag, text):
            self.seen.append(text)

    path = tmp_path / "x.xml"
    path.write_text('<a xmlns="u:x">&lt;TestResult/&gt;<b>&amp;</b></a>')
    names = Names()
    plainxml.read(path, names)
    assert names.seen == ["{u:x}a", "{u:x}b", "&", ""]


@pytest.mark.parametrize(
    ("name", "version", "file"),
    [
        ("rhel", "10.1", "ssg-rhel10-ds.xml"),
        ("rhel", "9.6", "ssg-rhel9-ds.xml"),
        ("rocky", "9.5", "ssg-rl9-ds.xml"),
        ("rocky", "10.0", "ssg-rl10-ds.xml"),
        ("almalinux", "9.5", "ssg-almalinux9-ds.xml"),
        ("almalinux", "10.1", "ssg-almalinux10-ds.xml"),
        ("centos", "9", "ssg-cs9-ds.xml"),
        ("centos", "10", "ssg-cs10-ds.xml"),
        ("ol", "9.4", "ssg-ol9-ds.xml"),
        ("holdfast-rehearsal", "10.1", "ssg-rhel10-ds.xml"),
    ],
)
def test_every_distribution_is_judged_by_its_own_content(name, version, file):
    release = {"ID": name, "VERSION_ID": version, "PRETTY_NAME": "X"}
    choice = scap_content.choose(release, [file, "ssg-rhel8-ds.xml"])
    assert choice.path.name == file
    assert choice.why


@pytest.mark.parametrize(
    ("release", "present", "words"),
    [
        ({"ID": "rocky", "VERSION_ID": "9.5"}, FILES, "ssg-rl9-ds.xml is not in"),
        ({"ID": "rhel", "VERSION_ID": "10.1"}, (), "no content at all"),
        ({"ID": "debian", "VERSION_ID": "13"}, FILES, "no content is known"),
        ({"ID": "rhel"}, FILES, "says no release"),
        ({}, FILES, "says no release"),
    ],
)
def test_no_node_is_judged_by_the_content_of_another_system(release, present, words):
    with pytest.raises(NoContent, match=words):
        scap_content.choose(release, present)


OS_RELEASE = 'ID="holdfast-rehearsal"\nVERSION_ID="10.1"\nPRETTY_NAME="A node"\n'


class Ssh:
    """An ssh on PATH: it answers a look with `look`, and a scan with `answer`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.look = OS_RELEASE + "\n" + "\n".join(FILES) + "\n"
        self.status = 0
        self.members: dict[str, bytes] = {
            "status.json": b'{"status": 2}',
            "results.xml": results_for(ORDER.profile),
            "report.html": b"<html>",
            "asked.log": b"systemd answered\n",
            "oscap.log": b"",
            "arf.xml": b"<arf/>",
        }
        script = folder / "ssh"
        script.write_text(
            f"#!{sys.executable}\nimport sys, shutil, pathlib\n"
            f"home = pathlib.Path({str(folder)!r})\n"
            "looks = 'os-release' in sys.argv[-1]\n"
            "(home / ('asked-look' if looks else 'asked')).write_text(sys.argv[-1])\n"
            "if not looks:\n    (home / 'stdin').write_bytes(sys.stdin.buffer.read())\n"
            "sys.stdout.buffer.write((home / ('look' if looks else 'answer')).read_bytes())\n"
            "print('said on the node', file=sys.stderr)\n"
            "sys.exit(int((home / 'status').read_text()) if not looks else 0)\n"
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def pack(self) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, body in self.members.items():
                member = tarfile.TarInfo(name)
                member.size = len(body)
                archive.addfile(member, io.BytesIO(body))
        return packed.getvalue()

    def scan(self, rack, place: Path, order: Order | None, answer: bytes | None = None) -> Scanned:
        (self.folder / "look").write_text(self.look)
        (self.folder / "answer").write_bytes(self.pack() if answer is None else answer)
        (self.folder / "status").write_text(str(self.status))
        settings = SshSettings(place / "known_hosts")
        found = openscap.scan_nodes(rack, lambda node, major: order, ssh=settings, folder=place)
        (one,) = found.values()
        return one


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    return Ssh(tmp_path / "bin", monkeypatch)


@pytest.fixture
def rack(tmp_path):
    return checks_support.rack(tmp_path, checks_support.node())


def results_for(profile: str) -> bytes:
    """The recorded results, as if they were of this profile."""
    text = RECORDED.read_bytes()
    old = b'idref="xccdf_org.ssgproject.content_profile_cis_server_l1"'
    assert text.count(old) == 1
    return text.replace(old, f'idref="{profile}"'.encode())


ORDER = Order("xccdf_holdfast_profile_x", "<Tailoring/>", ("no_files_unowned_by_user",))


def test_a_scan_is_ordered_read_and_kept(ssh, rack, tmp_path):
    found = ssh.scan(rack, tmp_path, ORDER)
    assert found.problem == ""
    assert found.scan is not None
    assert len(found.scan.selected) == 280
    assert (found.content, found.release) == ("ssg-rhel10-ds.xml", "10")
    asked = (ssh.folder / "asked").read_text()
    assert "/usr/share/xml/scap/ssg/content/ssg-rhel10-ds.xml xccdf_holdfast_profile_x" in asked
    assert asked.endswith(f" {len(ORDER.tailoring)} all no_files_unowned_by_user")
    assert (ssh.folder / "stdin").read_text() == "<Tailoring/>"
    place = tmp_path / rack.nodes[0].name
    kept = {path.name for path in place.iterdir()}
    assert {"arf.xml.gz", "results.xml.gz", "report.html", "scan.json"} <= kept
    assert {path.stat().st_mode & 0o077 for path in place.iterdir()} == {0}
    again = openscap.load(place / "scan.json")
    assert again.scan is not None
    assert {n: r.result for n, r in again.scan.rules.items()} == {
        n: r.result for n, r in found.scan.selected.items()
    }


def test_the_results_alone_are_a_whole_scan(ssh, rack, tmp_path):
    whole = ssh.scan(rack, tmp_path, ORDER).scan
    for name in ("arf.xml", "report.html"):
        del ssh.members[name]
    place = tmp_path / "again"
    place.mkdir()
    found = ssh.scan(rack, place, replace(ORDER, writes="results"))
    assert (ssh.folder / "asked").read_text().endswith(" results no_files_unowned_by_user")
    assert found.problem == ""
    assert found.scan is not None
    assert found.scan == whole
    assert set(found.files) == {"results.xml.gz", "oscap.log"}


@pytest.mark.parametrize("writes", ["all", "results"])
def test_what_openscap_is_told_to_write(tmp_path, monkeypatch, writes):
    script = tmp_path / "oscap"
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$SEEN"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    program = Path(openscap.__file__).with_name("oscap.sh")
    words = ["content.xml", "profile", "60", "0", writes, "a_rule"]
    subprocess.run(["sh", program, *words], check=True, capture_output=True)
    asked = (tmp_path / "seen").read_text().split()
    assert asked[-3:] == ["--results", "results.xml", "content.xml"]
    assert "xccdf_org.ssgproject.content_rule_a_rule" in asked
    assert ("--report" in asked) is ("--results-arf" in asked) is (writes == "all")


RULE = "xccdf_org.ssgproject.content_rule_"
ASKS = "I: oscap: Querying systemdunitproperty object 'oval:ssg-x:obj:1', flags: 0."


@pytest.mark.parametrize("systemd", ["answered", "late"])
def test_what_asks_systemd_is_written_down_with_whether_it_answers(tmp_path, monkeypatch, systemd):
    rule = f"I: oscap: Evaluating XCCDF rule '{RULE}a'."
    lines = [rule, "I: oscap: Opening file '/etc/a'.", ASKS, "W: oscap: something is odd"]
    words = "\\n".join(lines).replace("'", "'\\''")
    programs = {
        "oscap": f"printf '{words}\\n' >log; sleep 0.1",
        "busctl": f"sleep 0.2; [ {systemd} = answered ]",
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program = Path(openscap.__file__).with_name("oscap.sh")
    argv = ["sh", program, "content.xml", "profile", "60", "0", "all"]
    packed = subprocess.run(argv, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        told = {m.name: archive.extractfile(m).read().decode() for m in archive}
    asked = told["asked.log"].splitlines()
    assert [line for line in asked if not line.startswith("systemd")] == [rule, *lines[2:]]
    assert asked[-1] == f"systemd {systemd}"
    assert told["oscap.log"] == lines[3] + "\n"


class TestSystemdThatIsLate:
    """OpenSCAP takes a unit that systemd says nothing of in time for one that does not exist."""

    LOG = (
        f"I: oscap: Evaluating XCCDF rule '{RULE}early'.",
        "I: oscap: Evaluating definition 'oval:ssg-early:def:1': x.",
        ASKS,
        "I: oscap: Definition 'oval:ssg-early:def:1' evaluated as true.",
        "systemd answered",
        f"I: oscap: Evaluating XCCDF rule '{RULE}enabled'.",
        "I: oscap: Evaluating definition 'oval:ssg-os:def:1': x.",
        "I: oscap: Definition 'oval:ssg-os:def:1' evaluated as true.",
        "I: oscap: Evaluating definition 'oval:ssg-enabled:def:1': x.",
        ASKS,
        "systemd late",
        "I: oscap: Definition 'oval:ssg-enabled:def:1' evaluated as false.",
        f"I: oscap: Evaluating XCCDF rule '{RULE}disabled'.",
        "I: oscap: Evaluating definition 'oval:ssg-os:def:1': x.",
        "I: oscap: Definition 'oval:ssg-os:def:1' evaluated as true.",
        ASKS.replace("property", "dependency"),
        f"I: oscap: Evaluating XCCDF rule '{RULE}file'.",
        "I: oscap: Evaluating definition 'oval:ssg-os:def:1': x.",
        "I: oscap: Definition 'oval:ssg-os:def:1' evaluated as true.",
        "systemd answered",
        f"I: oscap: Evaluating XCCDF rule '{RULE}uses'.",
        "I: oscap: Evaluating definition 'oval:ssg-enabled:def:1': x.",
        f"I: oscap: Evaluating XCCDF rule '{RULE}apart'.",
        ASKS,
    )
    RESULTS: ClassVar[dict[str, str]] = {
        "early": "pass", "enabled": "fail", "disabled": "pass", "file": "fail", "uses": "fail",
        "apart": "notapplicable",
    }  # fmt: skip

    def doubted(self, lines, results=None):
        given = results or self.RESULTS
        rules = {name: scap_results.RuleResult(name, result) for name, result in given.items()}
        scan = scap_results.Scan("b", "1", "p", "", "", "", rules=rules)
        found = scap_results.doubted(scan, lines)
        return {n: r.result for n, r in found.rules.items() if r.result != given[n]}, found

    def test_neither_a_fail_nor_a_pass_is_taken_from_it(self):
        changed, found = self.doubted(self.LOG)
        assert changed == dict.fromkeys(["enabled", "disabled", "uses"], "unknown")
        (why,) = found.rules["disabled"].messages
        assert why == "systemd did not answer while it was judged; OpenSCAP said pass"

    def test_where_it_answers_all_stands(self):
        lines = ["systemd answered" if line == "systemd late" else line for line in self.LOG]
        assert self.doubted(lines)[0] == {}

    def test_what_is_asked_at_the_end_is_doubted_too(self):
        lines = [*self.LOG[:5], *self.LOG[-2:], "systemd late"]
        results = {"early": "pass", "apart": "pass"}
        assert self.doubted(lines, results)[0] == {"apart": "unknown"}

    def test_nobody_that_asked_is_hit(self):
        assert self.doubted(["systemd late", "systemd answered", *self.LOG[:5]])[0] == {}

    def test_a_log_that_names_no_rule_clears_none(self):
        lines = [line for line in self.LOG if "XCCDF rule" not in line]
        assert set(self.doubted(lines)[0]) == {"early", "enabled", "disabled", "file", "uses"}

    def test_the_verdict_is_unknown_and_says_why(self, ssh, rack, tmp_path):
        rule = "service_crond_enabled"
        lines = [f"I: oscap: Evaluating XCCDF rule '{RULE}{rule}'.", ASKS, "systemd late"]
        ssh.members["asked.log"] = "\n".join(lines).encode()
        scan = ssh.scan(rack, tmp_path, ORDER).scan
        assert scan.rules[rule].result == "unknown"


def test_a_node_that_nothing_is_asked_of_is_not_scanned(ssh, rack, tmp_path):
    found = ssh.scan(rack, tmp_path, None)
    assert (found.scan, found.problem) == (None, "")
    assert not (ssh.folder / "asked").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"look": "\n\n"}, "os-release could not be read"),
        ({"look": OS_RELEASE + "\n"}, "scap-security-guide brings it"),
        ({"status": 3}, r"did not run \(status 3\): said on the node"),
        ({"status": 255}, "cannot be reached"),
        ({"status.json": b'{"status": 1}', "oscap.log": b"no such profile"}, "no such profile"),
        ({"status.json": b'{"status": 124}'}, "did not end in time"),
        ({"status.json": b'{"status": 137}'}, "ended 137"),
        ({"status.json": b"[]"}, "does not say how"),
        ({"status.json": b"{}"}, "does not say how"),
        ({"status.json": b"\xff"}, "does not say how"),
        ({"status.json": b'{"status": false}'}, "does not say how"),
        ({"results.xml": RECORDED.read_bytes()}, "is of the profile 'cis_server_l1', and not"),
        ({"status.json": None}, "says nothing of how OpenSCAP ended"),
        ({"results.xml": None}, "OpenSCAP ended 2"),
        ({"asked.log": None}, "does not say which rules asked systemd"),
        ({"results.xml": b"<!DOCTYPE a><a/>"}, "document type"),
        ({"results.xml": b"<arf/>"}, "0 results of scans"),
        ({"../../elsewhere": b"x"}, "which it should not"),
        ({"known_hosts": b"x"}, "which it should not"),
    ],
)
def test_a_scan_without_a_result_says_why(ssh, rack, tmp_path, change, words):
    for name, value in change.items():
        if name in ("look", "status"):
            setattr(ssh, name, value)
        elif value is None:
            del ssh.members[name]
        else:
            ssh.members[name] = value
    found = ssh.scan(rack, tmp_path, ORDER)
    assert found.scan is None
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(found.problem)


def test_an_answer_that_is_cut_short_is_no_result(ssh, rack, tmp_path):
    whole = ssh.pack()
    for cut in (b"", whole[: len(whole) // 2], whole[:-5], b"garbage"):
        found = ssh.scan(rack, tmp_path, ORDER, cut)
        assert found.scan is None
        assert found.problem


def test_an_answer_that_is_too_large_is_refused(ssh, rack, tmp_path, monkeypatch):
    monkeypatch.setattr(openscap, "_MOST", 1000)
    assert "which it should not" in ssh.scan(rack, tmp_path, ORDER).problem


def test_a_record_of_another_kind_is_not_read_as_a_scan(tmp_path):
    (tmp_path / "scan.json").write_text(json.dumps({"schema": "holdfast.verdict/1"}))
    with pytest.raises(ValueError, match="not the record of a scan"):
        openscap.load(tmp_path / "scan.json")


@pytest.fixture
def judged(ssh, rack, tmp_path, monkeypatch):
    """The verdict on one untouched node, and its findings by check."""
    rack = rack.model_copy(update={"profile": "cis_l1_server"})
    (tmp_path / "baselines").mkdir()
    monkeypatch.setattr(scap_verdict, "ours", lambda: tmp_path / "baselines")

    ssh.members["results.xml"] = results_for("xccdf_holdfast_profile_cis_l1_server_el10")

    def judge(rack=rack, **changed):
        ssh.scan(rack, tmp_path, ORDER)  # lays out what the node answers
        settings = SshSettings(tmp_path / "known_hosts")
        return scap_verdict.judge_by_openscap(rack, load_policy(), ssh=settings, events=NullSink(),
                                              folder=tmp_path / "scans", **changed)  # fmt: skip

    judge.rack = rack
    return judge


def test_without_a_profile_nothing_is_judged(judged):
    verdict = judged(judged.rack.model_copy(update={"profile": "none"}))
    assert [f.status for f in verdict.findings] == [Status.NOT_APPLICABLE]


def test_every_rule_that_fails_is_a_finding_of_its_own(judged):
    first, *rest = judged().findings
    assert (first.check, first.status) == ("openscap.scan", Status.FAIL)
    assert "239 of 280 rules apply" in first.seen
    assert "there is no baseline cis_l1_server-el10-container.yml" in first.seen
    checks = {f.check: f for f in rest}
    root = checks["openscap.sshd_disable_root_login"]
    assert root.status is Status.FAIL
    assert root.action.startswith("holdfast profile explain ")
    assert "openscap.selinux_not_disabled" not in checks, "a container has no SELinux of its own"


def test_the_tailoring_asks_for_waived_rules_too(judged, ssh):
    judged()
    assert "xccdf_holdfast_profile_cis_l1_server_el10" in (ssh.folder / "stdin").read_text()
    assert 'selected="false"' not in (ssh.folder / "stdin").read_text()


def test_a_quick_scan_says_what_it_leaves_out(judged, ssh):
    first, *_, last = judged(mode="quick").findings
    assert "no_files_unowned_by_user" in (ssh.folder / "asked").read_text()
    assert "not judged in this scan" in first.seen
    assert (last.check, last.status) == ("openscap.last_full_scan", Status.UNKNOWN)
    assert "no full scan of it is known" in last.seen


EXPENSIVE = "file_permissions_unauthorized_world_writable"


@pytest.fixture
def later(judged, tmp_path, monkeypatch):
    """A node whose full scan passed; `judge` it so many days later."""
    baseline.write(recorded(judged(), tmp_path), tmp_path / "baselines")
    begin = time.time()

    def judge(days, rack=judged.rack, **more):
        monkeypatch.setattr(scap_verdict.time, "time", lambda: begin + days * 86400)
        return {f.check: f for f in judged(rack, **more).findings}

    judge.rack = judged.rack
    return judge


@pytest.mark.parametrize("mode", ["quick", "none"])
def test_the_last_full_scan_proves_what_is_left_out_for_some_days(later, ssh, mode):
    found = later(6.5, mode=mode)
    assert {f.status for f in found.values()} == {Status.PASS}, found
    last = found["openscap.last_full_scan"]
    assert "6.5 days ago" in last.seen
    assert "141 pass" in found["openscap.scan"].seen


@pytest.mark.parametrize("days", [7.5, -1.5])
def test_an_old_full_scan_proves_nothing(later, days):
    for mode in ("quick", "none"):
        last = later(days, mode=mode)["openscap.last_full_scan"]
        assert last.status is Status.UNKNOWN
        assert last.action == "holdfast verify INVENTORY --scan full"
    assert later(days, mode="none")["openscap.scan"].status is Status.UNKNOWN


def test_how_long_it_proves_something_is_for_the_inventory_to_say(later):
    patient = later.rack.model_copy(update={"full_scan_days": 30})
    assert later(29, patient, mode="quick")["openscap.last_full_scan"].status is Status.PASS


def test_a_full_scan_needs_no_other(later):
    assert set(later(400)) == {"openscap.scan"}


def test_what_the_last_full_scan_saw_fail_still_fails(later, judged, ssh):
    body = ssh.members["results.xml"].decode()
    rule = f'idref="xccdf_org.ssgproject.content_rule_{EXPENSIVE}"'
    begin = body.index(f"<rule-result {rule}")
    worse = body[:begin] + body[begin:].replace("<result>pass<", "<result>fail<", 1)
    good, ssh.members["results.xml"] = ssh.members["results.xml"], worse.encode()
    judged()
    ssh.members["results.xml"] = good
    for mode in ("quick", "none"):
        assert later(1, mode=mode)[f"openscap.{EXPENSIVE}"].status is Status.FAIL


def test_a_node_that_was_installed_anew_has_no_scan(later):
    (node,) = later.rack.nodes
    other = node.model_copy(update={"host_keys": ("ssh-ed25519 other",)})
    rack = later.rack.model_copy(update={"nodes": (other,)})
    assert later(1, rack, mode="none")["openscap.scan"].status is Status.UNKNOWN


def test_a_scan_by_another_profile_proves_nothing(later):
    other = later.rack.model_copy(update={"profile": "cis_l2_server"})
    assert later(1, other, mode="none")["openscap.scan"].status is Status.UNKNOWN


def test_a_sites_own_baseline_comes_first(judged, tmp_path):
    (tmp_path / "own").mkdir()
    baseline.write(recorded(judged(), tmp_path), tmp_path / "own")
    assert judged().findings[0].status is Status.FAIL
    own = judged.rack.model_copy(update={"baselines": (tmp_path / "own",)})
    assert judged(own).findings[0].status is Status.PASS


def test_a_result_of_next_to_nothing_proves_nothing(judged, ssh):
    ssh.members["results.xml"] = (
        f'<TestResult {X}><profile idref="xccdf_holdfast_profile_cis_l1_server_el10"/>'
        '<rule-result idref="a"><result>pass</result></rule-result></TestResult>'
    ).encode()
    (only,) = judged().findings
    assert only.status is Status.UNKNOWN
    assert "1 rules apply to this node; below" in only.seen


def test_a_node_that_gives_no_scan_is_unknown(judged, ssh):
    ssh.status = 255
    (only,) = judged().findings
    assert (only.check, only.status) == ("openscap.scan", Status.UNKNOWN)
    assert "cannot be reached" in only.seen


def recorded(verdict, tmp_path, **more):
    (view,) = verdict.nodes.values()
    reasons = dict.fromkeys(view.scanned.scan.selected, "it is untouched") | more
    followed = load_policy().profiles["cis_l1_server"].benchmark["el10"].scap_profile
    return scap_verdict.record(view, followed, reasons, DAY)


def test_what_was_recorded_passes_from_then_on(judged, tmp_path):
    made = recorded(judged(), tmp_path)
    baseline.write(made, tmp_path / "baselines")
    (only,) = judged().findings
    assert only.status is Status.PASS
    assert "141 pass" in only.seen


def test_other_content_than_the_baselines_proves_nothing_yet(judged, tmp_path, ssh):
    made = recorded(judged(), tmp_path)
    content = made.content.model_copy(update={"version": "0.1.82"})
    baseline.write(made.model_copy(update={"content": content}), tmp_path / "baselines")
    (first,) = judged(run="R7").findings
    assert first.status is Status.UNKNOWN
    assert "was recorded with ssg-rhel10-ds.xml 0.1.82, and now" in first.seen
    assert "holdfast profile baseline " in first.action
    assert "--run R7 --node n1 --into FOLDER" in first.action
    body = ssh.members["results.xml"].decode()
    ssh.members["results.xml"] = body.replace("<result>pass<", "<result>fail<", 1).encode()
    first, worse = judged().findings
    assert (first.status, worse.status) == (Status.UNKNOWN, Status.UNKNOWN)


def test_a_baseline_that_cannot_be_read_stops_the_verdict(judged, tmp_path):
    (tmp_path / "baselines/cis_l1_server-el10-container.yml").write_text("schema: 1\n")
    with pytest.raises(HoldfastError, match="no baseline"):
        judged()


def test_a_quick_scan_makes_no_baseline(judged, tmp_path):
    (view,) = judged(mode="quick").nodes.values()
    with pytest.raises(HoldfastError, match="left out"):
        scap_verdict.record(view, "x", {}, DAY)
    nothing = replace(view, scanned=Scanned("n1"))
    with pytest.raises(HoldfastError, match="there is no scan"):
        scap_verdict.record(nothing, "x", {}, DAY)


def test_the_policy_gives_the_reasons_that_it_has():
    resolution = resolve(load_policy(), Selection("cis_l1_server"), Target("el10", "container"))
    reasons = scap_verdict.reasons_of(resolution)
    assert "container" in reasons["selinux_not_disabled"]
    assert reasons["ensure_root_password_configured"]
    assert "sshd_disable_root_login" not in reasons


def test_every_rule_is_explained(judged, tmp_path, ssh):
    """What it is, why, its state before and now, the evidence, and who answers for a waiver."""
    baseline.write(recorded(judged(), tmp_path), tmp_path / "baselines")
    waiver = Waiver(control="sshd-no-root-login", reason="Until <May>.", owner="a@example.org",
                    expires=date(2099, 6, 30))  # fmt: skip
    policy = load_policy()
    verdict = judged(judged.rack.model_copy(update={"waivers": (waiver,)}))
    book = scap_pages.rule_book(verdict, policy, tmp_path)
    (page,) = book.nodes
    assert sum(page.counts().values()) == len(page.rules) == 280
    assert page.report == "scans/n1/report.html"
    rules = {rule.rule: rule for rule in page.rules}
    root = rules["sshd_disable_root_login"]
    assert (root.status, root.now, root.before) == (Status.WAIVED, "fail", "fail")
    assert root.excuse == Excuse("Until <May>.", "waiver", "a@example.org", "2099-06-30")
    assert root.controls == ("sshd-no-root-login",)
    assert book.controls["sshd-no-root-login"].rationale
    accepted = rules["selinux_not_disabled"]
    assert (accepted.status, accepted.excuse.source) == (Status.WAIVED, "baseline")
    assert accepted.excuse.reason == "it is untouched"
    good = rules["file_groupowner_etc_passwd"]
    assert (good.status, good.excuse) == (Status.PASS, None)
    assert {r.status for r in page.rules if r.now == "notapplicable"} == {Status.NOT_APPLICABLE}


def test_a_rule_that_fails_is_explained_with_what_was_seen(judged, tmp_path):
    book = scap_pages.rule_book(judged(), load_policy(), tmp_path)
    rules = {rule.rule: rule for rule in book.nodes[0].rules}
    root = rules["sshd_disable_root_login"]
    assert root.status is Status.FAIL
    assert root.seen[0] == "it fails; nothing was recorded for it"
    assert root.before == "", "no scan is known from before"


def test_what_no_scan_proves_is_not_explained_as_a_pass(judged, tmp_path):
    book = scap_pages.rule_book(judged(mode="quick"), load_policy(), tmp_path)
    rules = {rule.rule: rule for rule in book.nodes[0].rules}
    assert {rules[r].status for r in openscap.EXPENSIVE if r in rules} == {Status.UNKNOWN}


def test_a_node_without_a_scan_has_no_page(judged, ssh, tmp_path):
    ssh.status = 255
    assert scap_pages.rule_book(judged(), load_policy(), tmp_path).nodes == ()

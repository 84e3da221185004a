"""The gate of images: more than thirty regressions, each of which stops the build by its name.

OpenSCAP is this machine's, the tree and the content are small; everything else is as in a build.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from provision.checks import openscap
from provision.checks.openscap import Scanned
from provision.checks.scap_results import RuleResult, Scan
from provision.cli import main
from provision.core.problems import HoldfastError
from provision.image import gate, stage_scan
from provision.image.scan import running, scanner
from provision.policy import baseline as baselines
from provision.policy.resolve import Selection, Target
from provision.rack.model import Waiver
from provision.verdict import html, schema
from provision.verdict.model import Finding, NodeSummary, Status, Verdict
from tests.unit.gate_support import STREAM, WAIVER, Site, copy, definition, refused, site, stream
from tests.unit.lint_support import BREAKS, MODULES, make, module, put


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A site whose image passes."""
    folder = tmp_path_factory.mktemp("gate")
    return site(folder / "site", make(folder / "tree"), stream(folder / "content"))


@pytest.fixture
def place(good, tmp_path):
    """A copy of it, to be broken."""
    return copy(good, tmp_path / "site")


def _put(path: str, text: str) -> Callable[[Site], object]:
    return lambda made: put(made.root, path, text)


def _content(**how: str) -> Callable[[Site], object]:
    return lambda made: put(made.root, STREAM, stream(made.folder / "content", **how))


def _baseline(**how: object) -> Callable[[Site], object]:
    def work(made: Site) -> None:
        (path,) = made.baselines.iterdir()
        baselines.write(baselines.read(path).model_copy(update=how), made.baselines)

    return work


def _lint(case: str) -> Callable[[Site], object]:
    return lambda made: BREAKS[case][1](made.root)


def _truncated(made: Site) -> None:
    path = made.root / STREAM
    path.write_bytes(path.read_bytes()[:-200])


def _kernel_module(made: Site) -> None:
    put(made.root, f"{MODULES}/bare.ko", module(made.folder, "bare", signed=False))


REGRESSIONS: dict[str, tuple[str, Callable[[Site], object]]] = {
    # A control undone: OpenSCAP names the rule.
    "a control undone": (
        "openscap.login_root",
        _put("etc/ssh/sshd_config", "PermitRootLogin yes\nPermitEmptyPasswords no\n"),
    ),
    "another control undone": (
        "openscap.login_empty",
        _put("etc/ssh/sshd_config", "PermitRootLogin no\n"),
    ),
    "a value weakened": (
        "openscap.long_passwords",
        _put("etc/security/pwquality.conf", "minlen = 8\n"),
    ),
    "a file gone": ("openscap.banner", lambda made: (made.root / "etc/issue").unlink()),
    "a mode weakened": (
        "openscap.shadow_private",
        lambda made: (made.root / "etc/shadow").chmod(0o644),
    ),
    # What is accepted no longer fits.
    "a pass became notapplicable": ("openscap.banner", _content(apart="banner")),
    "a waived rule passes": ("openscap.telnet_gone", _put("etc/telnet.conf", "never\n")),
    "a rule has no result": ("openscap.banner", _content(without="banner")),
    "a rule is not checked any more": ("openscap.banner", _content(unchecked="banner")),
    "content of another version": ("its baseline was recorded with", _content(version="1.1")),
    "too few rules apply": ("below 7 nothing is proven", _baseline(floor=7)),
    "no baseline": ("openscap.baseline", lambda made: shutil.rmtree(made.baselines)),
    # OpenSCAP did not judge.
    "data stream cut short": ("it is not XML", _truncated),
    "data stream gone": ("is not in", lambda made: (made.root / STREAM).unlink()),
    "a tree of another release": (
        "says that it is release 9",
        _put("etc/os-release", 'ID="rhel"\nVERSION_ID="9.6"\n'),
    ),
    "an unknown distribution": (
        "no content is known",
        _put("etc/os-release", 'ID="other"\nVERSION_ID="10"\n'),
    ),
    # The lint.
    "a machine id": ("lint.machine-id", _lint("machine-id")),
    "a host key": ("lint.ssh-host-keys", _lint("ssh-host-keys")),
    "a random seed": ("lint.random-seed", _lint("random-seed")),
    "a private key": ("lint.secrets", _lint("secrets key")),
    "a login key": ("lint.login-keys", _lint("login-keys")),
    "a password": ("lint.password-hashes", _lint("password-hashes")),
    "an account without one": ("lint.empty-passwords", _lint("empty-passwords")),
    "a second root": ("lint.uid-zero", _lint("uid-zero")),
    "one more set-user-id program": ("lint.privileged-programs", _lint("privileged-programs new")),
    "nobody recorded those": (
        "lint.privileged-programs",
        lambda made: (made.folder / "privileged.tsv").unlink(),
    ),
    "a file that all may write": ("lint.world-writable", _lint("world-writable")),
    "a second kernel": ("lint.one-kernel", _lint("one-kernel")),
    "an unsigned module": ("lint.signed-modules", _kernel_module),
    "name servers of the build": ("lint.resolv-conf", _lint("resolv-conf")),
    "a log of the build": ("lint.logs", _lint("logs")),
    "something scheduled": ("lint.scheduled", _lint("scheduled")),
    "a unit that is not there": ("lint.unit-links", _lint("unit-links")),
    "an rpm database that is gone": (
        "lint.rpm-database",
        lambda made: shutil.rmtree(made.root / "usr/lib/sysimage/rpm"),
    ),
}
"""What is done to an image that passes: what the refusal must name, and how it is done."""


def test_an_image_as_it_should_be_passes(good):
    out = good.build()
    verdict = gate.accepted(out, good.seal / "files.tsv")
    assert verdict.passed
    assert verdict.forced is None
    body = json.loads((out / "results.json").read_text())
    assert body["rules"]["login_root"] == {"result": "pass", "severity": "medium", "word": "pass"}
    assert body["rules"]["telnet_gone"]["word"] == "waived"
    # What only a running system shows is neither a pass nor a failure of the tree.
    assert body["after_boot"] == {"kernel_setting": "a setting of the running kernel"}
    assert "kernel_setting" not in body["rules"]
    assert "login_root" in (out / "rules/tiny.html").read_text()


def test_the_same_tree_gives_the_same_verdict(place):
    first = {p.name: p.read_bytes() for p in place.build().iterdir() if p.suffix == ".json"}
    again = {p.name: p.read_bytes() for p in place.build().iterdir() if p.suffix == ".json"}
    assert first == again


QUICK = (
    "a control undone",
    "a pass became notapplicable",
    "a waived rule passes",
    "no baseline",
    "data stream cut short",
    "a private key",
)
"""Those of every `make test`; one costs about a second."""


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.soak) for name in REGRESSIONS],
)
def test_each_regression_stops_the_build_by_its_name(place, name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    what, breaks = REGRESSIONS[name]
    breaks(place)
    told = refused(place)
    assert what in told
    # All that was found is kept, and named.
    (kept,) = (tmp_path / "state/holdfast/images/refused").iterdir()
    assert f"{kept}/report.html" in told
    assert not json.loads((kept / "gate.json").read_text())["passed"]


def test_there_are_thirty_of_them():
    assert len(REGRESSIONS) >= 30


@pytest.fixture
def apart():
    """A folder outside of /tmp, which the scanner does not see."""
    with tempfile.TemporaryDirectory(prefix="holdfast-test-", dir="/var/tmp") as folder:
        yield Path(folder)


def _program(folder: Path, monkeypatch, body: str) -> None:
    """Another oscap before this machine's, which ends otherwise."""
    path = folder / "oscap"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo fake && exit 0\n{body}\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("kill -SEGV $$", "SIGSEGV"),
        ("kill -ABRT $$", "SIGABRT"),
        ("exit 1", "failed with exit status 1"),
        ("exit 0", "there is no result"),
        ("echo '<x/>' >results.xml; exit 2", "holds 0 results"),
    ],
)
def test_an_oscap_that_ends_otherwise_proves_nothing(place, apart, monkeypatch, body, said):
    _program(apart, monkeypatch, body)
    told = refused(place)
    assert "openscap.scan nothing is proven" in told
    assert said in told


def test_without_oscap_nothing_is_proven(place, monkeypatch):
    monkeypatch.setattr(scanner, "PROGRAM", "oscap-that-is-not-here")
    told = refused(place)
    assert "openscap.scan nothing is proven" in told
    assert "not installed" in told


def test_an_oscap_of_the_image_that_does_not_run_proves_nothing(place):
    put(place.root, "usr/bin/oscap", "no program", 0o755)
    assert "openscap.scan nothing is proven" in refused(place)


def test_a_result_of_another_profile_is_refused(place, apart, monkeypatch):
    kept = apart / "other.xml"
    kept.write_text(
        '<Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2" id="b"><TestResult version="1.0">'
        '<profile idref="xccdf_a_profile_other"/></TestResult></Benchmark>'
    )
    _program(apart, monkeypatch, f"cp {kept} results.xml; exit 0")
    assert "is of the profile 'other'" in refused(place)


def test_an_expired_waiver_stops_the_build():
    past = WAIVER.model_copy(update={"control": "no-x11", "expires": dt.date(2020, 1, 1)})
    with pytest.raises(HoldfastError) as caught:
        stage_scan.resolution_of(_ours(past))
    assert caught.value.exit_code == 1
    assert "expired on 2020-01-01" in str(caught.value)


def test_a_waiver_without_effect_stops_the_build():
    # It is a control of another profile.
    idle = WAIVER.model_copy(update={"control": "aide-sends-mail"})
    with pytest.raises(HoldfastError) as caught:
        stage_scan.resolution_of(_ours(idle))
    assert caught.value.exit_code == 1
    assert "aide-sends-mail" in str(caught.value)


def _ours(*waivers: Waiver):
    return definition(*waivers).model_copy(update={"profile": "cis_l1_server"})


def test_with_a_reason_the_build_goes_on_and_the_reason_stays(place):
    (place.root / "etc/issue").unlink()
    out = place.build(force="the  rack burns")
    body = json.loads((out / "gate.json").read_text())
    assert body["passed"] is False
    assert body["forced"] == "the rack burns"
    assert gate.accepted(out, place.seal / "files.tsv").forced == "the rack burns"


def test_a_reason_is_demanded_and_not_kept_where_none_was_needed(place):
    assert gate.read(place.build(force="in case") / "gate.json").forced is None
    (place.root / "etc/issue").unlink()
    with pytest.raises(HoldfastError, match="wants a reason"):
        place.build(force="  ")


def _edit(out: Path, change: Callable[[dict], object]) -> None:
    body = json.loads((out / "gate.json").read_text())
    change(body)
    (out / "gate.json").write_text(json.dumps(body))


TAMPERED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "missing": ("there is no verdict", lambda out: (out / "gate.json").unlink()),
    "cut short": (
        "cannot be read",
        lambda out: (out / "gate.json").write_bytes((out / "gate.json").read_bytes()[:-40]),
    ),
    "something else": ("cannot be read", lambda out: (out / "gate.json").write_text("{}")),
    "of another tree": (
        "of another tree",
        lambda out: _edit(out, lambda b: b.update(files="0" * 64)),
    ),
    "a finding taken out": (
        "its findings say False",
        lambda out: _edit(
            out,
            lambda b: b["verdict"]["findings"].__setitem__(
                slice(None),
                [f for f in b["verdict"]["findings"] if f["check"] != "lint.secrets"],
            ),
        ),
    ),
    "claims what its findings deny": (
        "its findings say False",
        lambda out: _edit(
            out, lambda b: b["verdict"]["findings"][0].update(status="fail", reason="")
        ),
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_verdict_that_was_changed_is_refused(good, name, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(good.build(), out)
    said, change = TAMPERED[name]
    change(out)
    with pytest.raises(HoldfastError) as caught:
        gate.accepted(out, good.seal / "files.tsv")
    assert caught.value.exit_code == 1
    assert said in str(caught.value)


def test_a_tree_that_changed_after_its_verdict_is_refused(place):
    out = place.build()
    with (place.seal / "files.tsv").open("a") as stream_:
        stream_.write("one more\n")
    with pytest.raises(HoldfastError, match="of another tree"):
        gate.accepted(out, place.seal / "files.tsv")


def test_the_verdict_after_the_first_boot_stands_in_the_same_report(good):
    before = gate.read(good.build() / "gate.json")
    finding = Finding("vm", "hardening.sysctl", "Settings", Status.FAIL, seen="it is 0")
    after = Verdict("verify", "x", "r", (NodeSummary("vm", kind="vm"),), (finding,), ended=9.0)
    both = gate.merged(before, after)
    assert [node.name for node in both.nodes] == ["tiny", "tiny-booted"]
    assert both.status is Status.FAIL
    page = html.render(both)
    assert "tiny-booted" in page
    assert "Image tiny is refused: 1 check failed." in page
    assert schema.from_json(schema.to_text(both)).node_status("tiny-booted") is Status.FAIL
    second = replace(finding, node="other")
    with pytest.raises(HoldfastError):
        gate.merged(before, replace(after, findings=(finding, second)))


def test_which_rules_ask_a_running_system_is_read_from_the_content(tmp_path):
    path = tmp_path / "ds.xml"
    path.write_bytes(stream(tmp_path / "content"))
    found = running.read(path)
    assert found.version == "1.0"
    assert dict(found.running) == {"kernel_setting": "a setting of the running kernel"}
    assert "login_root" in found.rules


def test_a_selection_of_the_small_policy_is_whole(good):
    asked = good.asked()
    assert Selection("basic", (), good.waivers).profile in asked.policy.profiles
    assert asked.resolution.target == Target("el10", "image")
    assert {item.control.id for item in asked.resolution.waived} == {"telnet-gone"}


def _kept(folder: Path, *, node: str = "gpu-node", banner: str = "pass") -> Path:
    """What `holdfast image scan --out` keeps, of three rules."""
    rules = {
        "accounts_tmout": RuleResult("accounts_tmout", "pass", "medium"),
        "banner_etc_issue_cis": RuleResult("banner_etc_issue_cis", banner, "medium"),
        "dconf_db_up_to_date": RuleResult("dconf_db_up_to_date", "notapplicable", "high"),
    }
    scan = Scan("b", "0.1.76", "cis_l1_server_el10", "", "", "oscap", rules)
    scanned = Scanned(node, scan, content="ssg-rhel10-ds.xml", release="10")
    folder.mkdir(exist_ok=True)
    body = {"base": "rehearsal", "scan": openscap.to_json(scanned)}
    (folder / "results.json").write_text(json.dumps(body))
    (folder / "gate.json").write_text(json.dumps({"day": "2026-11-02"}))
    return folder


def _record(capsys, folder: Path, into: Path, *more: object) -> tuple[int, str]:
    words = ["profile", "baseline", "gpu-node", "--scan", folder, "--into", into, *more]
    code = main.main([str(word) for word in words])
    said = capsys.readouterr()
    return int(code), said.out + said.err


def test_a_kept_scan_becomes_the_baseline_for_images(tmp_path, capsys):
    code, said = _record(capsys, _kept(tmp_path / "scan"), tmp_path / "into")
    assert code == 0, said
    made = baselines.read(tmp_path / "into/cis_l1_server-el10-image.yml")
    assert (made.kind, made.recorded, made.floor) == ("image", dt.date(2026, 11, 2), 2)
    assert made.notapplicable == ("dconf_db_up_to_date",)


def test_a_rule_that_fails_is_recorded_with_a_reason_only(tmp_path, capsys):
    folder = _kept(tmp_path / "scan", banner="fail")
    code, said = _record(capsys, folder, tmp_path / "into")
    assert code == 1
    assert "banner_etc_issue_cis" in said
    reasons = tmp_path / "reasons.yml"
    reasons.write_text("banner_etc_issue_cis: The site shows its own.\n")
    code, said = _record(capsys, folder, tmp_path / "into", "--reasons", reasons)
    assert code == 0, said


def test_a_scan_of_another_image_and_no_scan_are_refused(tmp_path, capsys):
    code, said = _record(capsys, _kept(tmp_path / "scan", node="head-node"), tmp_path / "into")
    assert code == 2
    assert "head-node" in said
    code, said = _record(capsys, tmp_path / "none", tmp_path / "into")
    assert code == 2
    assert "no scan of an image is kept here" in said

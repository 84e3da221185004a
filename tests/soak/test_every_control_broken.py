"""Each applied control is broken by hand on a hardened node, and whoever covers it has to notice.

In a few rounds, each of breakings that do not disturb one another: `holdfast verify` must name the
control in its finding of that type, `holdfast plan` must announce it, and where rules of OpenSCAP
answer to the control and passed before, one of them must fail. Then `up` heals all of it.
HOLDFAST_SOAK_PROFILE and HOLDFAST_SOAK_RELEASE choose another profile and release;
HOLDFAST_SOAK_RACK names a kept rack of one node with this profile, for sessions that run one round
each (`-k first_round`, `-k second_round`). Prints a table.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from provision.cli.inputs import load_rack
from provision.core.events import NullSink
from provision.engine.controls import controls_of
from provision.policy.load import load_policy
from provision.policy.model import Control
from provision.rehearsal import rack as racks
from tests.rehearsal.conftest import Ran, SimulatedRack
from tests.soak.breaking import AFTER, BREAK, PERSON, PREPARE

pytestmark = pytest.mark.soak

PROFILE = os.environ.get("HOLDFAST_SOAK_PROFILE", "cis_l1_server")
RELEASE = os.environ.get("HOLDFAST_SOAK_RELEASE", "10")
EL = f"el{RELEASE}"
SCANNER = {"openscap-scanner", "scap-security-guide", "rpm", "redhat-release"}
"""Without these there is no second verdict at all."""

LATER = {"authselect"}
"""Types that are broken in the second round, because the first edits what they write."""

BLIND = {"world-writable-directories-sticky", "world-writable-files"}
"""Rules that walk local file systems pass over a rehearsal node, whose root is a stacked one."""

Rules = dict[str, str]


@dataclass
class Broken:
    """One resource of a control, how it is broken, and who noticed."""

    control: str
    kind: str
    resource: dict[str, Any]
    script: str | None
    rules: tuple[str, ...]
    noticed: dict[str, bool] = field(default_factory=dict)


@pytest.fixture(scope="module")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedRack]:
    """A node of the profile, with the overlay of an AI host."""
    state, before = tmp_path_factory.mktemp("state"), os.environ.get("XDG_STATE_HOME", "")
    os.environ["XDG_STATE_HOME"] = os.fspath(state)
    if name := os.environ.get("HOLDFAST_SOAK_RACK"):
        os.environ["XDG_STATE_HOME"] = before
        yield prepared(SimulatedRack(racks.load(name), Path(before)))
        return
    built = racks.build(release=RELEASE, count=1, events=NullSink(), keep=False, profile=PROFILE)
    rack = SimulatedRack(built, state)
    try:
        yield prepared(rack)
    finally:
        rack.rehearsal.take_down()


def prepared(rack: SimulatedRack) -> SimulatedRack:
    """The rack, hardened with somebody on its node whose account can be broken."""
    assert "gpu_host" in rack.inventory.read_text()
    if rack.ssh("n1", f"id {PERSON}", check=False).code:
        rack.ssh("n1", PREPARE)
        up(rack)
    return rack


@pytest.fixture(scope="module")
def healthy(hardened: SimulatedRack) -> Rules:
    """What OpenSCAP says of each rule before anything is broken, when all is as it should be."""
    findings, rules = verify(hardened)
    assert bad(findings) == {}
    return rules


def bad(findings: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What of a verdict is not as it should be."""
    return {n: f["seen"] for n, f in findings.items() if f["status"] in ("fail", "unknown")}


def up(rack: SimulatedRack) -> Ran:
    ran = rack.holdfast("up", rack.inventory, "--json", timeout=1800)
    assert ran.code == 0, ran.said()
    return ran


def verify(rack: SimulatedRack) -> tuple[dict[str, dict[str, Any]], Rules]:
    """Findings by check, and the result of each rule."""
    ran = rack.holdfast("verify", rack.inventory, "--json", timeout=1800)
    findings = {f["check"]: f for f in ran.document["findings"]}
    runs = Path(rack.environment["XDG_STATE_HOME"]) / "holdfast/runs"
    newest = max(
        runs.glob("*-verify-*/checks/openscap/n1/scan.json"), key=lambda p: p.stat().st_mtime
    )
    rules = json.loads(newest.read_text()).get("rules", {})
    return findings, {
        name.rpartition("_rule_")[2] or name: r["result"] for name, r in rules.items()
    }


def applied(rack: SimulatedRack) -> list[dict[str, Any]]:
    inputs = load_rack(rack.inventory)
    return controls_of(inputs.rack, inputs.policy, inputs.rack.nodes[0], EL)


def to_break(rack: SimulatedRack) -> list[Broken]:
    """Every resource of every control that the node gets."""
    known: dict[str, Control] = dict(load_policy().controls)
    found = []
    there = set(rack.ssh("n1", "rpm -qa --qf '%{NAME}\\n'").out.split())
    for control in applied(rack):
        when = control.get("when", {})
        if "package" in when and when["package"] not in there:
            continue
        if "path" in when and rack.ssh("n1", f"test -e {when['path']}", check=False).code:
            continue
        rules = known[control["id"]].rules(EL)
        for resource in control["resources"]:
            kind = resource["type"]
            script = None if kind == "package" else BREAK[kind](resource)
            found.append(Broken(control["id"], kind, resource, script, rules))
    return found


def in_the_way(every: list[Broken]) -> set[str]:
    """Files that one control writes whole: with their text their rights come back too."""
    return {one.resource["path"] for one in every if one.kind == "content"}


def is_later(one: Broken, whole: set[str]) -> bool:
    """Whether it belongs to the second round."""
    return one.kind in LATER or (one.kind == "file" and one.resource["path"] in whole)


def packages_round(rack: SimulatedRack, every: list[Broken], folder: Path) -> list[Broken]:
    """Take away and put in packages, in the rpm database alone: files and logins stay."""
    mine = [b for b in every if b.kind == "package" and b.resource["name"] not in SCANNER]
    names = {b.resource["name"]: b.resource.get("state", "present") for b in mine}
    there = set(rack.ssh("n1", "rpm -qa --qf '%{NAME}\\n'").out.split())
    gone = [n for n, state in names.items() if state == "present" and n in there]
    fresh = [n for n, state in names.items() if state == "absent" and n not in there]
    rack.ssh("n1", "cp -a $(rpm --eval '%_dbpath') /root/rpmdb")
    rack.ssh("n1", f"rpm -e --justdb --nodeps {' '.join(gone)}")
    send(rack, empty_packages(folder, fresh))
    return mine


def empty_packages(folder: Path, names: list[str]) -> list[Path]:
    """RPMs of these names without a file; what is asked is only whether the name is noticed."""
    head = "Name: broken\nVersion: 0\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n"
    parts = [f"%package -n {n}\nSummary: x\n%description -n {n}\nx\n%files -n {n}\n" for n in names]
    spec = folder / "broken.spec"
    spec.write_text(head + "%description\nx\n" + "".join(parts))
    defines = [f"_rpmdir {folder}", f"_topdir {folder}", "_rpmfilename %%{NAME}.rpm"]
    words = [word for define in defines for word in ("--define", define)]
    subprocess.run(["rpmbuild", "-bb", *words, spec], check=True, capture_output=True)
    return [folder / f"{name}.rpm" for name in names]


def send(rack: SimulatedRack, files: list[Path]) -> None:
    packed = subprocess.run(
        ["tar", "-cz", "-C", files[0].parent, *(f.name for f in files)],
        check=True,
        capture_output=True,
    ).stdout
    text = base64.b64encode(packed).decode()
    rack.ssh(
        "n1",
        f"mkdir -p /root/broken; cd /root/broken; base64 -d <<'E' | tar -xz\n{text}\nE\n"
        "rpm -i --justdb --nosignature --nodeps *.rpm",
    )


def announced(rack: SimulatedRack, round_: list[Broken]) -> None:
    """Whether a plan says so."""
    plan = json.dumps(rack.holdfast("plan", rack.inventory, "--json", timeout=900).document)
    for one in round_:
        name = one.resource["name"] if one.kind == "package" else f"{one.control}: "
        one.noticed["plan"] = name in plan


def judge(rack: SimulatedRack, round_: list[Broken], healthy: Rules) -> None:
    """Whether the two verdicts say so."""
    findings, rules = verify(rack)
    for one in round_:
        finding = findings[f"hardening.{one.kind}"]
        said = finding["seen"] if finding["status"] == "fail" else ""
        one.noticed["hardening"] = bool(re.search(rf"(?<![\w-]){one.control}(?![\w-])", said))
        passed = [rule for rule in one.rules if healthy.get(rule) == "pass"]
        if passed and one.control not in BLIND:
            one.noticed["openscap"] = any(rules.get(rule) == "fail" for rule in passed)


def table(every: list[Broken]) -> str:
    lines = []
    for one in every:
        who = [f"{name}: {'yes' if seen else 'NO'}" for name, seen in one.noticed.items()]
        how = (one.script or one.resource.get("state", "present")).replace("\n", " ")
        lines.append(
            f"{one.control:40} {one.kind:14} {', '.join(who) or 'not broken':48} {how[:110]}"
        )
    return "\n".join(lines)


def in_rounds(rack: SimulatedRack) -> tuple[list[Broken], list[Broken], list[Broken]]:
    """What there is to break: all of it, what the first round breaks and what the second does."""
    every = to_break(rack)
    whole = in_the_way(every)
    scripts = [one for one in every if one.script is not None]
    first = [one for one in scripts if not is_later(one, whole)]
    return every, first, [one for one in scripts if is_later(one, whole)]


def noticed(broken: list[Broken], capfd: pytest.CaptureFixture[str]) -> None:
    """Whether everybody noticed who covers it."""
    with capfd.disabled():
        print("\n" + table(broken))
    missed = [one for one in broken if False in one.noticed.values()]
    assert missed == [], "\n" + table(missed)


def test_first_round_what_disturbs_nothing_else(
    hardened: SimulatedRack, healthy: Rules, capfd: pytest.CaptureFixture[str]
) -> None:
    _, first, _ = in_rounds(hardened)
    hardened.ssh("n1", "\n".join(f"( {one.script}\n)" for one in first), timeout=300)
    announced(hardened, first)
    judge(hardened, first, healthy)
    up(hardened)
    noticed(first, capfd)


def test_second_round_what_others_write_and_packages(
    hardened: SimulatedRack, healthy: Rules, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    every, _, later = in_rounds(hardened)
    hardened.ssh("n1", "\n".join(str(one.script) for one in later))
    announced(hardened, later)
    # A plan stops at a package that is missing, so packages come after it.
    packages = packages_round(hardened, every, tmp_path)
    announced(hardened, packages)
    judge(hardened, [*later, *packages], healthy)
    hardened.ssh("n1", "rm -rf $(rpm --eval '%_dbpath'); mv /root/rpmdb $(rpm --eval '%_dbpath')")
    up(hardened)
    hardened.ssh("n1", AFTER)
    after, _ = verify(hardened)
    assert bad(after) == {}
    noticed([*later, *packages], capfd)

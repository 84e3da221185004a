"""Journey: OpenSCAP judges a node, before and after it was hardened, and notices what is undone.

What it judges is real: every name in the rpm database stands for files of a package that Debian or
this project made, as they were made.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.rehearsal.conftest import SimulatedRack

pytestmark = pytest.mark.rehearsal

OURS = {"redhat-release", "setup"}
"""RPMs of the base that no Debian package stands for; they say so themselves."""
FILES = "[%{=NAME}\\t%{FILEMODES:perms}\\t%{FILESIZES}\\n]"
"""A line for each file of a package, as rpm's --queryformat wants it."""


def hollow(names: set[str], lines: str) -> set[str]:
    """The packages without a single regular file that holds something."""
    held: Counter[str] = Counter()
    for line in lines.splitlines():
        name, mode, size = line.split("\t")
        held[name] += mode.startswith("-") and int(size) > 0
    return {name for name in names if not held[name]}


@pytest.fixture(scope="module")
def bare(story_rack: SimulatedRack) -> SimulatedRack:
    return story_rack


def test_every_rpm_of_a_bare_node_is_as_it_was_made(bare):
    assert bare.ssh("n1", "rpm -Va", check=False).out == ""


def test_no_name_stands_for_nothing(bare):
    names = set(bare.ssh("n1", "rpm -qa --qf '%{NAME}\\n'").out.split())
    assert len(names) > 100
    assert hollow(names, bare.ssh("n1", f"rpm -qa --qf '{FILES}'").out) == set()
    assert hollow({"a", "b"}, "a\t-rw-r--r--\t0\nb\t-rw-r--r--\t1\na\tdrwxr-xr-x\t9") == {"a"}


def test_nothing_in_the_repository_stands_for_nothing(bare):
    """What a role may install is as real as what is there from the start."""
    files = sorted(bare.rehearsal.artefacts.glob("el10/*/*.rpm"))
    assert len(files) > 50

    def asked(form: str) -> str:
        return bare.run(["rpm", "-qp", "--nosignature", "--qf", form, *map(str, files)]).out

    names = set(asked("%{NAME}\\n").split())
    assert {"aide", "openscap-scanner", "usbguard", "fapolicyd"} <= names
    assert hollow(names, asked(FILES)) == set()
    rows = asked("%{NAME}\\t%{DESCRIPTION}\\v").split("\v")
    said = dict(row.split("\t", 1) for row in rows if "\t" in row)
    assert {name for name in names if "Rebuilt from Debian's" not in said[name]} == set()


def test_every_rpm_says_where_its_files_come_from(bare):
    said = bare.ssh("n1", "rpm -qa --qf '%{NAME}\\t%{DESCRIPTION}\\v'").out
    rows = dict(row.split("\t", 1) for row in said.split("\v") if "\t" in row)
    not_debian = {name for name, words in rows.items() if "Rebuilt from Debian's" not in words}
    assert not_debian == OURS
    assert all("rehearsal node" in rows[name] for name in OURS)


def test_the_accounts_are_authselects(bare):
    said = bare.ssh("n1", "authselect check && grep -rl 'common-' /etc/pam.d /usr/lib/pam.d; true")
    assert "valid" in said.out
    assert "/pam.d/" not in said.out


@pytest.fixture(scope="module")
def hardened(story_rack: SimulatedRack) -> SimulatedRack:
    inventory = story_rack.inventory
    adopted = "[{name: gpu_host, owner: a journey, expires: 2099-01-01}]"
    text = inventory.read_text().replace(
        "holdfast_profile: none",
        f"holdfast_profile: cis_l1_server\n    holdfast_overlays: {adopted}",
    )
    inventory.write_text(text)
    ran = story_rack.holdfast("up", "--limit", "n1", "--json", inventory)
    assert ran.code == 0, ran.said()
    return story_rack


def test_a_hardened_node_is_as_its_baseline_says(hardened):
    (run,) = [path for path in hardened.runs() if (path / "verdict.json").exists()]
    findings = json.loads((run / "verdict.json").read_text())["findings"]
    judged = {f["check"]: f for f in findings if f["check"].startswith("openscap.")}
    assert set(judged) == {"openscap.scan"}
    assert "rules apply" in judged["openscap.scan"]["seen"]
    kept = {path.name for path in (run / "checks/openscap/n1").iterdir()}
    assert {"arf.xml.gz", "report.html", "results.xml.gz", "scan.json"} <= kept
    page = (run / "rules/n1.html").read_text()
    assert 'id="sshd_disable_root_login"' in page
    assert 'href="../checks/openscap/n1/report.html"' in page


BROKEN = {
    "sshd_disable_root_login": "printf 'PermitRootLogin yes\\n' >/etc/ssh/sshd_config.d/00-a.conf",
    "file_permissions_crontab": "chmod 0644 /etc/crontab",
    "banner_etc_issue_cis": "printf 'Kernel \\\\r\\n' >/etc/issue",
    "package_aide_installed": "rpm -e --nodeps aide",
}


def test_what_is_undone_by_hand_is_noticed_rule_by_rule(hardened):
    hardened.ssh("n1", "\n".join(BROKEN.values()))
    # None of these rules reads every file, and the full scan is of a moment ago.
    words = ("verify", "--scan", "quick", "--limit", "n1", "--json", hardened.inventory)
    ran = hardened.holdfast(*words)
    assert ran.code == 1, ran.said()
    failed = {f["check"] for f in ran.document["findings"] if f["status"] == "fail"}
    assert {f"openscap.{rule}" for rule in BROKEN} <= failed
    (last,) = [f for f in ran.document["findings"] if f["check"] == "openscap.last_full_scan"]
    assert last["status"] == "pass"


def test_a_node_without_a_scanner_proves_nothing(hardened):
    hardened.ssh("n1", "rpm -e --nodeps openscap-scanner")
    ran = hardened.holdfast("verify", "--limit", "n1", "--json", hardened.inventory)
    assert ran.code == 1, ran.said()
    (scan,) = [f for f in ran.document["findings"] if f["check"].startswith("openscap.")]
    assert scan["status"] == "unknown"
    assert "oscap is not installed" in scan["seen"]

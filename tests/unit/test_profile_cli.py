"""`holdfast profile`: what it prints, for people and for programs."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from provision.cli.main import main
from provision.policy import recorded
from provision.policy.datastream import RULE
from tests.unit.policy_support import datastream

ROOT = Path(__file__).resolve().parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINVjUhXnfFQ+/h3IrFCJ7TbKTwCwSOhf+6+yUgvGlS55"
INVENTORY = f"""\
all:
  vars:
    holdfast_schema: 1
    holdfast_rack: lab-a
    holdfast_stack: {ROOT}/tests/data/example/stack.lock.json
    holdfast_profile: cis_l1_server
    holdfast_controls: [controls]
    holdfast_overlays:
      - {{name: gpu_host, owner: me@example.org, expires: 2099-06-30, features: [several-rails]}}
    holdfast_waivers:
      - control: sshd-no-root-login
        reason: Console servers know no other user.
        owner: me@example.org
        expires: 2099-06-30
  hosts:
    n1:
      ansible_host: 192.0.2.11
      holdfast_host_keys: ["{KEY}"]
      holdfast_hardware: {{gpus: {{model: NVIDIA H100, pci_id: "10de:2330", count: 8}}}}
    n2:
      ansible_host: 192.0.2.12
      holdfast_kind: container
      holdfast_host_keys: ["{KEY[:-8]}GvGlS999"]
"""
SITE = """\
schema: 1
controls:
  - id: site-swappiness
    title: Memory of models stays in memory
    rationale: What is swapped out lies on the disk.
    levels: {el10: [cis_l1_server]}
    resources: [{type: sysctl, name: vm.swappiness, value: 10}]
"""


@pytest.fixture
def inventory(tmp_path):
    (tmp_path / "controls").mkdir()
    (tmp_path / "controls" / "site.yml").write_text(SITE)
    path = tmp_path / "inventory.yml"
    path.write_text(INVENTORY)
    return str(path)


@pytest.fixture
def stream(tmp_path):
    path = tmp_path / "ds.xml"
    rules = dict.fromkeys(("sshd_disable_root_login", "no_such_rule_at_all"), "")
    text = datastream(rules)
    profile = "xccdf_org.ssgproject.content_profile_cis_server_l1"
    path.write_text(text.replace("xccdf_a_profile_basic", profile))
    return str(path)


@pytest.fixture
def run(capsys):
    def go(*words: str) -> tuple[int, str, str]:
        code = main(["profile", *words])
        out = capsys.readouterr()
        assert all(len(line) <= 80 for line in out.out.splitlines()) or "<?xml" in out.out
        return code, out.out, out.err

    return go


@pytest.fixture
def document(capsys):
    def go(*words: str) -> dict:
        code = main(["profile", *words, "--json"])
        out = capsys.readouterr().out
        assert code == 0, out
        found = json.loads(out)
        assert found["schema"].startswith("holdfast.")
        return found

    return go


def test_list(run, document):
    code, out, _ = run("list")
    assert code == 0
    for word in ("cis_l1_server", "cis_l2_server", "stig", "gpu_host", "el9", "el10"):
        assert word in out
    found = document("list")
    assert {p["id"] for p in found["profiles"]} == {"cis_l1_server", "cis_l2_server", "stig"}
    assert all(p["controls"]["el10"] for p in found["profiles"])
    assert found["overlays"][0]["deviations"] >= 10


def test_show_says_what_becomes_of_each_control(run, document):
    code, out, _ = run("show", "cis_l1_server")
    assert code == 0
    assert "applied, phase access" in out
    assert "not automated" in out
    found = document("show", "cis_l1_server")
    assert (found["release"], found["kind"]) == ("el10", "metal")
    states = ("applied", "provided", "waived", "not_applicable", "not_automated")
    ids = [item["id"] for state in states for item in found[state]]
    assert len(ids) == len(set(ids))
    assert f"{len(ids)}: {len(found['applied'])} applied" in out
    assert all(name in out for name in ids)


def test_show_for_another_release_and_kind(document):
    found = document("show", "stig", "--release", "9", "--kind", "container")
    assert (found["release"], found["kind"]) == ("el9", "container")
    assert found["not_applicable"]


def test_show_with_an_inventory(document, inventory):
    found = document("show", "cis_l1_server", "--inventory", inventory, "--node", "n1")
    assert found["traits"] == ["containers", "gpu"]
    assert "site-swappiness" in [c["id"] for c in found["applied"]]
    assert [w["id"] for w in found["waived"]] == ["sshd-no-root-login"]
    by_id = {c["id"]: c for c in found["applied"]}
    assert by_id["reverse-path-filter"]["exemption"]["owner"] == "me@example.org"
    assert by_id["tmp-mount-options"]["extended_by"][0]["source"] == "gpu_host"
    container = document("show", "cis_l1_server", "--inventory", inventory, "--node", "n2")
    assert (container["kind"], container["traits"]) == ("container", ["containers"])


def test_show_names_owner_and_last_day(run, inventory):
    _, out, _ = run("show", "cis_l1_server", "--inventory", inventory)
    text = " ".join(out.split())
    assert "Console servers know no other user. Owner me@example.org, until 2099-06-30." in text
    assert "applied otherwise" in out


@pytest.fixture
def runs(monkeypatch):
    """The recorded runs, whatever was recorded up to now."""
    found: list[recorded.Recorded] = []
    monkeypatch.setattr("provision.policy.recorded.find", lambda *_: tuple(found))
    return found


def one_run(*rows):
    day = date(2026, 11, 23)
    place = ("cis_l1_server", "el10", "container", "ds.xml", "1", day, "A node")
    return recorded.Recorded(*place, tuple(recorded.Row(*row) for row in rows))


def test_show_with_coverage(run, document, stream, runs):
    runs.append(one_run(("sshd_disable_root_login", "fail", "pass"), ("x", "fail", "fail", "why")))
    code, out, _ = run("show", "cis_l1_server", "--coverage", stream)
    assert code == 0
    assert "implemented     1 of 2 (50.0 %)" in out
    assert "not covered     1 of 2 (50.0 %)" in out
    assert "no control answers it" in out
    found = document("show", "cis_l1_server", "--coverage", stream)["coverage"]
    assert "these pass once it is applied\ncis_l1_server  el10  container         1 of 2" in out
    assert [(one["turned"], one["failed"]) for one in found["shares"]] == [(1, 2)]
    assert found["total"] == 2
    assert found["counts"]["implemented"] == 1
    assert found["rules"][0] == {
        "rule": "sshd_disable_root_login",
        "state": "implemented",
        "control": "sshd-no-root-login",
        "why": None,
        "checked": True,
    }
    assert document("show", "cis_l1_server")["coverage"] is None


def test_what_no_recorded_run_has_shown_is_not_called_implemented(run, stream, runs):
    _, out, _ = run("show", "cis_l1_server", "--coverage", stream)
    assert "implemented     0 of 2 (0.0 %)" in out
    assert "not seen        1 of 2 (50.0 %)" in out


def test_show_an_overlay(run, document):
    code, out, _ = run("show", "gpu_host")
    assert code == 0
    assert "module-overlay" in out
    assert "Reviewed for" in " ".join(out.split())
    assert document("show", "gpu_host")["deviations"]


def test_explain(run, document):
    code, out, _ = run("explain", "sshd-no-root-login")
    assert code == 0
    assert "sshd PermitRootLogin no" in out
    assert "can be undone" in out
    assert "profiles/controls/sshd.yml:" in out
    (control,) = document("explain", "sshd-no-root-login")["controls"]
    assert control["resources"][0]["option"] == "PermitRootLogin"
    assert control["line"] > 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("audit-rules-fixed", "The file is put back at once, but the kernel"),
        ("aide-installed", "Packages that came or went stay so"),
        ("sshd-no-root-login", None),
    ],
)
def test_explain_says_beforehand_what_cannot_be_undone(run, document, name, why):
    _, out, _ = run("explain", name)
    (control,) = document("explain", name)["controls"]
    if why is None:
        assert "can be undone" in out
        assert control["cannot_be_undone"] is None
    else:
        assert f"cannot be undone: {why}" in " ".join(out.split())
        assert why in control["cannot_be_undone"]


def test_explain_says_which_overlay_deviates(run):
    _, out, _ = run("explain", "no-forwarding")
    assert "in gpu_host" in out


@pytest.mark.parametrize("name", ["sshd_disable_root_login", RULE + "sshd_disable_root_login"])
def test_explain_takes_a_rule_of_scap(document, name):
    (control,) = document("explain", name)["controls"]
    assert control["id"] == "sshd-no-root-login"


def test_explain_a_control_of_the_site(run, inventory):
    code, out, _ = run("explain", "site-swappiness", "--inventory", inventory)
    assert code == 0
    assert "vm.swappiness = 10" in out
    assert "site.yml:3:5" in "".join(out.split())


def test_tailoring(run, document, inventory):
    code, out, _ = run("tailoring", "cis_l1_server", "--inventory", inventory, "--node", "n1")
    assert code == 0
    root = ET.fromstring(out)
    ns = "{http://checklists.nist.gov/xccdf/1.2}"
    gone = {e.get("idref").removeprefix(RULE) for e in root.iter(f"{ns}select")}
    assert "sshd_disable_root_login" in gone
    assert "sysctl_net_ipv4_conf_all_rp_filter" in gone
    found = document("tailoring", "cis_l1_server", "--inventory", inventory, "--node", "n1")
    assert {rule.removeprefix(RULE) for rule in found["unselected"]} == gone
    assert ET.fromstring(found["tailoring"]) is not None
    assert document("tailoring", "cis_l1_server", "--release", "9")["unselected"] == []


def test_tailoring_for_a_data_stream(document, inventory, stream):
    words = ("tailoring", "cis_l1_server", "--inventory", inventory, "--datastream", stream)
    assert document(*words)["unselected"] == [RULE + "sshd_disable_root_login"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("show", "cis_l1_servr"), "did you mean 'cis_l1_server'?"),
        (("show", "zzz"), "see `holdfast profile list`"),
        (("show", "gpu_host", "--coverage", "x"), "only a profile has a coverage"),
        (("explain", "sshd-no-root-logn"), "did you mean 'sshd-no-root-login'?"),
        (("explain", "zzz"), "see `holdfast profile show PROFILE`"),
        (("tailoring", "gpu_hos"), "there is no profile"),
        (("show", "stig", "--node", "n1"), "add --inventory"),
        (("show", "stig", "--release", "8"), "there is no '8' here"),
        (("show", "stig", "--coverage", "/nowhere"), "cannot be read"),
        (("list", "--inventory", "/nowhere"), "this file does not exist"),
        ((), "required"),
    ],
)
def test_mistakes_end_with_exit_code_2(run, words, text):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert text in err


def test_a_node_that_the_inventory_does_not_have(run, inventory):
    code, _, err = run("show", "stig", "--inventory", inventory, "--node", "n3")
    assert code == 2
    assert "valid: n1, n2" in err


def test_a_mistake_in_a_sites_controls_has_its_place(run, inventory, tmp_path):
    (tmp_path / "controls" / "site.yml").write_text(SITE.replace("vm.swap", "vm. swap"))
    code, _, err = run("list", "--inventory", inventory)
    assert code == 2
    assert f"{tmp_path}/controls/site.yml:7:38: " in err


def test_every_page_of_every_control_fits(run, document):
    for profile in ("cis_l1_server", "cis_l2_server", "stig"):
        for release in ("10", "9"):
            assert run("show", profile, "--release", release)[0] == 0


def test_every_explanation_fits(capsys):
    from provision.policy.load import load_policy
    from provision.policy.pages import explained

    policy = load_policy()
    for control in policy.controls.values():
        # A path or a rule's id that is longer than a line stays whole.
        long = [x for x in explained(policy, control) if len(x) > 80 and " " in x.strip()]
        assert long == [], control.id

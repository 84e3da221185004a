"""`holdfast profile baseline`: a recorded scan becomes what is accepted, with a reason each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from provision.checks import openscap, scap_results
from provision.checks.openscap import Scanned
from provision.cli.main import main
from provision.core.paths import state_home
from provision.policy import baseline

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "tests/data/openscap/untouched-el10-cis_server_l1.xml"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINVjUhXnfFQ+/h3IrFCJ7TbKTwCwSOhf+6+yUgvGlS55"
INVENTORY = f"""\
all:
  vars:
    holdfast_schema: 1
    holdfast_rack: lab-a
    holdfast_stack: {ROOT}/tests/data/example/stack.lock.json
    holdfast_profile: cis_l1_server
  hosts:
    n1:
      ansible_host: 192.0.2.11
      holdfast_kind: container
      holdfast_host_keys: ["{KEY}"]
"""


class Command:
    """The command, on a run whose scan is the recorded one."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.inventory = folder / "inventory.yml"
        self.inventory.write_text(INVENTORY)
        self.scan = scap_results.read(RECORDED)
        self.keep("n1")

    @property
    def whole(self) -> dict[str, str]:
        """A reason for each rule that fails."""
        rules = self.scan.selected.values()
        return {r.rule: "it is untouched" for r in rules if r.result == "fail"}

    def keep(self, node: str, release: str = "10") -> Path:
        found = Scanned(node, self.scan, content="ssg-rhel10-ds.xml", chosen="x", release=release)
        place = state_home() / "runs/R1/checks/openscap" / node
        place.mkdir(parents=True, exist_ok=True)
        (place / "scan.json").write_text(json.dumps(openscap.to_json(found)))
        return place / "scan.json"

    def __call__(self, *more: str, reasons: object = None, run: str = "R1") -> int:
        words = ["--run", run, "--into", str(self.folder / "into"), *more]
        if reasons is not None:
            (self.folder / "reasons.yml").write_text(yaml.safe_dump(reasons))
            words += ["--reasons", str(self.folder / "reasons.yml")]
        self.capsys.readouterr()
        code = main(["profile", "baseline", str(self.inventory), *words])
        said = self.capsys.readouterr()
        self.out, self.err = said.out, said.err
        return code


@pytest.fixture
def command(tmp_path, capsys):
    return Command(tmp_path, capsys)


def test_a_scan_becomes_a_baseline(command):
    assert command(reasons=command.whole) == 0
    path = command.folder / "into/cis_l1_server-el10-container.yml"
    assert command.out.startswith(f"{path}: 239 rules apply: 141 pass, 98 are accepted")
    made = baseline.read(path)
    assert made.content.profile == "xccdf_org.ssgproject.content_profile_cis_server_l1"
    assert (made.floor, made.recorded.isoformat()) == (239, "2026-11-23")


def test_the_reasons_of_the_policy_need_not_be_given(command):
    given = command.whole
    del given["selinux_not_disabled"], given["ensure_root_password_configured"]
    assert command(reasons=given) == 0
    made = baseline.read(command.folder / "into/cis_l1_server-el10-container.yml")
    assert "container" in made.accepted["selinux_not_disabled"].reason


def test_reasons_that_were_given_once_stay(command):
    assert command(reasons=command.whole) == 0
    assert command() == 0
    made = baseline.read(command.folder / "into/cis_l1_server-el10-container.yml")
    assert made.accepted["sshd_disable_root_login"].reason == "it is untouched"


def test_nothing_is_written_without_every_reason(command):
    given = command.whole
    del given["sshd_disable_root_login"]
    assert command(reasons=given) == 1
    assert "sshd_disable_root_login is fail, and there is no reason for it" in command.err
    assert not (command.folder / "into").exists()


def test_as_a_document(command):
    assert command("--json", reasons=command.whole) == 0
    told = json.loads(command.out)
    assert told["schema"] == "holdfast.baseline/1"
    assert (told["pass"], told["accepted"], told["notapplicable"]) == (141, 98, 41)


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        ({"sshd_disable_root_logon": "x"}, "sshd_disable_root_login"),
        ({"sshd_disable_root_login": ""}, "a reason is words"),
        ({"sshd_disable_root_login": 7}, "a reason is words"),
        (["sshd_disable_root_login"], "a mapping of rules to reasons"),
    ],
)
def test_reasons_with_mistakes_are_refused(command, reasons, words):
    assert command(reasons=reasons) == 2
    assert words in command.err
    assert "reasons.yml:1" in command.err


def test_a_run_without_a_scan_is_bad_input(command):
    assert command(run="R2") == 2
    assert "OpenSCAP judged nothing in this run" in command.err


def test_one_of_several_nodes_has_to_be_named(command):
    command.keep("n2")
    assert command(reasons=command.whole) == 2
    assert "--node n1" in command.err
    assert command("--node", "n1", reasons=command.whole) == 0
    assert command("--node", "n11", reasons=command.whole) == 2
    assert command("--node", "n2", reasons=command.whole) == 2
    assert "declares no profile for n2" in command.err


def test_a_record_that_is_damaged_is_bad_input(command):
    command.keep("n1").write_text("{}")
    assert command() == 2
    assert "it cannot be read" in command.err


def test_a_release_that_the_profile_does_not_know_is_bad_input(command):
    command.keep("n1", release="8")
    assert command(reasons=command.whole) == 2
    assert "of release 8" in command.err


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("cis_l1_server-el10-container.yml", "result: failed", "'failed'"),
        ("other.yml", "result: fail", "it has to be cis_l1_server-el10-container.yml"),
        (None, "", "this folder holds no baseline"),
    ],
)
def test_a_mistake_in_a_sites_own_baselines_is_one_of_its_inventory(command, name, change, words):
    assert command(reasons=command.whole) == 0
    made = command.folder / "into/cis_l1_server-el10-container.yml"
    text = made.read_text().replace("result: fail", change, 1)
    made.unlink()
    if name is not None:
        (made.parent / name).write_text(text)
    declared = "holdfast_profile: cis_l1_server\n    holdfast_baselines: [into]"
    command.inventory.write_text(INVENTORY.replace("holdfast_profile: cis_l1_server", declared))
    assert main(["inventory", "check", str(command.inventory)]) == 2
    said = command.capsys.readouterr().err
    assert words in said
    assert "into" in said


def test_a_folder_of_baselines_that_is_not_there_is_a_mistake(command):
    declared = "holdfast_profile: cis_l1_server\n    holdfast_baselines: [nowhere]"
    command.inventory.write_text(INVENTORY.replace("holdfast_profile: cis_l1_server", declared))
    assert main(["inventory", "check", str(command.inventory)]) == 2
    said = command.capsys.readouterr().err
    assert "inventory.yml:7:" in said
    assert "there is no folder" in said

"""Roles: every option is described, no address and no version stands in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.unit.roles_support import COLLECTION, ROOT

ROLES = sorted(p.parent.parent.name for p in (ROOT / "roles").glob("*/tasks/main.yml"))
FILES = sorted(p for p in (ROOT / "roles").rglob("*") if p.is_file() and p.suffix != ".md")
PLAYBOOKS = sorted((COLLECTION / "playbooks").rglob("*.yml"))
ADDRESS = re.compile(r"(?:https?|ftp)://(?P<host>[A-Za-z0-9.{\[-]+)|\b\d{1,3}(?:\.\d{1,3}){3}\b")
OWN = {"127.0.0.1", "0.0.0.0"}
VERSION = re.compile(r"\b\d+\.\d+\.\d+\b|-\d+:\d[\w.]*-\d|\.el\d+\b|sha256:[0-9a-f]{8}")

NO_SCENARIO = {"dcgm": "a rehearsal has no DCGM"}


def load(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options(role: str) -> dict:
    return load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]


def test_the_roles_of_this_release_are_there():
    expected = {
        "preflight",
        "repositories",
        "base",
        "gpu_driver",
        "gpu_fabric",
        "gpu_mig",
        "cuda",
        "dcgm",
        "time",
        "container_runtime",
        "hardening",
        "model_store",
        "inference",
        "health_audit",
        "access",
        "audit_trail",
    }
    assert expected <= set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_are_the_same_interface(role):
    described = options(role)
    defaults = load(ROOT / "roles" / role / "defaults/main.yml") or {}
    optional = {name: spec for name, spec in described.items() if not spec.get("required")}
    assert {name: spec["default"] for name, spec in optional.items()} == defaults


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_named_after_its_role_and_described(role):
    for name, spec in options(role).items():
        assert name.startswith(f"{role}_"), name
        assert spec["description"], name
        assert spec["type"], name


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_an_offline_mode_a_readme_and_a_scenario(role):
    assert options(role)[f"{role}_offline"]["default"] is False
    assert (ROOT / "roles" / role / "README.md").stat().st_size > 100
    assert (ROOT / "tests/molecule" / role / "molecule.yml").is_file() or role in NO_SCENARIO


@pytest.mark.parametrize("role", ROLES)
def test_names_that_are_no_option_are_private(role):
    folder = ROOT / "roles" / role
    private = load(folder / "vars/main.yml") if (folder / "vars/main.yml").exists() else {}
    tasks = load(folder / "tasks/main.yml")
    names = [*private, *(task["register"] for task in tasks if "register" in task)]
    assert all(name.startswith(f"__{role}_") for name in names), names


def addresses(text: str) -> list[str]:
    """Every address in `text` that is not the node's own."""
    hosts = (m.group("host") or m.group(0) for m in ADDRESS.finditer(text))
    return [host for host in hosts if host not in OWN]


def versions(text: str) -> list[str]:
    """Every version and digest in `text`."""
    for address in OWN:
        text = text.replace(address, "")
    return VERSION.findall(text)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_address_and_no_version_stands_in_a_role(path):
    text = path.read_text(encoding="utf-8")
    assert addresses(text) == []
    assert versions(text) == []


def test_planted_addresses_and_versions_are_found():
    assert addresses("url: https://mirror.example/el10") == ["mirror.example"]
    assert addresses("server 192.0.2.1 iburst") == ["192.0.2.1"]
    assert addresses("url: http://[2001:db8::1]/x")
    assert addresses("listen: 127.0.0.1:8000") == []
    assert versions("podman-5:5.4.0-1.el10")
    assert versions("sha256:" + "a" * 64)
    assert versions("version 1.2.3")
    assert not versions("listen: 127.0.0.1:8000")


@pytest.mark.parametrize("path", FILES + PLAYBOOKS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_role_switches_a_check_of_signatures_off(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"gpgcheck\s*[=:]\s*(0|false|no)|disable_gpg_check|nogpg", text)
    assert not re.search(r"validate_certs\s*:\s*(false|no)|SecurityLabelDisable|Privileged", text)


def test_the_playbook_has_one_play_for_each_phase_in_order():
    plays = load(COLLECTION / "playbooks/site.yml")
    # The engine's word for a phase is the play's name in lower case.
    names = [play["name"].lower().replace(" ", "_") for play in plays]
    assert names == [
        "repositories",
        "base",
        "gpu_driver",
        "gpu_fabric",
        "gpu_mig",
        "cuda",
        "dcgm",
        "time",
        "container_runtime",
        "hardening",
        "model_store",
        "inference",
        "health_audit",
        "access",
        "audit_trail",
    ]
    for name, play in zip(names, plays, strict=True):
        assert role_of(play) == name
        assert play["gather_facts"] is False
        assert play["any_errors_fatal"] is False


def role_of(play: dict) -> str:
    """The one role of a play; some are included, so that one task skips them."""
    if "roles" in play:
        return next(entry["role"] for entry in play["roles"])
    task = play["tasks"][0]
    assert len(play["tasks"]) == 1
    ((name, role),) = task["vars"].items()
    assert {
        "profile_role": "holdfast_profile | default('none') != 'none'",
        "gpu_role": "holdfast_hardware.gpus is defined",
        "audit_role": "holdfast_hardware.gpus is defined"
        " or (holdfast_audit | default({})).enabled is defined",
    }[name] == task["when"]
    return role


def tasks_of(play: dict) -> int:
    """How many tasks a node sees; Ansible adds one for the argument specs."""
    own = 1 + len(load(ROOT / "roles" / role_of(play) / "tasks/main.yml"))
    included = 0
    if "tasks" in play:
        file = play["tasks"][0]["ansible.builtin.include_tasks"]["file"]
        included = 1 + len(load(COLLECTION / "playbooks" / file))
    return own + included + len(play.get("pre_tasks", []))


def included(play: dict) -> str:
    """The file that a play includes its role from; empty where it has it as its own."""
    return play["tasks"][0]["ansible.builtin.include_tasks"]["file"] if "tasks" in play else ""


def test_a_second_run_costs_at_most_42_tasks_and_a_profile_16_more():
    plays = load(COLLECTION / "playbooks/site.yml")
    profile = [play for play in plays if included(play) == "tasks/profile.yml"]
    gpus = [play for play in plays if included(play) == "tasks/gpu.yml"]
    audit = [play for play in plays if included(play) == "tasks/audit.yml"]
    own = [play for play in plays if "roles" in play]
    assert len(profile) + len(gpus) + len(audit) + len(own) == len(plays)
    # Each play that is not for a node is one task that is skipped there.
    assert sum(map(tasks_of, own)) + len(profile) + len(gpus) + len(audit) <= 42
    assert sum(map(tasks_of, profile)) - len(profile) <= 16
    assert sum(map(tasks_of, gpus)) - len(gpus) <= 36


SECRETS = re.compile(r"inference_(api_key|tls_key)\b")


def test_secrets_reach_only_tasks_that_hide_them():
    hidden = 0
    for path in FILES:
        if "inference" not in path.parts or path.name == "argument_specs.yml":
            continue
        if path.name != "main.yml" or path.parent.name != "tasks":
            assert not SECRETS.search(path.read_text(encoding="utf-8")), path
            continue
        for task in load(path):
            if SECRETS.search(yaml.safe_dump(task)):
                assert task["no_log"] is True, task["name"]
                hidden += 1
    assert hidden


PACKAGES = ROOT / "tests/data/gpu"


def rows(name: str) -> dict[str, str]:
    """First and last column of a table."""
    lines = (PACKAGES / name).read_text().splitlines()
    cells = [line.split("\t") for line in lines if not line.startswith("#")]
    return {row[0]: row[-1] for row in cells}


def packages_of_roles() -> set[str]:
    """Names of packages that stand in roles, in modules for GPUs, and in what judges the lock."""
    from provision.supply.gpu.providers import SUPPLIERS
    from provision.supply.gpu.unit import BUILDS, KERNELS

    family = options("gpu_driver")["gpu_driver_kernel_family"]["default"]
    names = {*family, *BUILDS, *KERNELS[:3], *options("base")["base_reboot_packages"]["default"]}
    names |= {s.packages for s in SUPPLIERS.values() if re.fullmatch(r"[a-z0-9-]+", s.packages)}
    text = "".join(path.read_text() for path in FILES if path.suffix == ".yml")
    modules = "".join(p.read_text() for p in (COLLECTION / "plugins/modules").glob("*.py"))
    named = r"\b(?:python3-dnf-plugin|nvidia-container-toolkit|datacenter-gpu|cuda-toolkit)[\w-]*"
    return names | set(re.findall(named, text + modules)) | set(re.findall(r"libnccl\b", text))


def test_every_package_that_a_role_names_is_els_own_or_has_a_repository():
    ours, others = rows("el9-packages.tsv"), rows("other-packages.tsv")
    names = packages_of_roles()
    assert {"python3-dnf-plugin-versionlock", "dkms", "kernel-core", "libnccl"} <= names
    assert sorted(names - set(ours) - set(others)) == []
    assert sorted(set(ours) & set(others)) == []
    assert all(others.values())

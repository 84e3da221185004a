"""What a machine is declared to do without: nothing sets or judges it, and nothing but that."""

from __future__ import annotations

import dataclasses
import json

import pytest

from provision.checks.declaration import expected_of
from provision.checks.declare import ATTRIBUTE
from provision.checks.hardened import system
from provision.checks.hardened.judging import judge
from provision.checks.hardened.outcome import NotHere
from provision.checks.hardened.registry import KINDS
from provision.checks.verify import _module, suite_files
from provision.engine.controls import controls_of
from provision.policy.judge import target_of
from provision.policy.load import load_policy
from provision.policy.model import Adoption
from provision.policy.resolve import LACKED, Selection, Target, objections, resolve
from provision.rack.model import Lacks, Waiver
from provision.rehearsal import machine
from tests.unit import checks_support
from tests.unit.hardening_fixtures import looker

PROFILES = ("cis_l1_server", "cis_l2_server", "stig")
WHY = machine.lacks("compat")


@pytest.fixture(scope="module")
def policy():
    return load_policy()


@pytest.fixture
def checks():
    """The checks that ship, by their ids."""
    found = {}
    for file in suite_files():
        for one in vars(_module(file)).values():
            if hasattr(one, ATTRIBUTE):
                declared = getattr(one, ATTRIBUTE)
                found[declared.id] = declared
    return found


def expected(tmp_path, *, kind="vm", lacks=None, controls=None, profile="stig"):
    node = checks_support.node(kind=kind, lacks=Lacks(**(lacks or {})))
    rack = checks_support.rack(tmp_path, node).model_copy(update={"profile": profile})
    return expected_of(rack, checks_support.stack(), node, "00", controls)


def types(rendered) -> set[str]:
    return {resource["type"] for control in rendered for resource in control["resources"]}


def test_everything_that_can_be_lacked_is_known_to_the_policy():
    assert set(LACKED) == set(Lacks.model_fields)
    assert {needs for _, needs in LACKED.values()} <= set(KINDS)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("release", ["el9", "el10"])
def test_module_and_checks_get_no_resource_of_what_is_lacked(policy, tmp_path, profile, release):
    for lacks, wanted in (({}, {"selinux", "kernel_argument"}), (WHY, set())):
        node = checks_support.node(kind="vm", lacks=Lacks(**lacks))
        rack = checks_support.rack(tmp_path, node).model_copy(update={"profile": profile})
        rendered = controls_of(rack, policy, node, release)
        assert types(rendered) & {"selinux", "kernel_argument"} == wanted
        assert all(control["resources"] for control in rendered)


def test_a_control_that_needs_it_means_nothing_and_says_why(policy):
    target = Target("el10", "vm", lacks=tuple(WHY.items()))
    found = resolve(policy, Selection("stig"), target)
    reasons = {item.control.id: item.reason for item in found.not_applicable}
    assert reasons["selinux-enforcing"].endswith("has no SELinux: " + WHY["selinux"])
    assert reasons["boot-page-poison"].endswith("has no boot loader: " + WHY["boot_loader"])
    # What remains of a control is applied.
    (mixed,) = (a for a in found.applied if a.control.id == "boot-not-interactive")
    assert {resource.type for resource in mixed.resources} == {"setting"}


def test_what_a_person_has_to_do_is_still_for_a_person(policy):
    found = resolve(policy, Selection("stig"), Target("el10", "vm", lacks=tuple(WHY.items())))
    assert "bootloader-password" in {control.id for control in found.not_automated}


def test_only_what_is_declared_is_lacked(policy):
    bare = resolve(policy, Selection("stig"), Target("el10", "vm"))
    assert {"selinux-enforcing", "boot-page-poison"} <= {a.control.id for a in bare.applied}
    one = Target("el10", "vm", lacks=(("selinux", WHY["selinux"]),))
    found = resolve(policy, Selection("stig"), one)
    assert "boot-page-poison" in {a.control.id for a in found.applied}
    assert "selinux-enforcing" not in {a.control.id for a in found.applied}


def test_a_waiver_of_what_is_lacked_matches_nothing(policy):
    waiver = Waiver.model_validate(
        {"control": "selinux-enforcing", "reason": "not here now", "owner": "o",
         "expires": "2099-01-01"}, strict=False,
    )  # fmt: skip
    asked = Selection("stig", (), (waiver,))
    target = Target("el10", "vm", lacks=tuple(WHY.items()))
    (said,) = objections(policy, asked, [target])
    assert (said.code, "lack what it is about" in said.message) == ("no-effect", True)
    assert objections(policy, asked, [target, Target("el10", "metal")]) == []


def test_an_overlay_has_its_effect_on_a_machine_that_lacks_something(policy):
    adoption = Adoption.model_validate(
        {"name": "gpu_host", "owner": "o", "expires": "2099-01-01"}, strict=False
    )
    node = checks_support.node(kind="vm", lacks=Lacks(**WHY))
    for profile in PROFILES:
        for release in ("el9", "el10"):
            target = target_of(node, release)
            assert objections(policy, Selection(profile, (adoption,)), [target]) == []


@pytest.mark.parametrize("check", ["base.selinux", "inference.selinux"])
def test_selinux_is_judged_unless_the_inventory_says_that_it_is_not_there(tmp_path, checks, check):
    applies = checks[check].applies
    assert WHY["selinux"] in applies(expected(tmp_path, lacks=WHY))
    for kind in ("vm", "metal"):
        assert applies(expected(tmp_path, kind=kind)) is None
    only = {"boot_loader": WHY["boot_loader"]}
    assert applies(expected(tmp_path, lacks=only)) is None


@pytest.mark.parametrize("kind", ["kernel_argument", "selinux"])
def test_the_check_of_a_type_is_left_out_only_where_it_is_declared(tmp_path, policy, checks, kind):
    for lacks in ({}, WHY):
        node = checks_support.node(kind="vm", lacks=Lacks(**lacks))
        rack = checks_support.rack(tmp_path, node).model_copy(update={"profile": "stig"})
        files = {}
        for release in ("el9", "el10"):
            place = tmp_path / f"{release}-{kind}-{len(lacks)}.json"
            place.write_text(json.dumps(controls_of(rack, policy, node, release)))
            files[release] = str(place)
        said = checks[f"hardening.{kind}"].applies(expected(tmp_path, lacks=lacks, controls=files))
        assert (said is None) == (not lacks)
        assert not lacks or said.endswith("on a node of kind vm without selinux and boot loader")


def test_a_node_whose_boot_loader_is_gone_fails(policy):
    """No grubby and no boot entries on metal: what was seen decides nothing but the verdict."""
    rendered = resolve(policy, Selection("stig"), Target("el10", "metal")).rendered()
    look = looker({
        ("hardening", "kernel_arguments"): {"running": [], "entries": {}},
        ("packages", "installed"): [{"name": "rpm"}],
    })  # fmt: skip
    found = judge("kernel_argument", tuple(rendered), KINDS["kernel_argument"].judge, look)
    assert "audit-at-boot" in found.wrong or "boot-page-poison" in found.wrong
    assert not found.apart
    assert not found.unseen


def test_a_node_without_the_policy_fails():
    look = looker({
        ("hardening", "selinux"): {"state": "enforcing", "policy": "mls", "installed": ["mls"]}
    })  # fmt: skip
    try:
        said = system.selinux({"policy": "targeted"}, look)
    except NotHere:
        pytest.fail("what is not installed means nothing, on a node that has to have it")
    assert said == ["SELinux's policy targeted is not installed"]


@pytest.mark.parametrize("base", ["compat", "el"])
def test_every_machine_of_a_rehearsal_says_what_it_lacks(base):
    assert ("selinux" in machine.lacks(base)) == (base == "compat")
    assert "boot_loader" in machine.lacks(base)
    assert Lacks(**machine.lacks(base)).reasons == machine.lacks(base)


def test_what_machines_made_of_debian_s_packages_waive_is_theirs_alone(policy):
    for profile, waived in machine.WAIVED.items():
        waivers = tuple(
            Waiver.model_validate(
                {"control": name, "reason": why, "owner": "o", "expires": "2099-01-01"},
                strict=False,
            )
            for name, why in waived.items()
        )
        for release in ("el9", "el10"):
            vm = Target(release, "vm", lacks=tuple(WHY.items()))
            assert objections(policy, Selection(profile, (), waivers), [vm]) == []
            container = [Target(release, "container")]
            said = objections(policy, Selection(profile, (), waivers), container)
            assert {one.code for one in said} == {"no-effect"}
            assert len(said) == len(waived)


def test_targets_that_lack_different_things_are_different():
    plain = Target("el10", "vm")
    assert dataclasses.replace(plain, lacks=(("selinux", "x" * 10),)) != plain

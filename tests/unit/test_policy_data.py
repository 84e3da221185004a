"""What ships: every control, profile and overlay, held to the rules of the house."""

from __future__ import annotations

from datetime import date

import pytest

from provision.policy.judge import TRAITS
from provision.policy.load import load_policy
from provision.policy.model import KINDS, RELEASES, Adoption, References
from provision.policy.resolve import (
    Selection,
    all_targets,
    idle_deviations,
    objections,
    resolve,
)

DAY = date(2026, 11, 23)
STIG = {"el9": "RHEL-09-", "el10": "RHEL-10-"}


@pytest.fixture(scope="module")
def ours():
    return load_policy()


def adopt(overlay) -> Adoption:
    features = tuple(trait.id for trait in overlay.traits if not trait.derived)
    return Adoption(name=overlay.id, owner="me", expires=DAY, features=features)


def test_nothing_is_wrong_with_what_ships(ours):
    # Loading has looked for clashes, for rules that two controls answer, and for unknown names.
    assert set(ours.profiles) == {"cis_l1_server", "cis_l2_server", "stig"}
    assert set(ours.overlays) == {"gpu_host"}
    for profile in ours.profiles.values():
        assert set(profile.benchmark) == set(RELEASES)
        for release in RELEASES:
            assert any(profile.id in c.profiles(release) for c in ours.controls.values())


STRICTER = {"selinux-not-disabled": "selinux-enforcing"}
"""Controls of level 1 in whose place level 2 has another one."""
UNNUMBERED = {"module-overlay"}
"""Controls that a published benchmark asks for and the one that the profile follows does not."""


def test_level_2_has_all_of_level_1(ours):
    wrong = [
        f"{control.id} {release}"
        for control in ours.controls.values()
        for release, names in control.levels.items()
        if "cis_l1_server" in names and "cis_l2_server" not in names
        if "cis_l2_server"
        not in ours.controls[STRICTER.get(control.id, control.id)].levels[release]
    ]
    assert wrong == []


def test_every_control_says_where_a_benchmark_asks_for_it(ours):
    wrong = []
    for control in ours.controls.values():
        for release, names in control.levels.items():
            found = control.references.get(release, References())
            families = {ours.profiles[name].benchmark[release].family for name in names}
            silent = [f for f in families if not (getattr(found, f) or found.rules or found.shared)]
            wrong += [f"{control.id} {release} {family}" for family in silent]
    assert {name.split()[0] for name in wrong} == UNNUMBERED


def test_ids_of_the_stig_are_those_of_the_release(ours):
    wrong = [
        f"{control.id} {name}"
        for control in ours.controls.values()
        for release, found in control.references.items()
        for name in found.stig
        if not name.startswith(STIG[release])
    ]
    assert wrong == []


@pytest.mark.parametrize("release", RELEASES)
def test_no_rule_is_answered_twice(ours, release):
    for profile in ours.profiles.values():
        members = [c for c in ours.controls.values() if profile.id in c.profiles(release)]
        rules = [r for c in members if release in c.references for r in c.references[release].rules]
        assert len(rules) == len(set(rules))


def test_every_profile_can_be_resolved_for_every_target(ours):
    for profile in ours.profiles:
        for target in all_targets(KINDS):
            got = resolve(ours, Selection(profile), target)
            assert got.applied
            assert all(item.resources for item in got.applied)


def test_every_deviation_has_an_effect_wherever_its_condition_holds(ours):
    for overlay in ours.overlays.values():
        traits = frozenset(trait.id for trait in overlay.traits)
        seen = set()
        for profile in ours.profiles:
            for target in all_targets(KINDS, traits):
                assert list(idle_deviations(ours, overlay, profile, target)) == []
                selection = Selection(profile, (adopt(overlay),))
                got = resolve(ours, selection, target, on=DAY)
                seen |= set(got.exemptions())
                seen |= {item.control.id for item in got.applied if item.extended_by}
        assert seen == {deviation.control for deviation in overlay.deviations}


def test_with_every_overlay_no_two_controls_clash(ours):
    derived = frozenset(TRAITS)
    for profile in ours.profiles:
        selection = Selection(profile, tuple(map(adopt, ours.overlays.values())))
        assert objections(ours, selection, all_targets(KINDS, derived), on=DAY) == []


def test_what_overlays_take_from_the_inventory_is_what_the_inventory_shows(ours):
    for overlay in ours.overlays.values():
        for trait in overlay.traits:
            assert (trait.id in TRAITS) == trait.derived, trait.id


def test_fips_is_never_switched_on(ours):
    """It is a property of the installation: switching it on later can cost a disk."""
    for control in ours.controls.values():
        for resource in control.resources:
            assert not (resource.type == "kernel_argument" and resource.name == "fips")
            assert not (resource.type == "crypto_policy" and resource.policy == "FIPS")
            assert not (resource.type == "package" and "fips" in resource.name)


def test_what_a_container_cannot_do_is_not_asked_of_it(ours):
    """It has its host's kernel, whose modules, arguments and audit trail are not its own."""
    host = {"module", "kernel_argument", "audit_rule", "audit_privileged", "selinux", "mount"}
    wrong = [
        f"{control.id} {resource.type}"
        for control in ours.controls.values()
        for resource in control.resources
        if resource.type in host and "container" in control.kinds
    ]
    assert wrong == []


def test_sentences_are_whole(ours):
    """A title stands alone; the rest are sentences."""
    wrong = []
    for control in ours.controls.values():
        texts = [control.rationale, control.gpu, control.undo, control.not_automated]
        wrong += [control.id for text in texts if text and text[-1] not in ".?!)"]
        wrong += [control.id for text in (control.title,) if text.endswith(".")]
    assert wrong == []

"""The controls that ship: each says why, what it refers to, and where it can be applied.

The tests look at all controls at once and name those that break a rule.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest

from provision.policy.load import load_policy
from provision.policy.model import Control
from provision.policy.resources import AnyResource, Release

CONTROLS = tuple(load_policy().controls.values())
RELEASES: tuple[Release, ...] = ("el10", "el9")
CIS = frozenset({"cis_l1_server", "cis_l2_server"})

# Of the running kernel or of what starts it: no container has one of its own.
OF_THE_KERNEL = frozenset(
    {"module", "kernel_argument", "audit_rule", "audit_privileged", "selinux", "mount"}
)
# Services that need the kernel's side of the matter, and the files that set them.
KERNEL_SERVICES = frozenset({"auditd", "fapolicyd", "usbguard", "kdump"})
KERNEL_PLACES = (
    "/boot", "/etc/default/grub", "/etc/fapolicyd/", "/etc/usbguard/", "/var/log/audit",
)  # fmt: skip
# A container's sessions are those of its host.
SESSIONS = frozenset({"idle-sessions-end"})
# In the published benchmark only; the SCAP content follows a draft that does not have it.
WITHOUT_REFERENCE = frozenset({"module-overlay"})


def needs_a_kernel(resource: AnyResource) -> bool:
    """Whether a container cannot do what `resource` wants."""
    match resource.type:
        case "sysctl":
            # A network namespace has settings of its own, but not those of compiled programs.
            return not resource.name.startswith("net.") or resource.name.startswith("net.core.bpf")
        case "service":
            return resource.name.partition(".")[0] in KERNEL_SERVICES
        case "setting":
            return resource.path.startswith((*KERNEL_PLACES, "/etc/audit/"))
        case "content" | "file":
            return resource.path.startswith(KERNEL_PLACES)
        case _:
            return resource.type in OF_THE_KERNEL


def names(controls: list[Control]) -> list[str]:
    return [control.id for control in controls]


def sentences(text: str) -> int:
    return len(re.findall(r"[.?!](?=\s|$)", text))


def test_there_are_controls() -> None:
    assert len(CONTROLS) > 400


def test_a_control_says_why_in_a_few_sentences() -> None:
    assert not names([c for c in CONTROLS if not 1 <= sentences(c.rationale) <= 4])
    assert not names([c for c in CONTROLS if len(c.rationale) > 400])


def test_a_title_is_one_line_that_states_something() -> None:
    assert not names([c for c in CONTROLS if len(c.title) > 90 or c.title.endswith(".")])
    titles = Counter(c.title for c in CONTROLS)
    assert [title for title, times in titles.items() if times > 1] == []


@pytest.mark.parametrize("release", RELEASES)
def test_a_control_says_where_a_benchmark_says_the_same(release: Release) -> None:
    prefix = {"el10": "RHEL-10-", "el9": "RHEL-09-"}[release]
    lacking, elsewhere, foreign = [], [], []
    for control in CONTROLS:
        profiles = set(control.profiles(release))
        if not profiles or control.id in WITHOUT_REFERENCE:
            continue
        found = control.references.get(release)
        if found is None or not (found.rules or found.cis or found.stig):
            lacking.append(control.id)
            continue
        if (found.cis and not profiles & CIS) or (found.stig and "stig" not in profiles):
            elsewhere.append(control.id)
        if not all(name.startswith(prefix) for name in found.stig):
            foreign.append(control.id)
    assert (lacking, elsewhere, foreign) == ([], [], [])


@pytest.mark.parametrize("release", RELEASES)
def test_level_2_holds_all_of_level_1(release: Release) -> None:
    first = [c for c in CONTROLS if "cis_l1_server" in c.profiles(release)]
    second = [c for c in CONTROLS if "cis_l2_server" in c.profiles(release)]
    # Where a stricter control takes the place of the first, it answers the same rules.
    rules = {rule for control in second for rule in control.rules(release)}
    assert not names([c for c in first if c not in second and not set(c.rules(release)) <= rules])


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("profile", ["cis_l1_server", "cis_l2_server", "stig"])
def test_a_rule_is_answered_once(release: Release, profile: str) -> None:
    answered = Counter(
        rule
        for control in CONTROLS
        if profile in control.profiles(release) and release in control.references
        for rule in control.references[release].rules
    )
    assert len(answered) > 250
    assert [rule for rule, times in answered.items() if times > 1] == []


def test_what_a_container_cannot_do_is_not_asked_of_one() -> None:
    asked = [c for c in CONTROLS if "container" in c.kinds]
    assert not names([c for c in asked if any(map(needs_a_kernel, c.resources))])


def test_a_container_is_left_out_for_a_reason() -> None:
    left_out = [c for c in CONTROLS if "container" not in c.kinds and not c.not_automated]
    unfounded = [c for c in left_out if not any(map(needs_a_kernel, c.resources))]
    assert set(names(unfounded)) <= SESSIONS


def test_a_control_holds_for_machines_and_images() -> None:
    assert not names([c for c in CONTROLS if not {"metal", "vm", "image"} <= set(c.kinds)])


def test_what_takes_effect_at_boot_says_so() -> None:
    at_boot = [c for c in CONTROLS for r in c.resources if r.type in ("kernel_argument", "selinux")]
    assert not names([c for c in at_boot if not c.reboot])


def test_what_is_not_automated_says_what_a_person_has_to_do() -> None:
    texts = {c.id: c.not_automated for c in CONTROLS if c.not_automated}
    assert [name for name, text in texts.items() if len(text) < 60 or not sentences(text)] == []


def test_how_one_logs_in_is_changed_with_the_guard_only() -> None:
    doors = [
        control
        for control in CONTROLS
        for resource in control.resources
        if resource.type in ("sshd", "pam", "authselect", "crypto_policy")
        or (resource.type == "line" and resource.path.startswith("/etc/sudoers"))
    ]
    assert not names([c for c in doors if c.phase != "access"])


def test_the_audit_rules_are_fixed_last() -> None:
    fixed = [
        control
        for control in CONTROLS
        for resource in control.resources
        if resource.type == "audit_rule" and "-e 2" in resource.rules
    ]
    assert [control.phase for control in fixed] == ["audit_trail"]
    assert all(control.undo for control in fixed)

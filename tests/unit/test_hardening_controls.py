"""Every control of the shipped policy is seen to hold and seen to fail, by both halves.

The check's half judges what the probes would see; the module's half is run on a node in a folder:
it announces a change where the control is broken, and nothing once it is applied.
"""

from __future__ import annotations

import copy
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from provision.checks.declaration import Expected
from provision.checks.declare import ATTRIBUTE, CouldNotLook
from provision.checks.hardened.judging import judge
from provision.checks.hardened.outcome import Judged
from provision.checks.hardened.registry import KINDS, asked
from provision.checks.verify import _module, load_checks, suite_files
from provision.policy.load import load_policy
from provision.policy.model import RELEASES
from provision.policy.resolve import Applied, render
from provision.policy.resources import TYPES
from tests.unit.hardening_fixtures import FIXTURES, Sight, looker
from tests.unit.hardening_support import Run, System
from tests.unit.roles_support import plugin

control_packages = plugin("filter", "controls").control_packages


@cache
def cases() -> dict[str, dict[str, Any]]:
    """Every set of resources that a control of ours may come to, rendered, by a name for it."""
    policy = load_policy()
    found: dict[str, dict[str, Any]] = {}
    said: set[str] = set()
    for release in RELEASES:
        for control in policy.controls.values():
            wanted = {p: control.wanted(release, p) for p in control.profiles(release)}
            wanted |= {
                f"{name}-{number}": deviation.replace or deviation.extend
                for name, overlay in policy.overlays.items()
                for number, deviation in enumerate(overlay.deviations)
                if deviation.control == control.id and (deviation.replace or deviation.extend)
            }
            for profile, resources in wanted.items():
                body = render(Applied(control, resources))
                text = json.dumps(body, sort_keys=True)
                if resources and text not in said:
                    said.add(text)
                    found[f"{control.id}-{release}-{profile}"] = body
    return found


def right(control: dict[str, Any]) -> Sight:
    """What the probes see where a control holds."""
    sight: Sight = {("packages", "installed"): [{"name": "rpm"}]}
    for word, value in control.get("when", {}).items():
        if word == "package":
            sight["packages", "installed"].append({"name": value})
        if word == "path":
            sight["hardening", "paths"] = [value]
        if word == "unit":
            sight["hardening", "units"] = {value: {"LoadState": "loaded"}}
    for resource in control["resources"]:
        FIXTURES[resource["type"]].right(sight, resource)
    return sight


def judged(control: dict[str, Any], sight: Sight) -> dict[str, Judged]:
    kinds = dict.fromkeys(resource["type"] for resource in control["resources"])
    return {k: judge(k, (control,), KINDS[k].judge, looker(sight)) for k in kinds}


def test_every_type_has_a_check_and_a_fixture():
    assert set(KINDS) == set(TYPES)
    assert set(FIXTURES) == set(TYPES)
    used = {r["type"] for control in cases().values() for r in control["resources"]}
    assert used == set(TYPES), "a type that no control uses is seen by no fixture"


def test_a_control_that_holds_passes():
    wrong = {}
    for name, control in cases().items():
        for kind, found in judged(control, right(control)).items():
            if found.right != [control["id"]]:
                wrong[name, kind] = found.details or found.summary
    assert wrong == {}


def test_a_control_that_is_broken_in_any_way_does_not():
    missed = []
    for name, control in cases().items():
        for number, resource in enumerate(control["resources"]):
            for way, break_it in FIXTURES[resource["type"]].broken.items():
                sight = copy.deepcopy(right(control))
                break_it(sight, resource)
                found = judged(control, sight)[resource["type"]]
                told = {**found.wrong, **found.waits}
                if control["id"] not in told or not found.details:
                    missed.append((name, number, way, found.summary))
    assert missed == []


def test_what_was_not_seen_is_unknown():
    for name, control in cases().items():
        for kind, found in judged(control, {}).items():
            assert list(found.unseen) == [control["id"]], (name, kind)
            assert not found.right
            assert not found.apart


def test_a_control_whose_subject_is_not_there_is_named_with_the_reason():
    for control in cases().values():
        when = control.get("when", {})
        if "package" not in when:
            continue
        sight = {("packages", "installed"): [{"name": "rpm"}]}
        for found in judged(control, sight).values():
            assert found.apart == {control["id"]: f"no package {when['package']}"}
            assert "mean nothing here" in found.summary


def test_an_rpm_database_that_knows_nothing_proves_nothing():
    control = next(c for c in cases().values() if "package" in c.get("when", {}))
    for found in judged(control, {("packages", "installed"): []}).values():
        assert control["id"] in found.unseen


def test_each_check_itself_passes_fails_and_says_what_it_could_not_see(tmp_path):
    """The checks as `verify` runs them; the rehearsal's test_each_check_can_fail counts on it."""
    module = _module(next(f for f in suite_files() if f.stem == "test_hardening"))
    shown = set()
    for name, control in cases().items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps([control]))
        node = Expected.model_construct(
            node="n1", kind="metal", profile="p", controls={"el10": str(path), "el9": str(path)}
        )
        for kind in {r["type"] for r in control["resources"]} - shown:
            test = getattr(module, f"test_{kind}")
            check = getattr(test, ATTRIBUTE)
            assert check.why_not(node) is None
            assert (check.id, check.severity) == (f"hardening.{kind}", KINDS[kind].severity)
            assert KINDS[kind].things in check.expectation(node)
            sight = right(control) | {("packages", "release"): {"VERSION_ID": "10.1"}}
            said: list[str] = []
            test(looker(sight), said.append, node)
            assert said == ["1 in force"]
            resource = next(r for r in control["resources"] if r["type"] == kind)
            next(iter(FIXTURES[kind].broken.values()))(sight, resource)
            with pytest.raises(AssertionError, match=control["id"]):
                test(looker(sight), said.append, node)
            with pytest.raises(CouldNotLook):
                test(looker({}), said.append, node)
            shown.add(kind)
    ids = {c.id for c in load_checks(suite_files()) if c.id.startswith("hardening.")}
    assert {f"hardening.{kind}" for kind in shown} == ids


def test_without_a_profile_the_checks_do_not_apply():
    node = Expected.model_construct(kind="metal", profile="none", controls={})
    for check in load_checks(suite_files()):
        if check.id.startswith("hardening."):
            assert check.why_not(node) == "the inventory asks for no profile"


def test_probes_are_told_names_and_never_a_value():
    control = next(c for c in cases().values() if c["id"] == "reverse-path-filter")
    told = asked({"el10": (control,)})
    names = [r["name"] for r in control["resources"]]
    assert told == {"hardening": {"sysctl": names}}


def prepared(root: Path, control: dict[str, Any]) -> System:
    system = System(root)
    for word, value in control.get("when", {}).items():
        if word == "package":
            system.packages.add(value)
        kinds = {r.get("kind", r["type"]) for r in control["resources"] if r.get("path") == value}
        if word == "path" and kinds and "dir" not in kinds:
            system.write(value, "")
        elif word == "path":
            system.path(value).mkdir(parents=True, exist_ok=True)
        if word == "unit":
            system.unit(value)
    groups = {r["group"] for r in control["resources"] if "group" in r} - {"root"}
    me = os.getgid()
    system.write("/etc/group", "".join(f"{n}:x:{me}:\n" for n in ["root", *sorted(groups)]))
    system.path("/etc/systemd/system").mkdir(parents=True, exist_ok=True)
    return system


def to_module(control: dict[str, Any]) -> list[dict[str, Any]]:
    """The resources that are the module's own; packages are the role's call."""
    return [r for r in control["resources"] if r["type"] != "package"]


NAMES = sorted(cases())


@pytest.mark.parametrize("batch", range(8))
def test_the_module_says_what_it_would_change_and_then_nothing(tmp_path, batch):
    for name in NAMES[batch::8]:
        control = cases()[name]
        packages = [r for r in control["resources"] if r["type"] == "package"]
        for resource in packages:
            state = resource.get("state", "present")
            assert resource["name"] in control_packages([control], control["phase"], state)
        for number, resource in enumerate(to_module(control)):
            root = tmp_path / f"{name}-{number}"
            root.mkdir(mode=0o755)
            system = prepared(root, control)
            FIXTURES[resource["type"]].plant(system, resource)
            one = [{**control, "resources": [resource]}]
            planned = Run(system, one, phase=control["phase"])
            assert planned.wrong == [], name
            assert planned.said, (name, number, planned.passed.not_applicable)
            assert all(control["id"] in said for said in planned.said[:1]), planned.said
            run = Run(system, one, phase=control["phase"])
            assert run.commit() == [], (name, number)
            again = Run(system, one, phase=control["phase"])
            assert (again.wrong, again.said) == ([], []), (name, number)

"""What is wrong with a policy although every file is well written: names, clashes, gaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from provision.core.judging import Part
from provision.core.names import suggest
from provision.core.problems import Problem
from provision.core.yamlpos import KeyPath, shown
from provision.policy.model import RELEASES, Control, Deviation, References, Release
from provision.policy.resources import AnyResource

if TYPE_CHECKING:
    from provision.policy.load import Policy


def misfits(policy: Policy) -> list[Problem]:
    """Everything that can only be seen with all files at hand."""
    return [
        *_names(policy),
        *_levels(policy),
        *_resources(policy),
        *_rules(policy),
        *_clashes(policy),
        *_deviations(policy),
    ]


def _known(policy: Policy, kind: str) -> list[str]:
    """Names that were written, also where what they name has a mistake of its own."""
    return [name for word, name in policy.places if word == kind]


def _unknown(policy: Policy, kind: str, of: tuple[str, str], inner: KeyPath, name: str) -> Problem:
    message = f"there is no {kind} called {shown(name)}"
    hint = suggest(name, _known(policy, kind))
    return policy.place(*of).problem(f"unknown-{kind}", message, inner, value=name, hint=hint)


def _names(policy: Policy) -> Iterator[Problem]:
    """Names that an inventory or a command could not tell apart."""
    for word in ("profile", "overlay"):
        if (word, "none") in policy.places:
            message = "'none' means that there is no profile"
            place = policy.place(word, "none")
            yield place.problem("reserved-name", message, ("id",), hint="give it another name")
    for name in _known(policy, "overlay"):
        if ("profile", name) in policy.places:
            message = f"a profile is called {name!r} too"
            place = policy.place("overlay", name)
            yield place.problem("duplicate-id", message, ("id",), value=name, hint="rename one")


def _levels(policy: Policy) -> Iterator[Problem]:
    profiles = set(_known(policy, "profile"))
    for control in policy.controls.values():
        of = ("control", control.id)
        for release, names in control.levels.items():
            for number, name in enumerate(names):
                if name not in profiles:
                    yield _unknown(policy, "profile", of, ("levels", release, number), name)
                elif name in policy.profiles and release not in policy.profiles[name].benchmark:
                    message = f"profile {name!r} has no benchmark for {release}"
                    hint = "take it out, or give the profile one"
                    yield policy.place(*of).problem(
                        "no-benchmark", message, ("levels", release, number), hint=hint
                    )


def _resources(policy: Policy) -> Iterator[Problem]:
    """Limits of resources that name nothing, and controls that want nothing somewhere."""
    for control in policy.controls.values():
        place = policy.place("control", control.id)
        everywhere = {name for names in control.levels.values() for name in names}
        for number, resource in enumerate(control.resources):
            for field, limits, allowed in (
                ("releases", resource.releases, set(control.levels)),
                ("profiles", resource.profiles, everywhere),
            ):
                for index, limit in enumerate(limits):
                    if limit not in allowed:
                        inner: KeyPath = ("resources", number, field, index)
                        message = f"the control is not in {shown(limit)}"
                        hint = suggest(limit, allowed)
                        yield place.problem("no-effect", message, inner, value=limit, hint=hint)
        if not control.resources:
            continue
        for release, names in control.levels.items():
            for number, name in enumerate(names):
                if not control.wanted(release, name):
                    message = f"in {name} of {release} it wants nothing"
                    hint = "its resources are limited to other releases or profiles"
                    inner = ("levels", release, number)
                    yield place.problem("no-effect", message, inner, hint=hint)


def _pairs(policy: Policy) -> Iterator[tuple[Release, str, list[Control]]]:
    """Each profile in each release, with its controls."""
    for release in RELEASES:
        for name in policy.profiles:
            found = [c for c in policy.controls.values() if name in c.profiles(release)]
            yield release, name, found


def _rules(policy: Policy) -> Iterator[Problem]:
    """SCAP rules that two controls of one profile answer, where neither says that it shares."""
    said: set[tuple[str, Release, str]] = set()
    for release, _, controls in _pairs(policy):
        owners: dict[str, Control] = {}
        shared: dict[str, Control] = {}
        for control in controls:
            references = control.references.get(release, References())
            for rule in references.rules:
                first = owners.get(rule)
                if first is not None and (control.id, release, rule) not in said:
                    said.add((control.id, release, rule))
                    yield _rule_twice(policy, first, control, (release, rule))
                owners.setdefault(rule, control)
            shared |= dict.fromkeys(references.shared, control)
        for rule, control in shared.items():
            if rule not in owners and (control.id, release, rule) not in said:
                said.add((control.id, release, rule))
                message = f"no other control answers the rule {rule!r} in {release}"
                inner = ("references", release, "shared")
                yield policy.place("control", control.id).problem(
                    "unknown-rule", message, inner, value=rule, hint="put it into `rules`"
                )


def _rule_twice(
    policy: Policy, first: Control, second: Control, what: tuple[Release, str]
) -> Problem:
    release, rule = what
    message = f"{first.id} answers the rule {rule!r} of {release} too"
    if first is second:
        message = f"the rule {rule!r} of {release} is here twice"
    hint = "if it passes only with both, put it into `shared` of one of them"
    inner = ("references", release, "rules")
    return policy.place("control", second.id).problem(
        "rule-twice", message, inner, value=rule, hint=hint
    )


def _clashes(policy: Policy) -> Iterator[Problem]:
    """Controls of one profile that want different values of one thing."""
    seen: set[tuple[object, ...]] = set()
    for release, name, controls in _pairs(policy):
        wanted = [
            (control, resource)
            for control in controls
            for resource in control.wanted(release, name)
        ]
        for first, second, thing in clashes(wanted):
            (a, _), (b, resource) = first, second
            key = (a.id, b.id, thing)
            if key in seen:
                continue
            seen.add(key)
            inner = ("resources", b.resources.index(resource))
            message = f"{a.id} wants another value of the same thing in {name} of {release}:"
            message += f" {first[1].words()!r}, here {resource.words()!r}"
            hint = "limit them to different `profiles:` or `releases:`"
            yield policy.place("control", b.id).problem("clash", message, inner, hint=hint)


Wanted = tuple[Control, AnyResource]


def clashes(wanted: list[Wanted]) -> Iterator[tuple[Wanted, Wanted, tuple[str, ...]]]:
    """Pairs of resources that want different values of one thing, with the thing."""
    values: dict[tuple[str, ...], tuple[Wanted, str]] = {}
    for item in wanted:
        for thing, value in item[1].wants():
            first, before = values.setdefault(thing, (item, value))
            if before != value:
                yield first, item, thing
    yield from _two_writers(wanted)


def _two_writers(wanted: list[Wanted]) -> Iterator[tuple[Wanted, Wanted, tuple[str, ...]]]:
    """Files that are wholly ours, in which another resource wants to change something."""
    whole = {item[1].path: item for item in wanted if item[1].type == "content"}
    for item in wanted:
        if item[1].type in ("setting", "line") and item[1].path in whole:
            yield whole[item[1].path], item, ("content", item[1].path)


def _deviations(policy: Policy) -> Iterator[Problem]:
    for overlay in policy.overlays.values():
        place = policy.place("overlay", overlay.id)
        traits = {trait.id for trait in overlay.traits}
        for number, deviation in enumerate(overlay.deviations):
            inner: KeyPath = ("deviations", number)
            of = ("overlay", overlay.id)
            if ("control", deviation.control) not in policy.places:
                yield _unknown(policy, "control", of, (*inner, "control"), deviation.control)
            for index, name in enumerate(deviation.when.profiles):
                if ("profile", name) not in policy.places:
                    yield _unknown(policy, "profile", of, (*inner, "when", "profiles", index), name)
            for index, trait in enumerate(deviation.when.traits):
                if trait not in traits:
                    message = f"the overlay has no trait {shown(trait)}"
                    hint = suggest(trait, traits)
                    at = (*inner, "when", "traits", index)
                    yield place.problem("unknown-trait", message, at, value=trait, hint=hint)
            yield from _unreviewed(policy, place, inner, deviation)
            yield from _excuses(policy, place, inner, deviation)


def _excuses(
    policy: Policy, place: Part, inner: KeyPath, deviation: Deviation
) -> Iterator[Problem]:
    """Rules that a deviation excuses and its control does not answer."""
    control = policy.controls.get(deviation.control)
    if control is None:
        return
    rules = {rule for release in control.levels for rule in control.rules(release)}
    for index, rule in enumerate(deviation.excuses or ()):
        if rule not in rules:
            message = f"{control.id} answers no rule {shown(rule)}"
            at = (*inner, "excuses", index)
            yield place.problem("unknown-rule", message, at, value=rule, hint=suggest(rule, rules))


def _unreviewed(
    policy: Policy, place: Part, inner: KeyPath, deviation: Deviation
) -> Iterator[Problem]:
    """Benchmarks whose version is another than the one that the deviation was reviewed for."""
    control = policy.controls.get(deviation.control)
    if control is None:
        return
    said: set[tuple[Release, str]] = set()
    for release, name in _where(policy, deviation, control):
        followed = policy.profiles[name].benchmark[release]
        reviewed = deviation.reviewed.get(release, {}).get(followed.family)
        if reviewed != followed.version and (release, followed.family) not in said:
            said.add((release, followed.family))
            message = f"it was not reviewed for {followed.name}, {followed.version}"
            hint = f"read that version, then write `{followed.family}: {followed.version!r}`"
            at = (*inner, "reviewed")
            yield place.problem("not-reviewed", message, at, value=reviewed, hint=hint)


def _where(policy: Policy, deviation: Deviation, control: Control) -> Iterator[tuple[Release, str]]:
    """The profiles and releases in which a deviation meets its control."""
    when = deviation.when
    for release, names in control.levels.items():
        for name in names:
            known = name in policy.profiles and release in policy.profiles[name].benchmark
            if (
                known
                and (not when.releases or release in when.releases)
                and (not when.profiles or name in when.profiles)
            ):
                yield release, name

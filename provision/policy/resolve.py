"""Which controls a node gets, and why it does not get the others.

`resolve` answers for one target: a release, a kind of node and what the node is or does.
`objections` says what is wrong with what a site asks for, over all targets of a rack; nothing of
it depends on a node being reachable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.judging import Part
from provision.core.names import suggest
from provision.core.problems import HoldfastError, Problem
from provision.core.yamlpos import shown
from provision.policy.consistency import clashes
from provision.policy.load import Policy
from provision.policy.model import (
    PHASES,
    RELEASES,
    Adoption,
    AnyResource,
    Control,
    Deviation,
    Kind,
    Overlay,
    Phase,
    Release,
    Waiver,
)
from provision.rack.known import Objection

NONE = "none"
"""The profile without a control."""

LACKED = {"selinux": ("SELinux", "selinux"), "boot_loader": ("boot loader", "kernel_argument")}
"""What a machine may be declared to do without: its name, and what type of resource needs it."""


@dataclass(frozen=True)
class Selection:
    """What a site asks for."""

    profile: str
    overlays: tuple[Adoption, ...] = ()
    waivers: tuple[Waiver, ...] = ()


@dataclass(frozen=True)
class Target:
    """What a node is, as far as controls depend on it.

    `lacks` is what its inventory says that it does without, and why: of `LACKED`.
    """

    release: Release
    kind: Kind = "metal"
    traits: frozenset[str] = frozenset()
    lacks: tuple[tuple[str, str], ...] = ()

    def without(self, resource: AnyResource) -> str | None:
        """Why a resource means nothing here, by what the inventory says that the node lacks."""
        for name, why in self.lacks:
            told, needs = LACKED[name]
            if resource.type == needs:
                return f"the inventory declares that it has no {told}: {why}"
        return None


@dataclass(frozen=True)
class Exemption:
    """Why a control does not hold as its benchmark wants it, and who answers for that.

    `source` is ``waiver`` or the overlay's name; `compensation` is what is there instead; `rules`
    are the SCAP rules that fail for it, all of the control's when None.
    """

    source: str
    reason: str
    owner: str
    expires: date
    compensation: str | None = None
    rules: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "source": self.source,
            "reason": self.reason,
            "owner": self.owner,
            "expires": self.expires.isoformat(),
            "compensation": self.compensation,
        }


@dataclass(frozen=True)
class Applied:
    """A control with the resources that the node gets; `exemption` when they are not its own."""

    control: Control
    resources: tuple[AnyResource, ...]
    exemption: Exemption | None = None
    extended_by: tuple[Exemption, ...] = ()


@dataclass(frozen=True)
class Waived:
    """A control that is not applied, because the site or an overlay does without it."""

    control: Control
    exemption: Exemption


@dataclass(frozen=True)
class NotApplicable:
    """A control that means nothing on this target."""

    control: Control
    reason: str


@dataclass(frozen=True)
class Resolution:
    """Every control of a profile for one target, each in one of the lists."""

    profile: str
    target: Target
    applied: tuple[Applied, ...] = ()
    waived: tuple[Waived, ...] = ()
    not_applicable: tuple[NotApplicable, ...] = ()
    not_automated: tuple[Control, ...] = ()
    provided: tuple[Control, ...] = ()

    def rendered(self, *phases: Phase) -> list[dict[str, Any]]:
        """The applied controls as the node's module takes them, in the order of their phases."""
        wanted = phases or PHASES
        return [
            render(item) for phase in wanted for item in self.applied if item.control.phase == phase
        ]

    def exemptions(self) -> dict[str, Exemption]:
        """By control: why it does not hold as the benchmark wants it, applied or not."""
        found = {item.control.id: item.exemption for item in self.waived}
        changed = {a.control.id: a.exemption for a in self.applied if a.exemption is not None}
        return {**found, **changed}

    def exempt_rules(self) -> dict[str, Exemption]:
        """By SCAP rule: why it is expected to fail."""
        controls = [item.control for item in self.waived]
        controls += [item.control for item in self.applied if item.exemption is not None]
        by_control = self.exemptions()
        return {
            rule: exemption
            for control in controls
            for exemption in (by_control[control.id],)
            for rule in control.rules(self.target.release)
            if exemption.rules is None or rule in exemption.rules
        }


def render(item: Applied) -> dict[str, Any]:
    """One control as the node's module takes it."""
    control = item.control
    body: dict[str, Any] = {
        "id": control.id,
        "title": control.title,
        "phase": control.phase,
        "reboot": control.reboot,
        "resources": [_plain(resource) for resource in item.resources],
    }
    if control.when is not None:
        body["when"] = control.when.model_dump(exclude_none=True)
    if control.undo is not None:
        body["undo"] = control.undo
    return body


def _plain(resource: AnyResource) -> dict[str, Any]:
    body = resource.model_dump(mode="json", exclude={"releases", "profiles"})
    # An argument of a PAM module may have no value; elsewhere null means that nothing was said.
    return {key: value for key, value in body.items() if value is not None}


def today() -> date:
    """The day by which expiry is judged: UTC's, on every controller the same."""
    return datetime.now(UTC).date()


def resolve(
    policy: Policy, selection: Selection, target: Target, *, on: date | None = None
) -> Resolution:
    """Sort the controls of a profile for one target.

    Args:
        policy: what there is.
        selection: what the site asks for. A waiver that means nothing on this target is left
            out; `objections` says whether it means anything anywhere.
        target: what the node is.
        on: the day by which expiry is judged; today when None.

    Raises:
        HoldfastError: a name is unknown, or something has expired (exit code 2).
    """
    day = on or today()
    wrong = [*_names(policy, selection), *_expired(selection, day)]
    if wrong:
        raise HoldfastError([_problem(o) for o in wrong], ExitCode.USAGE)
    sorter = _Sorter(policy, selection, target)
    for control in policy.controls.values():
        if selection.profile in control.profiles(target.release):
            sorter.take(control)
    return sorter.resolution()


class _Sorter:
    def __init__(self, policy: Policy, selection: Selection, target: Target) -> None:
        self.profile = selection.profile
        self.target = target
        self.waivers = {w.control: w for w in selection.waivers}
        self.deviations: dict[str, list[tuple[Deviation, Exemption]]] = {}
        for adoption in selection.overlays:
            traits = target.traits | set(adoption.features)
            for deviation in policy.overlays[adoption.name].deviations:
                if holds(deviation, self.profile, target, traits):
                    found = self.deviations.setdefault(deviation.control, [])
                    found.append((deviation, _adopted(adoption, deviation)))
        self.applied: list[Applied] = []
        self.waived: list[Waived] = []
        self.not_applicable: list[NotApplicable] = []
        self.not_automated: list[Control] = []
        self.provided: list[Control] = []

    def take(self, control: Control) -> None:
        waiver = self.waivers.get(control.id)
        deviations = self.deviations.get(control.id, [])
        if self.target.kind not in control.kinds:
            reason = f"it cannot be applied on a node of kind {self.target.kind}"
            self.not_applicable.append(NotApplicable(control, reason))
        elif lacked := self.lacked(control):
            self.not_applicable.append(NotApplicable(control, lacked))
        elif waiver is not None:
            exemption = Exemption("waiver", waiver.reason, waiver.owner, waiver.expires)
            self.waived.append(Waived(control, exemption))
        elif out := [e for d, e in deviations if d.leave_out]:
            self.waived.append(Waived(control, out[0]))
        elif control.not_automated is not None:
            self.not_automated.append(control)
        elif control.provided_by is not None:
            self.provided.append(control)
        else:
            self.applied.append(self._applied(control, deviations))

    def lacked(self, control: Control) -> str | None:
        """Why nothing of a control can be set here, by what the inventory says."""
        wanted = control.wanted(self.target.release, self.profile)
        reasons = [self.target.without(resource) for resource in wanted]
        return reasons[0] if reasons and all(reasons) else None

    def _applied(self, control: Control, deviations: list[tuple[Deviation, Exemption]]) -> Applied:
        resources = control.wanted(self.target.release, self.profile)
        exemption = None
        extended = []
        for deviation, adopted in deviations:
            more = _limited(deviation, self.target.release, self.profile)
            if deviation.replace:
                resources, exemption = more, adopted
            else:
                resources = (*resources, *(r for r in more if r not in resources))
                extended.append(adopted)
        resources = tuple(r for r in resources if self.target.without(r) is None)
        return Applied(control, resources, exemption, tuple(extended))

    def resolution(self) -> Resolution:
        return Resolution(
            self.profile,
            self.target,
            tuple(self.applied),
            tuple(self.waived),
            tuple(self.not_applicable),
            tuple(self.not_automated),
            tuple(self.provided),
        )


def holds(deviation: Deviation, profile: str, target: Target, traits: Collection[str]) -> bool:
    """Whether the `when` of a deviation holds for a profile on a target."""
    when = deviation.when
    return (
        (not when.releases or target.release in when.releases)
        and (not when.profiles or profile in when.profiles)
        and (not when.kinds or target.kind in when.kinds)
        and set(when.traits) <= set(traits)
    )


def _adopted(adoption: Adoption, deviation: Deviation) -> Exemption:
    return Exemption(
        adoption.name,
        deviation.reason,
        adoption.owner,
        adoption.expires,
        deviation.compensation,
        deviation.excuses,
    )


def _limited(deviation: Deviation, release: Release, profile: str) -> tuple[AnyResource, ...]:
    return tuple(
        r
        for r in (*deviation.replace, *deviation.extend)
        if (not r.releases or release in r.releases) and (not r.profiles or profile in r.profiles)
    )


def objections(
    policy: Policy, selection: Selection, targets: Iterable[Target], *, on: date | None = None
) -> list[Objection]:
    """What is wrong with what a site asks for, for nodes that are any of `targets`.

    A node's release is known only once it has been asked, so `targets` has one for each release
    that the node may turn out to be.
    """
    day = on or today()
    names = list(_names(policy, selection))
    if names:
        # The rest would only repeat them.
        return [*names, *_expired(selection, day), *_twice(selection)]
    everywhere = list(dict.fromkeys(targets))
    return [
        *_expired(selection, day),
        *_twice(selection),
        *_features(policy, selection),
        *_idle_waivers(policy, selection, everywhere),
        *_idle_deviations(policy, selection, everywhere),
        *_clashing(policy, selection, everywhere, day),
    ]


def _names(policy: Policy, selection: Selection) -> Iterator[Objection]:
    profiles = {*policy.profiles, NONE}
    if selection.profile not in profiles:
        yield _no(("profile",), "profile", selection.profile, profiles)
    for number, adoption in enumerate(selection.overlays):
        if adoption.name not in policy.overlays:
            yield _no(("overlays", number, "name"), "overlay", adoption.name, policy.overlays)
    for number, waiver in enumerate(selection.waivers):
        if waiver.control not in policy.controls:
            at = ("waivers", number, "control")
            yield _no(at, "control", waiver.control, policy.controls)


def _no(at: tuple[str | int, ...], kind: str, name: str, known: Collection[str]) -> Objection:
    message = f"there is no {kind} called {shown(name)}"
    hint = suggest(name, known)
    if kind == "control" and not hint.startswith("did"):
        hint = "`holdfast profile show PROFILE` lists those of a profile"
    return Objection(f"unknown-{kind}", message, at, name, hint)


def _expired(selection: Selection, day: date) -> Iterator[Objection]:
    for number, waiver in enumerate(selection.waivers):
        if waiver.expires < day:
            at = ("waivers", number, "expires")
            message = f"the waiver of {waiver.control} expired on {waiver.expires}"
            hint = f"remove it, or ask {waiver.owner} whether it shall go on"
            yield Objection("expired", message, at, str(waiver.expires), hint)
    for number, adoption in enumerate(selection.overlays):
        if adoption.expires < day:
            at = ("overlays", number, "expires")
            message = f"the adoption of overlay {adoption.name} expired on {adoption.expires}"
            hint = f"remove it, or ask {adoption.owner} whether it shall go on"
            yield Objection("expired", message, at, str(adoption.expires), hint)


def _twice(selection: Selection) -> Iterator[Objection]:
    for variable, names, field in (
        ("waivers", [w.control for w in selection.waivers], "control"),
        ("overlays", [a.name for a in selection.overlays], "name"),
    ):
        for number, name in enumerate(names):
            if name in names[:number]:
                at = (variable, number, field)
                message = f"{shown(name)} stands in holdfast_{variable} twice"
                yield Objection("set-twice", message, at, name, "keep one of them")


def _features(policy: Policy, selection: Selection) -> Iterator[Objection]:
    for number, adoption in enumerate(selection.overlays):
        overlay = policy.overlays[adoption.name]
        traits = {trait.id: trait for trait in overlay.traits}
        said = [name for name, trait in traits.items() if not trait.derived]
        for index, feature in enumerate(adoption.features):
            at = ("overlays", number, "features", index)
            if feature not in traits:
                message = f"the overlay {overlay.id} knows no feature {shown(feature)}"
                yield Objection("unknown-feature", message, at, feature, suggest(feature, said))
            elif traits[feature].derived:
                message = f"{shown(feature)} follows from the rest of the inventory"
                yield Objection("no-effect", message, at, feature, "take it out")


def _idle_waivers(
    policy: Policy, selection: Selection, targets: list[Target]
) -> Iterator[Objection]:
    for number, waiver in enumerate(selection.waivers):
        control = policy.controls[waiver.control]
        why = _idle(policy, selection, control, targets)
        if why is not None:
            at = ("waivers", number, "control")
            message = f"the waiver of {control.id} matches nothing: {why}"
            yield Objection("no-effect", message, at, control.id, "remove it")


def _idle(
    policy: Policy, selection: Selection, control: Control, targets: list[Target]
) -> str | None:
    """Why a waiver of `control` would change nothing on any of `targets`."""
    if selection.profile == NONE:
        return "holdfast_profile is none"
    member = [t for t in targets if selection.profile in control.profiles(t.release)]
    if not member:
        return f"it is not in profile {selection.profile}"
    possible = [t for t in member if t.kind in control.kinds]
    if not possible:
        kinds = ", ".join(sorted({t.kind for t in member}))
        return f"it cannot be applied on a node of kind {kinds}"
    possible = [t for t in possible if _Sorter(policy, selection, t).lacked(control) is None]
    if not possible:
        return "the inventory declares that its nodes lack what it is about"
    out = [_left_out(policy, selection, control, target) for target in possible]
    return f"overlay {out[0]} leaves it out already" if all(out) else None


def _left_out(policy: Policy, selection: Selection, control: Control, target: Target) -> str | None:
    """The overlay that leaves `control` out on `target`."""
    for adoption in selection.overlays:
        traits = target.traits | set(adoption.features)
        for deviation in policy.overlays[adoption.name].deviations:
            if (
                deviation.control == control.id
                and deviation.leave_out
                and holds(deviation, selection.profile, target, traits)
            ):
                return adoption.name
    return None


def _idle_deviations(
    policy: Policy, selection: Selection, targets: list[Target]
) -> Iterator[Objection]:
    for number, adoption in enumerate(selection.overlays):
        overlay = policy.overlays[adoption.name]
        at = ("overlays", number, "name")
        if selection.profile == NONE:
            message = f"overlay {overlay.id} deviates from nothing: holdfast_profile is none"
            yield Objection("no-effect", message, at, overlay.id, "remove it")
            continue
        said: set[str] = set()
        for target in targets:
            here = replace(target, traits=target.traits | set(adoption.features))
            for index, why in idle_deviations(policy, overlay, selection.profile, here):
                deviation = overlay.deviations[index]
                if deviation.control not in said:
                    said.add(deviation.control)
                    message = f"overlay {overlay.id} has no effect on {deviation.control}: {why}"
                    place = policy.place("overlay", overlay.id)
                    hint = f"narrow its `when` at {_at(place, index)}"
                    yield Objection("no-effect", message, at, overlay.id, hint)


def _at(place: Part, index: int) -> str:
    return str(place.document.at((*place.path, "deviations", index)))


def idle_deviations(
    policy: Policy, overlay: Overlay, profile: str, target: Target
) -> Iterator[tuple[int, str]]:
    """Deviations whose `when` holds on `target` and which change nothing there, with the reason."""
    for index, deviation in enumerate(overlay.deviations):
        if not holds(deviation, profile, target, target.traits):
            continue
        control = policy.controls[deviation.control]
        if profile not in control.profiles(target.release):
            yield index, f"it is not in {profile} of {target.release}"
            continue
        if target.kind not in control.kinds:
            yield index, f"it cannot be applied on a node of kind {target.kind}"
            continue
        if deviation.leave_out:
            continue
        if not control.resources:
            yield index, "nothing of it is applied, so nothing can take its place or come to it"
            continue
        own = control.wanted(target.release, profile)
        more = _limited(deviation, target.release, profile)
        if deviation.replace and set(map(_key, more)) == set(map(_key, own)):
            yield index, "it wants what the control wants"
        if deviation.extend and set(map(_key, more)) <= set(map(_key, own)):
            yield index, "the control wants that already"


def _key(resource: AnyResource) -> str:
    return str(resource.model_dump(exclude={"releases", "profiles"}))


def _clashing(
    policy: Policy, selection: Selection, targets: list[Target], day: date
) -> Iterator[Objection]:
    """Two controls that want different values once overlays have had their say."""
    if _expired_any(selection, day):
        return
    said: set[tuple[str, str]] = set()
    for target in targets:
        applied = resolve(policy, selection, target, on=day).applied
        wanted = [(item.control, resource) for item in applied for resource in item.resources]
        for (a, first), (b, second), _ in clashes(wanted):
            if (a.id, b.id) not in said:
                said.add((a.id, b.id))
                message = f"{a.id} and {b.id} want different values of one thing on"
                message += f" {target.release}: {first.words()!r} and {second.words()!r}"
                hint = "an overlay changed one of them; it has to change both, or neither"
                yield Objection("clash", message, ("overlays",), None, hint)


def _expired_any(selection: Selection, day: date) -> bool:
    return any(True for _ in _expired(selection, day))


def _problem(objection: Objection) -> Problem:
    where = "holdfast_" + ".".join(map(str, objection.at))
    return Problem(objection.code, objection.message, None, objection.value, objection.hint, where)


def all_targets(kinds: Iterable[Kind], traits: frozenset[str] = frozenset()) -> list[Target]:
    """A target for each release and each of `kinds`."""
    return [Target(release, kind, traits) for release in RELEASES for kind in dict.fromkeys(kinds)]

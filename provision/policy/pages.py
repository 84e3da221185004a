"""Profiles, controls and coverage as text for a person: lines of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from provision.policy.coverage import Coverage, Covered, State
from provision.policy.load import Policy
from provision.policy.model import (
    PHASES,
    RELEASES,
    Benchmark,
    Control,
    Deviation,
    Overlay,
    Profile,
    References,
    Release,
    When,
)
from provision.policy.recorded import Share
from provision.policy.resolve import Exemption, Resolution
from provision.verdict.text import wrap

WIDTH = 80
_LABEL = 13


def listing(policy: Policy) -> Iterator[str]:
    """Every profile with its benchmarks, and every overlay."""
    for profile in policy.profiles.values():
        yield from _named(profile.id, profile.title)
        for release in RELEASES:
            followed = profile.benchmark.get(release)
            if followed is not None:
                number = _count(len(_members(policy, profile, release)), "control")
                yield from _item(f"    {release:<5} {number:<14}", _benchmark(followed))
    if policy.overlays:
        yield ""
        yield "overlays"
    for overlay in policy.overlays.values():
        number = _count(len(overlay.deviations), "deviation")
        yield from _named(overlay.id, f"{overlay.title}; {number}")


def _members(policy: Policy, profile: Profile, release: Release) -> list[Control]:
    return [c for c in policy.controls.values() if profile.id in c.profiles(release)]


def _named(name: str, text: str) -> list[str]:
    return _item(f"{name:<{_LABEL}}  ", text)


def _item(head: str, text: str) -> list[str]:
    """`head` with `text` beside it, wrapped; below it where the head leaves no room."""
    if len(head) > WIDTH // 2:
        return [head.rstrip(), *(" " * 6 + line for line in wrap(text, WIDTH - 6))]
    lines = wrap(text, WIDTH - len(head)) or [""]
    blank = " " * len(head)
    return [(head + lines[0]).rstrip(), *(blank + line for line in lines[1:])]


def _benchmark(followed: Benchmark) -> str:
    return f"{followed.name}, {followed.version}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def resolved(profile: Profile, resolution: Resolution) -> Iterator[str]:
    """Every control of a profile on one target, by what becomes of it."""
    target = resolution.target
    followed = profile.benchmark[target.release]
    yield from _named(profile.id, f"{profile.title}, on {target.release}, {target.kind}")
    yield from _named("benchmark", _benchmark(followed))
    yield from _named("SCAP profile", followed.scap_profile)
    counts = (
        (len(resolution.applied), "applied"),
        (len(resolution.provided), "provided"),
        (len(resolution.waived), "waived"),
        (len(resolution.not_applicable), "not applicable"),
        (len(resolution.not_automated), "not automated"),
    )
    total = sum(number for number, _ in counts)
    said = ", ".join(f"{number} {word}" for number, word in counts)
    yield from _named("controls", f"{total}: {said}")
    for phase in PHASES:
        applied = [item for item in resolution.applied if item.control.phase == phase]
        yield from _section(f"applied, phase {phase}", (item.control for item in applied))
    yield from _reasons("provided", ((c, c.provided_by or "") for c in resolution.provided))
    yield from _reasons(
        "waived", ((w.control, exemption_words(w.exemption)) for w in resolution.waived)
    )
    yield from _reasons(
        "applied otherwise",
        (
            (item.control, exemption_words(item.exemption))
            for item in resolution.applied
            if item.exemption is not None
        ),
    )
    yield from _reasons(
        "not applicable", ((n.control, n.reason) for n in resolution.not_applicable)
    )
    yield from _reasons(
        "not automated", ((c, c.not_automated or "") for c in resolution.not_automated)
    )


def exemption_words(exemption: Exemption) -> str:
    """Why a control does not hold, who answers for it, and until when."""
    source = "" if exemption.source == "waiver" else f"Overlay {exemption.source}. "
    instead = f" Instead: {exemption.compensation}" if exemption.compensation else ""
    return (
        f"{source}{exemption.reason}{instead} Owner {exemption.owner}, until {exemption.expires}."
    )


def _section(title: str, controls: Iterable[Control]) -> Iterator[str]:
    found = list(controls)
    if found:
        width = max(len(control.id) for control in found)
        yield ""
        yield title
        for control in found:
            yield from _item(f"  {control.id:<{width}}  ", control.title)


def _reasons(title: str, found: Iterable[tuple[Control, str]]) -> Iterator[str]:
    rows = list(found)
    if rows:
        yield ""
        yield title
        for control, reason in rows:
            yield from _item(f"  {control.id}: ", control.title)
            yield from (f"      {line}" for line in wrap(reason, WIDTH - 6))


def shared(share: Share, *, all_of_it: bool = False) -> Iterator[str]:
    """How much a recorded run has shown; with `all_of_it` also what is left, and why."""
    kinds = " and ".join(share.kinds)
    yield f"{share.profile:<13}  {share.release:<4}  {kinds:<16}  {share.words()}"
    if all_of_it:
        for rule, reason in sorted(share.left.items()):
            yield f"  {rule}"
            yield from (f"      {line}" for line in wrap(reason, WIDTH - 6))


def turned(shares: Iterable[Share]) -> Iterator[str]:
    """What recorded runs have shown of a profile, beside its coverage."""
    found = list(shares)
    yield ""
    yield "of the rules that fail on an untouched node, these pass once it is applied"
    yield from (line for one in found for line in shared(one))
    if not found:
        yield "  no run was recorded"


def covered(found: Coverage, name: str) -> Iterator[str]:
    """What of a SCAP profile is answered, and a reason for each rule that is not."""
    total = len(found.rules)
    yield ""
    yield f"coverage of {name}"
    yield from _named("benchmark", f"{found.benchmark}, content {found.version}")
    yield from _named("SCAP profile", f"{found.scap_profile}, {_count(total, 'rule')}")
    for state in State:
        yield f"  {state.value:<14}  {found.share(state)}"
    for state in State:
        rules = [rule for rule in found.rules if rule.state is state]
        if rules and state is not State.IMPLEMENTED:
            yield ""
            yield state.value
            for rule in rules:
                yield f"  {rule.rule}"
                yield from (f"      {line}" for line in wrap(_why(rule), WIDTH - 6))
    if found.strangers:
        yield ""
        yield "answered by a control, and not selected by the SCAP profile"
        for rule_id, control, known in found.strangers:
            yield f"  {rule_id}"
            yield f"      {control}" + ("" if known else "; not in the data stream")


def _why(rule: Covered) -> str:
    control = f"{rule.control}: " if rule.control else ""
    unchecked = "" if rule.checked else " OpenSCAP cannot check it."
    return f"{control}{rule.why or 'no control answers it'}{unchecked}"


def explained(policy: Policy, control: Control) -> Iterator[str]:
    """All that is known of one control."""
    yield from wrap(f"{control.id}: {control.title}", WIDTH)
    yield ""
    yield from wrap(control.rationale, WIDTH)
    yield ""
    for label, text in _facts(policy, control):
        yield from _named(label, text)


def _facts(policy: Policy, control: Control) -> Iterator[tuple[str, str]]:
    yield from _membership(control)
    yield "kinds", ", ".join(control.kinds)
    yield "phase", control.phase
    if control.when is not None:
        said = control.when.model_dump(exclude_none=True)
        yield "only with", " and ".join(f"{what} {name}" for what, name in said.items())
    yield from _settings(control)
    for label, text in (
        ("by hand", control.not_automated),
        ("provided by", control.provided_by),
        ("reboot", "takes effect at the next boot" if control.reboot else None),
        ("with GPUs", control.gpu),
    ):
        if text is not None:
            yield label, text
    if control.resources:
        why = control.lasting
        yield "undo", "can be undone" if why is None else f"cannot be undone: {why}"
    for overlay in policy.overlays.values():
        for deviation in overlay.deviations:
            if deviation.control == control.id:
                yield f"in {overlay.id}", deviation_words(deviation)
    place = policy.place("control", control.id)
    yield "written in", str(place.document.at(place.path))


def _membership(control: Control) -> Iterator[tuple[str, str]]:
    for release in RELEASES:
        if release in control.levels:
            yield f"in {release}", ", ".join(control.levels[release])
            references = reference_words(control.references.get(release))
            if references:
                yield "", references


def _settings(control: Control) -> Iterator[tuple[str, str]]:
    label = "sets"
    for resource in control.resources:
        limits = ", ".join((*resource.releases, *resource.profiles))
        yield label, resource.words() + (f"  (only {limits})" if limits else "")
        label = ""


def reference_words(references: References | None) -> str:
    """CIS sections, STIG ids and SCAP rules, in one line."""
    if references is None:
        return ""
    parts = [
        " ".join(("CIS", *references.cis)) if references.cis else "",
        " ".join(("STIG", *references.stig)) if references.stig else "",
        " ".join(("SCAP", *references.rules, *references.shared))
        if references.rules or references.shared
        else "",
    ]
    return "; ".join(filter(None, parts))


def overlay_page(policy: Policy, overlay: Overlay) -> Iterator[str]:
    """An overlay with every deviation."""
    yield from _named(overlay.id, overlay.title)
    yield ""
    yield from wrap(overlay.description, WIDTH)
    if overlay.traits:
        yield ""
        yield "what a node must be or do"
        for trait in overlay.traits:
            how = "from the inventory" if trait.derived else "said in `features`"
            yield from _item(f"  {trait.id:<{_LABEL}}  ", f"{trait.meaning} ({how})")
    for deviation in overlay.deviations:
        yield ""
        control = policy.controls.get(deviation.control)
        yield from _item(f"{deviation.control}: ", control.title if control else "")
        yield from (f"    {line}" for line in wrap(deviation_words(deviation), WIDTH - 4))
        for resource in (*deviation.replace, *deviation.extend):
            yield from _item("    sets  ", resource.words())


def deviation_words(deviation: Deviation) -> str:
    """What a deviation does, where, why, what is there instead, and for what it was reviewed."""
    what = "Left out" if deviation.leave_out else "Replaced" if deviation.replace else "Extended"
    reviewed = ", ".join(
        f"{family.upper()} {version} ({release})"
        for release, versions in deviation.reviewed.items()
        for family, version in versions.items()
    )
    return (
        f"{what}{_where(deviation.when)}. {deviation.reason}"
        f" Instead: {deviation.compensation} Reviewed for {reviewed}."
    )


def _where(when: When) -> str:
    parts: Sequence[tuple[str, Sequence[str]]] = (
        (" in ", when.profiles),
        (" on ", when.releases),
        (" for ", when.kinds),
        (" with ", when.traits),
    )
    return "".join(word + ", ".join(names) for word, names in parts if names)

"""What of a benchmark the controls answer: every rule of a SCAP profile, and where it stands.

A rule counts as implemented when a control sets what it asks for and a recorded run has shown that
it turned from fail to pass by that; see `provision.policy.recorded`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from provision.policy.datastream import RULE, DataStream, ScapBenchmark, short
from provision.policy.load import Policy
from provision.policy.model import Benchmark, Control
from provision.policy.resolve import Resolution


class State(StrEnum):
    """Where a rule stands."""

    IMPLEMENTED = "implemented"
    HELD = "held"
    """It passed on the untouched node already, and the control keeps it so."""
    UNSEEN = "not seen"
    PROVIDED = "provided"
    WAIVED = "waived"
    NOT_AUTOMATED = "not automated"
    NOT_APPLICABLE = "not applicable"
    NOT_COVERED = "not covered"


@dataclass(frozen=True)
class Covered:
    """A rule of the benchmark, the control that answers it, and why it is not implemented."""

    rule: str
    state: State
    control: str | None = None
    why: str | None = None
    checked: bool = True

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "rule": self.rule,
            "state": self.state.value,
            "control": self.control,
            "why": self.why,
            "checked": self.checked,
        }


@dataclass(frozen=True)
class Coverage:
    """Every rule that a SCAP profile selects, in the benchmark's order.

    `strangers` are rules that a control of the profile answers and the SCAP profile does not
    select, each with that control and whether the data stream has the rule at all: they do no
    harm, and no verdict will show them.
    """

    benchmark: str
    version: str
    scap_profile: str
    rules: tuple[Covered, ...]
    strangers: tuple[tuple[str, str, bool], ...] = ()

    def count(self, state: State) -> int:
        """How many rules stand at `state`."""
        return sum(rule.state is state for rule in self.rules)

    def share(self, state: State) -> str:
        """How many rules stand at `state`, of how many, and in per cent."""
        number, total = self.count(state), len(self.rules)
        if not total:
            return "0 of 0"
        return f"{number} of {total} ({100 * number / total:.1f} %)"

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "benchmark": self.benchmark,
            "version": self.version,
            "scap_profile": self.scap_profile,
            "total": len(self.rules),
            "counts": {state.value: self.count(state) for state in State},
            "rules": [rule.to_json() for rule in self.rules],
            "strangers": [
                {"rule": r, "control": c, "in_datastream": known} for r, c, known in self.strangers
            ],
        }


def coverage(
    policy: Policy,
    resolution: Resolution,
    followed: Benchmark,
    stream: DataStream,
    *,
    turned: Collection[str] | None = None,
    held: Collection[str] = (),
) -> Coverage:
    """Compare a resolved profile with the SCAP profile that it follows.

    Args:
        policy: what there is.
        resolution: what becomes of the profile's controls.
        followed: the benchmark that the profile follows.
        stream: the content to compare with.
        turned: the rules that turned from fail to pass in a recorded run. A control that sets
            something whose rule is not among them has yet to be seen to work. All count as seen
            when None.
        held: the rules that passed in one before and after.

    Raises:
        HoldfastError: the data stream has no such profile (exit code 2).
    """
    benchmark = stream.with_profile(followed.scap_profile)
    standing = _standing(resolution)
    found = []
    for rule in benchmark.selected(followed.scap_profile):
        name = short(rule.id)
        state, control, why = standing.get(name) or _elsewhere(policy, resolution, name)
        if state is State.IMPLEMENTED and turned is not None and name not in turned:
            state, why = _unturned(name in held)
        found.append(Covered(name, state, control, why, rule.checked))
    return Coverage(
        benchmark.id,
        benchmark.version,
        followed.scap_profile,
        tuple(found),
        tuple(_strangers(standing, benchmark, {rule.rule for rule in found})),
    )


def _unturned(held: bool) -> tuple[State, str]:
    if held:
        return State.HELD, "it passes on the untouched node already"
    return State.UNSEEN, "it is set, and no recorded run shows that the rule turns to pass"


Standing = tuple[State, str | None, str | None]


def _standing(resolution: Resolution) -> dict[str, Standing]:
    """By rule: where the profile's controls leave it. What keeps a rule from passing comes first,
    because a rule that two controls share passes only with both.
    """
    release, exempt = resolution.target.release, resolution.exempt_rules()
    found: dict[str, Standing] = {}
    for control in _exempted(resolution):
        for rule in control.rules(release):
            if rule in exempt:
                found.setdefault(rule, (State.WAIVED, control.id, exempt[rule].reason))
    for control, state, why in _states(resolution):
        for rule in control.rules(release):
            found.setdefault(rule, (state, control.id, why))
    return found


def _states(resolution: Resolution) -> Iterator[tuple[Control, State, str | None]]:
    """Each control with where it leaves those of its rules that are not excused."""
    for none in resolution.not_applicable:
        yield none.control, State.NOT_APPLICABLE, none.reason
    for control in resolution.not_automated:
        yield control, State.NOT_AUTOMATED, control.not_automated
    for item in resolution.applied:
        yield item.control, State.IMPLEMENTED, None
    for control in resolution.provided:
        yield control, State.PROVIDED, control.provided_by
    for out in resolution.waived:
        yield out.control, State.NOT_AUTOMATED, "its control is left out, and nothing sets it"


def _exempted(resolution: Resolution) -> list[Control]:
    changed = [item.control for item in resolution.applied if item.exemption is not None]
    return [*(out.control for out in resolution.waived), *changed]


def _elsewhere(policy: Policy, resolution: Resolution, rule: str) -> Standing:
    """A rule that no control of the profile answers; perhaps one of another profile does."""
    for control in policy.controls.values():
        if rule in control.rules(resolution.target.release):
            names = ", ".join(control.profiles(resolution.target.release))
            return State.NOT_COVERED, None, f"{control.id} answers it, in {names} only"
    return State.NOT_COVERED, None, None


def _strangers(
    standing: dict[str, Standing], benchmark: ScapBenchmark, selected: set[str]
) -> Iterator[tuple[str, str, bool]]:
    for rule, (_, control, _) in standing.items():
        if rule not in selected:
            yield rule, control or "", RULE + rule in benchmark.rules

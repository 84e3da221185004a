"""Controls, profiles and overlays: what the files below profiles/ and a site's own folders say.

A site's waivers and adoptions stand in its inventory; `provision.rack.model` has their types.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from provision.core.judging import refuse
from provision.core.shapes import Like, Listing, Model, Some, legible
from provision.core.yamlpos import shown
from provision.policy.resources import RELEASES, AnyResource, File, Release, Unit, Word
from provision.rack.model import Adoption, Waiver

__all__ = [
    "KINDS",
    "PHASES",
    "RELEASES",
    "Adoption",
    "AnyResource",
    "Benchmark",
    "Control",
    "ControlsFile",
    "Deviation",
    "Kind",
    "Overlay",
    "OverlayFile",
    "Profile",
    "ProfileFile",
    "References",
    "Release",
    "Waiver",
]

Kind = Literal["metal", "vm", "container", "image"]
KINDS: tuple[Kind, ...] = ("metal", "vm", "container", "image")
Phase = Literal["hardening", "access", "audit_trail"]
PHASES: tuple[Phase, ...] = ("hardening", "access", "audit_trail")


def _prose(value: str) -> str:
    if value != value.strip() or not value:
        raise refuse("bad-text", f"{shown(value)} begins or ends with a blank")
    return legible(value)


Identifier = Annotated[str, Like(r"[a-z0-9]+(-[a-z0-9]+)*", "an id", "sshd-no-root-login")]
ProfileName = Annotated[str, Like(r"[a-z0-9]+(_[a-z0-9]+)*", "a name", "cis_l1_server")]
Section = Annotated[str, Like(r"[0-9]+(\.[0-9]+)+", "a section of a benchmark", "'5.1.20'")]
StigId = Annotated[str, Like(r"RHEL-(09|10)-[0-9]{6}", "an id of the STIG", "RHEL-10-600230")]
Rule = Annotated[
    str,
    Like(r"(?!xccdf_)[a-z0-9][A-Za-z0-9_.-]*", "a rule without prefix", "no_empty_passwords"),
]
ScapProfile = Annotated[
    str,
    Like(r"xccdf_.+_profile_.+", "a profile's id", "xccdf_org.ssgproject.content_profile_stig"),
]
Title = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_prose)]
Prose = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_prose)]


class References(Model):
    """Where a benchmark says the same."""

    cis: Listing[Section] = Field(default=(), description="Sections of the CIS benchmark.")
    stig: Listing[StigId] = Field(default=(), description="Ids of the STIG.")
    rules: Listing[Rule] = Field(
        default=(), description="SCAP rules that this control answers, without their prefix."
    )
    shared: Listing[Rule] = Field(
        default=(),
        description="SCAP rules that another control answers too: they pass only with both.",
    )


class Condition(Model):
    """What has to be on a node for the control to mean anything: all of what is said."""

    package: Word | None = Field(default=None, description="This package is installed.")
    unit: Unit | None = Field(default=None, description="This unit exists.")
    path: File | None = Field(default=None, description="This file or folder exists.")

    @model_validator(mode="after")
    def _something(self) -> Condition:
        if (self.package, self.unit, self.path) == (None, None, None):
            raise refuse("empty", "nothing is asked", "say `package:`, `unit:` or `path:`")
        return self


class Control(Model):
    """One security requirement, as data."""

    id: Identifier = Field(description="Its name for ever: waivers and verdicts hold it.")
    title: Title = Field(description="What holds when it is applied, in a sentence.")
    rationale: Prose = Field(description="Why that is worth having.")
    levels: dict[Release, Some[ProfileName]] = Field(
        description="In which profiles it is, for each release."
    )
    references: dict[Release, References] = Field(
        default={}, description="Where benchmarks say the same, for each release."
    )
    kinds: Some[Kind] = Field(default=KINDS, description="Where it can be applied.")
    phase: Phase = Field(default="hardening", description="In which role's turn it is applied.")
    when: Condition | None = Field(default=None, description="Only where this is on the node.")
    reboot: bool = Field(default=False, description="Whether it takes effect at the next boot.")
    gpu: Prose | None = Field(default=None, description="What it does to a host with GPUs.")
    undo: Prose | None = Field(default=None, description="Why it cannot be undone.")
    resources: Listing[AnyResource] = Field(default=(), description="What it wants of a node.")
    not_automated: Prose | None = Field(
        default=None, description="Why there are no resources, and what a person has to do."
    )
    provided_by: Prose | None = Field(
        default=None, description="What else of a run does it, in place of resources."
    )

    @model_validator(mode="after")
    def _whole(self) -> Control:
        if not self.levels:
            raise refuse("empty", "it is in no profile", "add `levels:`")
        ways = (bool(self.resources), self.not_automated is not None, self.provided_by is not None)
        if sum(ways) != 1:
            hint = "one of `resources:`, `not_automated:` and `provided_by:`"
            raise refuse("bad-control", "it says nothing, or more than one thing, of how", hint)
        for release in self.references:
            if release not in self.levels:
                raise refuse("bad-control", f"it refers to {release}, where it is in no profile")
        return self

    @property
    def lasting(self) -> str | None:
        """Why not all of it can be undone; None when it can."""
        if self.undo is not None:
            return self.undo
        if any(resource.type == "package" for resource in self.resources):
            return "Packages that came or went stay so; whatever else it does is put back."
        return None

    def profiles(self, release: Release) -> tuple[str, ...]:
        """The profiles that it is in, in `release`."""
        return self.levels.get(release, ())

    def rules(self, release: Release) -> tuple[str, ...]:
        """Every SCAP rule that it answers, alone or with others."""
        found = self.references.get(release, References())
        return (*found.rules, *found.shared)

    def wanted(self, release: Release, profile: str) -> tuple[AnyResource, ...]:
        """Its resources in `release` and `profile`."""
        return tuple(
            r
            for r in self.resources
            if (not r.releases or release in r.releases)
            and (not r.profiles or profile in r.profiles)
        )


class Benchmark(Model):
    """What a profile follows in one release, and what SCAP content calls it."""

    family: Literal["cis", "stig"] = Field(description="Whose numbers the profile shows.")
    name: Title = Field(description="Its name.")
    version: Title = Field(description="The version that controls and deviations were held to.")
    scap_profile: ScapProfile = Field(description="The profile's id in SCAP content.")


class Profile(Model):
    """A named set of controls; which controls say themselves."""

    id: ProfileName = Field(description="Its name in inventories.")
    title: Title = Field(description="What it is, in a few words.")
    description: Prose = Field(description="Whom it is for, and what it costs.")
    benchmark: dict[Release, Benchmark] = Field(
        description="What it follows; a release that is not here has no such profile."
    )


class When(Model):
    """Where a deviation holds: everywhere that is not excluded by one of these."""

    releases: Listing[Release] = Field(default=(), description="Any of these releases.")
    profiles: Listing[ProfileName] = Field(default=(), description="Any of these profiles.")
    kinds: Listing[Kind] = Field(default=(), description="Any of these kinds of node.")
    traits: Listing[Identifier] = Field(
        default=(), description="What the node must be or do; all of them."
    )


class Deviation(Model):
    """One deviation from a control: it is left out, replaced, or gets more."""

    control: Identifier = Field(description="The control that it deviates from.")
    when: When = Field(default=When(), description="Where it holds; everywhere without it.")
    reason: Prose = Field(description="Why the control cannot stand as it is.")
    compensation: Prose = Field(description="What is there in the control's stead.")
    reviewed: dict[Release, dict[Literal["cis", "stig"], str]] = Field(
        description="The version of each benchmark that this was reviewed for."
    )
    excuses: Listing[Rule] | None = Field(
        default=None,
        description="The SCAP rules that fail for it; all of the control's when absent.",
    )
    leave_out: bool = Field(default=False, description="The control is not applied.")
    replace: Listing[AnyResource] = Field(default=(), description="What is applied instead.")
    extend: Listing[AnyResource] = Field(
        default=(), description="What is applied too; the control still holds."
    )

    @model_validator(mode="after")
    def _one_effect(self) -> Deviation:
        if sum((self.leave_out, bool(self.replace), bool(self.extend))) != 1:
            hint = "one of `leave_out: true`, `replace:` and `extend:`"
            raise refuse("bad-deviation", "it has no effect, or more than one", hint)
        if self.extend and self.excuses is not None:
            raise refuse("bad-deviation", "what is extended still holds; nothing is to excuse")
        return self

    @property
    def waives(self) -> bool:
        """Whether the control no longer holds as the benchmark wants it."""
        return not self.extend


class Trait(Model):
    """Something that a node is or does, on which deviations may depend."""

    id: Identifier = Field(description="Its name.")
    meaning: Prose = Field(description="What it means for a node to have it.")
    derived: bool = Field(
        default=False,
        description="Whether the inventory shows it; otherwise the site says it as a feature.",
    )


class Overlay(Model):
    """A named set of deviations. A site adopts it with owner and expiry."""

    id: ProfileName = Field(description="Its name in inventories.")
    title: Title = Field(description="What it is for, in a few words.")
    description: Prose = Field(description="Whom it is for, and where its limits are.")
    traits: Listing[Trait] = Field(default=(), description="On what its deviations may depend.")
    deviations: Some[Deviation] = Field(description="What is done otherwise.")


class ControlsFile(Model):
    """A file of controls."""

    version: Annotated[int, Field(alias="schema", ge=1, le=1)]
    controls: Some[Control]


class ProfileFile(Model):
    """A file with one profile."""

    version: Annotated[int, Field(alias="schema", ge=1, le=1)]
    profile: Profile


class OverlayFile(Model):
    """A file with one overlay."""

    version: Annotated[int, Field(alias="schema", ge=1, le=1)]
    overlay: Overlay

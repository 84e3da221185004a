"""An XCCDF 1.2 tailoring: what OpenSCAP evaluates for a profile, less what is waived.

A rule that is waived by the site or by an overlay is unselected; everything else stays as the
benchmark has it. Baselines, not tailorings, say which results are expected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

from provision.policy.datastream import RULE
from provision.policy.model import Benchmark, Profile, Release
from provision.policy.resolve import Exemption, Resolution

NAMESPACE = "http://checklists.nist.gov/xccdf/1.2"


@dataclass(frozen=True)
class Tailoring:
    """A tailoring and the id of the profile in it, by which OpenSCAP is told to evaluate it."""

    profile: str
    text: str
    unselected: tuple[str, ...]


def profile_id(profile: str, release: Release) -> str:
    """The id of the tailored profile."""
    return f"xccdf_holdfast_profile_{profile}_{release}"


def tailor(
    profile: Profile,
    resolution: Resolution,
    *,
    benchmark: str | None = None,
    known: Collection[str] | None = None,
    evaluate_waived: bool = False,
    made: datetime | None = None,
) -> Tailoring:
    """The tailoring of a profile for one target.

    Args:
        profile: the profile that `resolution` is of.
        resolution: what is applied and what is waived.
        benchmark: where the data stream is, written into the tailoring as a hint for readers;
            OpenSCAP takes the one that it is given.
        known: the rules of the benchmark by whole id; a waived rule that is none of them is left
            out, because OpenSCAP would warn of it. All are taken when None.
        evaluate_waived: leave waived rules in, so that one which passes after all is seen.
        made: when it was made; now when None.
    """
    release = resolution.target.release
    followed = profile.benchmark[release]
    exempt = {
        RULE + rule: exemption
        for rule, exemption in sorted(resolution.exempt_rules().items())
        if not evaluate_waived
        if known is None or RULE + rule in known
    }
    name = profile_id(profile.id, release)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<xccdf:Tailoring xmlns:xccdf="{NAMESPACE}" id="xccdf_holdfast_tailoring_{profile.id}">',
        f"  <xccdf:benchmark href={quoteattr(benchmark or _stream(release))}/>",
        f'  <xccdf:version time="{_time(made)}">1</xccdf:version>',
        f'  <xccdf:Profile id="{name}" extends={quoteattr(followed.scap_profile)}>',
        f'    <xccdf:title override="true">{escape(_title(profile, followed))}</xccdf:title>',
        f'    <xccdf:description override="true">{escape(_words(exempt))}</xccdf:description>',
        *_selects(exempt),
        "  </xccdf:Profile>",
        "</xccdf:Tailoring>",
    ]
    return Tailoring(name, "\n".join(lines) + "\n", tuple(exempt))


def _stream(release: Release) -> str:
    return f"ssg-rhel{release.removeprefix('el')}-ds.xml"


def _time(made: datetime | None) -> str:
    return (made or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _title(profile: Profile, followed: Benchmark) -> str:
    return f"Holdfast: {profile.title} ({followed.name}, {followed.version})"


def _words(exempt: Mapping[str, Exemption]) -> str:
    if not exempt:
        return "Every rule of the profile is evaluated."
    sources = sorted({_source(e) for e in exempt.values()})
    number = len(exempt)
    rules = f"{number} rule is" if number == 1 else f"{number} rules are"
    return f"{rules} not evaluated, by {', '.join(sources)}."


def _source(exemption: Exemption) -> str:
    return "waiver" if exemption.source == "waiver" else f"overlay {exemption.source}"


def _selects(exempt: Mapping[str, Exemption]) -> Iterable[str]:
    for rule, exemption in exempt.items():
        # The reason stands as a remark, so that an auditor finds it beside what it excuses.
        said = f"{_source(exemption)}: {exemption.reason} Owner {exemption.owner},"
        remark = " ".join(f"{said} until {exemption.expires}.".split())
        yield f'    <xccdf:select idref={quoteattr(rule)} selected="false">'
        yield f"      <xccdf:remark>{escape(remark)}</xccdf:remark>"
        yield "    </xccdf:select>"

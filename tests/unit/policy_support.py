"""Small policies and data streams for tests."""

from __future__ import annotations

from pathlib import Path

from provision.core.problems import Problem
from provision.policy.load import Policy, read_policy

PROFILES = """\
schema: 1
profile:
  id: basic
  title: Basic
  description: What every node needs.
  benchmark:
    el10: {family: cis, name: A benchmark, version: "1", scap_profile: xccdf_a_profile_basic}
    el9: {family: cis, name: A benchmark, version: "1", scap_profile: xccdf_a_profile_basic}
"""
SECOND = PROFILES.replace("basic", "strict").replace("Basic", "Strict")

RULE = "xccdf_org.ssgproject.content_rule_"


def control(name: str, resources: str = "[{type: package, name: telnet, state: absent}]", **more):
    """A control of both profiles and releases as YAML; `more` are further keys as YAML text."""
    keys = {
        "title": f"Title of {name}",
        "rationale": "Because it is so.",
        "levels": "{el10: [basic, strict], el9: [basic, strict]}",
        "references": f"{{el10: {{rules: [{name.replace('-', '_')}]}}}}",
        "resources": resources,
        **more,
    }
    lines = [f"    {key}: {value}" for key, value in keys.items() if value]
    return "\n".join([f"  - id: {name}", *lines]) + "\n"


def controls(*bodies: str) -> str:
    """A file of controls."""
    return "schema: 1\ncontrols:\n" + "".join(bodies)


def read(folder: Path, *files: str) -> tuple[Policy | None, list[Problem]]:
    """A policy of two profiles and the given files."""
    folder.mkdir(exist_ok=True)
    for number, text in enumerate((PROFILES, SECOND)):
        (folder / f"0-profile-{number}.yml").write_text(text)
    for number, text in enumerate(files):
        (folder / f"{number + 1}.yml").write_text(text)
    return read_policy([folder], ours=False)


def policy(folder: Path, *files: str) -> Policy:
    """The same, which must be free of mistakes."""
    found, problems = read(folder, *files)
    assert found is not None, [p.render() for p in problems]
    return found


def datastream(rules: dict[str, str], profile: str = "", head: str = "") -> str:
    """A data stream: rules by id with the attributes of their elements, and a profile's body."""
    body = "".join(
        f'<x:Rule id="{RULE}{name}" {attributes}><x:title>Rule  {name}</x:title>'
        '<x:check system="http://oval.mitre.org/XMLSchema/oval-definitions-5"/></x:Rule>'
        for name, attributes in rules.items()
    )
    selects = "".join(f'<x:select idref="{RULE}{name}" selected="true"/>' for name in rules)
    return (
        f'<?xml version="1.0"?>{head}'
        '<ds:data-stream-collection xmlns:ds="http://scap.nist.gov/schema/scap/source/1.2"'
        ' xmlns:x="http://checklists.nist.gov/xccdf/1.2">'
        '<ds:component id="c"><x:Benchmark id="xccdf_a_benchmark_X"><x:version>0.1</x:version>'
        f'<x:Profile id="xccdf_a_profile_basic"><x:title>Basic</x:title>{profile or selects}'
        f'</x:Profile><x:Group id="xccdf_a_group_g">{body}</x:Group></x:Benchmark>'
        "</ds:component></ds:data-stream-collection>"
    )

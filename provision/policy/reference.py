"""The reference pages of profiles and overlays, and of the files that they are written in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from provision.policy.load import Policy
from provision.policy.model import (
    RELEASES,
    Control,
    Deviation,
    Overlay,
    Profile,
    References,
    Release,
)
from provision.policy.pages import deviation_words
from provision.policy.resources import TYPES
from provision.policy.schema import json_schema

NOTE = "<!-- Written by `make docs`; do not edit. -->\n"


def profile_page(policy: Policy, profile: Profile) -> str:
    """The text of docs/reference/profile-NAME.md: every control of a profile."""
    parts = [NOTE, f"# {profile.title}\n", profile.description + "\n"]
    parts += [
        "| release | benchmark | SCAP profile | controls | by hand |",
        "|---|---|---|---|---|",
    ]
    for release in RELEASES:
        if release in profile.benchmark:
            parts.append(_benchmark_row(policy, profile, release))
    parts += [
        "",
        "Sections and ids below are those of the release in the column's head. *By hand* is what",
        "Holdfast does not set; `holdfast profile explain CONTROL` says why, and all the rest.\n",
        f"| control | what holds then | {' | '.join(RELEASES)} | how |",
        f"|---|---|{'---|' * len(RELEASES)}---|",
        *(_control_row(c, profile) for c in policy.controls.values() if _member(c, profile)),
    ]
    return "\n".join(parts) + "\n"


def _member(control: Control, profile: Profile) -> bool:
    return any(profile.id in names for names in control.levels.values())


def _benchmark_row(policy: Policy, profile: Profile, release: Release) -> str:
    followed = profile.benchmark[release]
    members = [c for c in policy.controls.values() if profile.id in c.profiles(release)]
    by_hand = sum(control.not_automated is not None for control in members)
    name = f"{followed.name}, {followed.version}"
    return f"| {release} | {name} | `{followed.scap_profile}` | {len(members)} | {by_hand} |"


def _control_row(control: Control, profile: Profile) -> str:
    families = {b.family for b in profile.benchmark.values()}
    places = []
    for release in RELEASES:
        if profile.id not in control.profiles(release):
            places.append("not in it")
            continue
        references = control.references.get(release, References())
        found = references.cis if "cis" in families else references.stig
        places.append(", ".join(found) or "-")
    return f"| `{control.id}` | {_cell(control.title)} | {' | '.join(places)} | {_how(control)} |"


def _how(control: Control) -> str:
    if control.not_automated is not None:
        return "by hand"
    if control.provided_by is not None:
        return _cell(control.provided_by)
    types = ", ".join(dict.fromkeys(r.type.replace("_", " ") for r in control.resources))
    return types + (", at the next boot" if control.reboot else "")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def overlay_page(overlay: Overlay) -> str:
    """The text of docs/reference/overlay-NAME.md: every deviation of an overlay."""
    parts = [NOTE, f"# {overlay.title}\n", overlay.description + "\n"]
    if overlay.traits:
        parts += [
            "## What a node is or does\n",
            "| trait | meaning | who says so |",
            "|---|---|---|",
        ]
        for trait in overlay.traits:
            who = "the inventory shows it" if trait.derived else "the site, in `features`"
            parts.append(f"| `{trait.id}` | {_cell(trait.meaning)} | {who} |")
        parts.append("")
    parts.append("## Deviations\n")
    for deviation in overlay.deviations:
        parts += [f"### {deviation.control}\n", deviation_words(deviation) + "\n", *_set(deviation)]
    return "\n".join(parts).rstrip() + "\n"


def _set(deviation: Deviation) -> Iterator[str]:
    for resource in (*deviation.replace, *deviation.extend):
        yield f"- {resource.words()}"
    if deviation.replace or deviation.extend:
        yield ""


def files_page() -> str:
    """The text of docs/reference/controls.md: every key of the three kinds of file."""
    schema = json_schema()
    kinds = {
        "A control": ("Control", "References", "Condition"),
        "A profile": ("Profile", "Benchmark"),
        "An overlay": ("Overlay", "Trait", "Deviation", "When"),
    }
    parts = [NOTE, _INTRODUCTION]
    for title, names in kinds.items():
        parts.append(f"## {title}\n")
        for name in names:
            parts += _table(schema, name, head=name if name != names[0] else None)
    parts += [_RESOURCES]
    by_type = _by_type(schema)
    for word in TYPES:
        parts += _table(schema, by_type[word], head=word)
    parts += _table(schema, "PamArguments", head="PamArguments")
    return "\n".join(parts).rstrip() + "\n"


_INTRODUCTION = """\
# Controls, profiles and overlays as files

What Holdfast ships lies below `profiles/`. A site adds its own in folders that
`holdfast_controls` names; those are searched for files that end in `.yml`, and each may hold any
of the three kinds. A file begins with `schema: 1`, then comes one of:

- `controls:` a list of controls. A control says in which profiles it is, so that a site adds one
  to a profile without touching the profile.
- `profile:` one profile.
- `overlay:` one overlay.

All mistakes are reported at once with file, line and column, by every verb that reads the
inventory and by `holdfast profile list --inventory INVENTORY`. A mistake is also: a name that is
not known, two controls of one profile that want different values of one thing, a SCAP rule that
two controls of one profile answer without saying so in `shared`, and a deviation that was
reviewed for another version of the benchmark than the profile follows.

In YAML a section such as `5.10`, a mode such as `0600` and words such as `no` are read as
something else than text: put them in quotes.

Editors: [policy.schema.json](../../provision/policy/policy.schema.json).
"""

_RESOURCES = """\
## Resources

What a control wants of a node. Every resource also takes `releases:` and `profiles:`, lists that
limit it to some of those in which the control is.
"""


def _by_type(schema: dict[str, Any]) -> dict[str, str]:
    """The schema's name for each resource type."""
    found = {}
    for name, body in schema["$defs"].items():
        word = body.get("properties", {}).get("type", {}).get("const")
        if word is not None:
            found[word] = name
    return found


def _table(schema: dict[str, Any], name: str, head: str | None) -> Iterator[str]:
    body = schema["$defs"][name]
    if head is not None:
        yield f"### {head}\n"
    yield " ".join(body.get("description", "").split()) + "\n"
    rows = [row for key, part in body["properties"].items() for row in _row(key, part, body)]
    if rows:
        yield "| key | value | default | meaning |"
        yield "|---|---|---|---|"
        yield from rows
        yield ""


def _row(key: str, part: dict[str, Any], body: dict[str, Any]) -> Iterator[str]:
    # Every resource has these three; the introduction says what they are.
    resource = "const" in body["properties"].get("type", {})
    if resource and key in ("type", "releases", "profiles"):
        return
    default = "required" if key in body.get("required", ()) else _default(part)
    yield f"| `{key}` | {_type(part)} | {default} | {_cell(part.get('description', ''))} |"


def _default(part: dict[str, Any]) -> str:
    default = part.get("default")
    if default in (None, [], {}):
        return "none"
    if isinstance(default, list):
        return "`[" + ", ".join(map(str, default)) + "]`"
    if isinstance(default, dict):
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _type(part: dict[str, Any]) -> str:
    """A type in words."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in part:
        return " or ".join(_type(p) for p in part["anyOf"] if p.get("type") != "null")
    if "oneOf" in part:
        return "a [resource](#resources)"
    if "enum" in part:
        return _choices(part["enum"])
    kind = part.get("type")
    if kind == "array":
        return f"list of {_type(part['items'])}".replace("list of a ", "list of ")
    if kind == "object":
        inner = _type(part.get("additionalProperties", {}))
        keys = part.get("propertyNames", {}).get("enum")
        return f"for {_choices(keys)}: {inner}" if keys else f"by name: {inner}"
    if kind == "boolean":
        return "true or false"
    return "text or number" if isinstance(kind, list) else "text"


def _choices(words: Iterable[str]) -> str:
    return " or ".join(f"`{word}`" for word in words)

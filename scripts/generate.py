"""Writes what is generated from the code: schemas and reference pages. `make docs` runs it.

scripts/generate.py            write what differs
scripts/generate.py --check    write nothing; exit 1 and name what differs
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from provision.core.files import write_whole
from provision.image.lint.docs import page as lint_page
from provision.image.schema import page as images_page
from provision.image.schema import published as image_schema
from provision.policy.reference import files_page
from provision.policy.schema import published as policy_schema
from provision.rack.reference import page as inventory_page
from provision.rack.schema import published as inventory_schema

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Written by `make docs`; do not edit. -->\n"


def stack_schema() -> str:
    """provision/supply/stack.schema.json."""
    from provision.supply.lock import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def gpus_schema() -> str:
    """provision/rehearsal/gpu/state.schema.json."""
    from provision.rehearsal.gpu.state import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def faults_page() -> str:
    """docs/reference/simulated-gpus.md: the models and faults of simulated GPUs."""
    from provision.rehearsal.gpu.reference import page

    return NOTE + page()


def cli_page() -> str:
    """docs/reference/cli.md: every verb with its arguments.

    Drawn from the parsers and not from their help texts, whose form differs between Pythons.
    """
    from provision.cli.main import build_verb_parser
    from provision.cli.registry import VERBS
    from provision.core.exitcodes import ExitCode

    parts = [NOTE, CLI_INTRODUCTION, "## Exit codes\n", *map(_exit_row, ExitCode), ""]
    for name, verb in VERBS.items():
        parser = build_verb_parser(name, verb)
        parts += [_parser_section(p, "##") for p in (parser, *_children(parser))]
    return "\n".join(parts)


CLI_INTRODUCTION = """\
# The command

`holdfast VERB ...`. Every verb takes `--json` and then prints one JSON document on stdout; when it
could not do its work, that document has the schema `holdfast.error/1` and lists the problems.
Problems otherwise go to stderr: what, where, why, and what to do. `NO_COLOR` is honoured.
"""


def _exit_row(code: Any) -> str:
    said = {
        0: "nothing fails; `plan` exits 0 with changes pending",
        1: "something fails or is unknown",
        2: "bad input or usage; nothing was contacted",
        3: "could not run or finish: unreachable, refused by preflight, locked, internal",
        130: "interrupted by a signal; `--resume` continues",
    }
    return f"- {int(code)}: {said[int(code)]}"


def _parser_section(parser: argparse.ArgumentParser, level: str) -> str:
    deeper = "#" if len(parser.prog.split()) > 2 else ""
    lines = [f"{level}{deeper} {parser.prog}\n", (parser.description or "") + "\n"]
    rows = [row for action in parser._actions for row in _argument_row(action)]
    if rows:
        lines += ["| argument | meaning | default |", "|---|---|---|", *rows, ""]
    if parser.epilog:
        lines.append(_fenced(parser.epilog))
    return "\n".join(lines)


def _argument_row(action: argparse.Action) -> Iterator[str]:
    if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
        return
    value = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    shown = value if isinstance(value, str) else " ".join(value)
    if action.choices is not None:
        shown = ",".join(map(str, action.choices))
    takes = action.nargs != 0
    names = ", ".join(action.option_strings)
    word = f"{names} {shown}" if names and takes else names or shown
    default = action.default
    plain = default in (None, False, argparse.SUPPRESS) or not names
    meaning = (action.help or "") % {**vars(action), "prog": "holdfast"}
    yield f"| `{_cell(word)}` | {_cell(meaning)} | {'' if plain else f'`{_cell(str(default))}`'} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def stack_page() -> str:
    """docs/reference/stack-lock.md: every key of a stack lock."""
    from provision.supply.lock import json_schema

    schema = json_schema()
    tables = [_object_table("The lock", schema, schema)]
    tables += [_object_table(n, body, schema) for n, body in schema["$defs"].items()]
    return "\n".join([NOTE, STACK_INTRODUCTION, *tables])


STACK_INTRODUCTION = """\
# The stack lock

`stack.lock.json` pins everything that a rack is built from: every RPM, image, model and wheel by
digest, every signer by fingerprint, every origin by address. Roles read versions and origins
from it and from nowhere else.

- `holdfast stack show LOCK` lists it, with licence and reason for each artefact.
- `holdfast stack check LOCK` judges it: all mistakes at once, each with line and column.
- `holdfast stack check LOCK --files DIR` compares the bytes below `DIR` with it. A file that is
  not there is `unknown`, and exits 1 like one that differs.

Beyond the types below these must hold: every name of an origin, key or repository exists; nothing
is pinned twice; an RPM's release and architecture are its repository's; a key's fingerprint is
the one computed from the key itself; a model's `entry` is one of its files.

`gpu` locks kernel, module, driver and all that goes with it as one unit, one for each release and
architecture that has nodes with GPUs. Every package of a unit is one of `rpms`; every kernel has
its module; fabric manager, NSCQ and IMEX are of the driver's very version; DKMS has the headers of
each kernel and what it builds with; modules that a distribution or the site signs name their
signer; an image with `cuda` runs on the driver. [Who supplies modules](gpu-supply.md) says which
provider fits which node. `holdfast.stack/1`, which has neither `gpu` nor `cuda`, is still read.

An RPM whose `roles` is empty is only a dependency. `licence_class` is `open` (free software or
open weights), `redistributable` (may be passed on unchanged) or `proprietary` (each site fetches
it itself under the vendor's terms).

Editors: [stack.schema.json](../../provision/supply/stack.schema.json).
"""


def gpu_page() -> str:
    """docs/reference/gpu-supply.md: who supplies the GPU driver's module, and what CUDA needs."""
    from provision.supply.gpu.pages import page

    return f"{NOTE}\n{page()}"


def roles_page() -> str:
    """docs/reference/roles.md: every role's interface, from its own argument_specs."""
    import yaml

    parts = [NOTE, ROLES_INTRODUCTION]
    for spec in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        main = yaml.safe_load(spec.read_text(encoding="utf-8"))["argument_specs"]["main"]
        parts.append(f"## {spec.parents[1].name}\n\n{main['short_description']}.\n")
        parts.append(_sentences(main.get("description", "")) + "\n")
        rows = [_option_row(name, option) for name, option in main.get("options", {}).items()]
        if rows:
            parts += ["| variable | type | default | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(parts)


ROLES_INTRODUCTION = """\
# The roles

Each role is usable alone; these are its variables. In a rack they are not set by hand: the
playbooks fill them from the inventory and the stack lock.
"""

_MARKUP = re.compile(r"\b[BCIMV]\(([^)]*)\)")


def _sentences(text: str | list[str]) -> str:
    """Ansible's documentation markup as Markdown, on one line."""
    joined = " ".join(text) if isinstance(text, list) else text
    return _MARKUP.sub(r"`\1`", joined).strip()


def _option_row(name: str, option: dict[str, Any]) -> str:
    kind = option.get("type", "str")
    if "elements" in option:
        kind += f" of {option['elements']}"
    default = "required" if option.get("required") else ""
    if "default" in option:
        default = f"`{_cell(json.dumps(option['default'], ensure_ascii=False))}`"
    meaning = _sentences(option.get("description", ""))
    if "choices" in option:
        meaning += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
    return f"| `{name}` | {kind} | {default} | {_cell(meaning)} |"


def _object_table(title: str, body: dict[str, Any], schema: dict[str, Any]) -> str:
    required = set(body.get("required", ()))
    rows = [
        f"| `{name}` | {_type(part, schema)} | {'yes' if name in required else 'no'} |"
        for name, part in body["properties"].items()
    ]
    about = body.get("description", "").replace("\n", " ")
    head = f"## {title}\n\n{about}\n" if about else f"## {title}\n"
    return "\n".join([head, "| key | value | required |", "|---|---|---|", *rows, ""])


def _type(part: dict[str, Any], schema: dict[str, Any]) -> str:
    """A JSON Schema type in words."""
    if "$ref" in part:
        name = part["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in part:
        return _type(next(p for p in part["anyOf"] if p.get("type") != "null"), schema)
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return " or ".join(f"`{choice}`" for choice in part["enum"])
    if part.get("type") == "array":
        return f"list of {_type(part['items'], schema)}"
    if part.get("type") == "object":
        return f"by name, {_type(next(iter(part['patternProperties'].values())), schema)}"
    kind = {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(
        part.get("type", ""), "value"
    )
    if "pattern" in part:
        return kind + f" like `{part['pattern']}`".replace("|", "\\|")
    return kind + (f", at least {part['minimum']}" if "minimum" in part else "")


def policy_pages() -> dict[str, Callable[[], str]]:
    """docs/reference/profile-NAME.md and overlay-NAME.md, from the data that ships."""
    from provision.policy.load import load_policy
    from provision.policy.reference import overlay_page, profile_page

    policy = load_policy()
    pages: dict[str, Callable[[], str]] = {}
    for profile in policy.profiles.values():
        pages[f"docs/reference/profile-{profile.id}.md"] = partial(profile_page, policy, profile)
    for overlay in policy.overlays.values():
        pages[f"docs/reference/overlay-{overlay.id}.md"] = partial(overlay_page, overlay)
    return pages


def _children(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    from provision.cli.main import leaves

    return (leaf for leaf in leaves(parser) if leaf is not parser)


def _fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


def audit_pages() -> dict[str, Callable[[], str]]:
    """docs/reference/audit/: a page for each check of the node audit, and the tables of codes."""
    from provision.health.docs import pages

    made = pages() | {"docs/reference/audit/fixtures.md": _fixtures()}
    return {name: partial(str.__add__, NOTE, text) for name, text in made.items()}


def _fixtures() -> str:
    """The table check x fixture, which the tests hold."""
    sys.path.insert(0, str(ROOT))
    from tests.unit.health_fixtures import page

    return page()


PAGES: dict[str, Callable[[], str]] = {
    "provision/rack/inventory.schema.json": inventory_schema,
    "docs/reference/inventory.md": inventory_page,
    "provision/supply/stack.schema.json": stack_schema,
    "provision/rehearsal/gpu/state.schema.json": gpus_schema,
    "docs/reference/simulated-gpus.md": faults_page,
    "docs/reference/stack-lock.md": stack_page,
    "docs/reference/gpu-supply.md": gpu_page,
    "docs/reference/roles.md": roles_page,
    "docs/reference/cli.md": cli_page,
    "provision/policy/policy.schema.json": policy_schema,
    "docs/reference/controls.md": files_page,
    "provision/image/image.schema.json": image_schema,
    "docs/reference/images.md": lambda: f"{NOTE}\n{images_page()}",
    "docs/reference/image-lint.md": lambda: f"{NOTE}\n{lint_page()}",
}


def main() -> int:
    """Write or check every page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, make in {**PAGES, **policy_pages(), **audit_pages()}.items():
        path, text = ROOT / name, make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
    for name in stale:
        print(f"{'stale' if check else 'wrote'} {name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

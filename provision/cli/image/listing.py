"""`holdfast image list`: the definitions, each judged."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from provision.cli.output import print_document, table, width_of
from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, Problem
from provision.image.definition import Definition
from provision.image.load import find, ours, read

SCHEMA = "holdfast.images/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("image", nargs="*", metavar="NAME|FILE",
                        help="an image by name, or a definition's file; all of ours without"
                        )  # fmt: skip


def run(args: argparse.Namespace) -> ExitCode:
    """Show them.

    Raises:
        HoldfastError: with every mistake in any of them (exit code 2).
    """
    paths = [find(name) for name in args.image] or list(ours().values())
    found: list[tuple[Definition, Path]] = []
    problems: list[Problem] = []
    for path in paths:
        definition, wrong = read(path)
        problems += wrong
        if definition is not None:
            found.append((definition, path))
    if problems:
        raise HoldfastError(problems, ExitCode.USAGE)
    if args.json:
        print_document({"schema": SCHEMA, "images": [_document(*one) for one in found]})
        return ExitCode.OK
    rows = [_row(one) for one, _ in found]
    headings = ("IMAGE", "RELEASE", "BASE", "PROFILE", "FORMATS", "WHAT FOR")
    for line in table(headings, rows, width_of()):
        print(line)
    return ExitCode.OK


def _row(one: Definition) -> tuple[str, ...]:
    return (one.name, f"{one.release} {one.arch}", one.base, one.profile, ", ".join(one.formats),
            one.title)  # fmt: skip


def _document(one: Definition, path: Path) -> dict[str, Any]:
    return {**one.model_dump(mode="json"), "file": str(path), "digest": one.digest}

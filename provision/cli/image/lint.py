"""`holdfast image lint`: what must not be in an image."""

from __future__ import annotations

import argparse
from pathlib import Path

from provision import __version__
from provision.cli.image.judging import add_lists, canaries
from provision.cli.image.looking import Looked, add_image, looked_at, shown
from provision.cli.output import print_document, table, width_of
from provision.core.exitcodes import ExitCode
from provision.core.problems import fail
from provision.image.lint import privileged
from provision.image.lint.checks import CHECKS
from provision.image.lint.judge import Linted, lint
from provision.image.stage_scan import privileged_place
from provision.verdict.model import NodeSummary, Verdict

LIST_SCHEMA = "holdfast.image-checks/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    add_image(parser, optional=True)
    parser.add_argument("--list", action="store_true", help="list the checks and what they are for")
    parser.add_argument("--skip", metavar="ID", action="append", default=[],
                        help="leave this check out; each takes a --because")  # fmt: skip
    parser.add_argument("--because", metavar="TEXT", action="append", default=[],
                        help="why the check before it is left out")  # fmt: skip
    add_lists(parser)
    parser.add_argument("--record", action="store_true",
                        help="write that list as the image has it now")  # fmt: skip


def run(args: argparse.Namespace) -> ExitCode:
    """Look, and say what is wrong.

    Raises:
        HoldfastError: the arguments or the image are wrong (exit code 2).
    """
    if args.list:
        return _list(args)
    if args.image is None:
        raise _usage("there is nothing to look at", "IMAGE", "name an image, or ask for --list")
    if len(args.skip) != len(args.because):
        raise _usage("every --skip takes a --because that says why", "--skip", None)
    with looked_at(args) as image:
        place = _place(args, image)
        known = privileged.read(place) if place is not None else None
        found = lint(image.root, image.sandbox, image=image.name, privileged=known,
                     canaries=canaries(args.canaries),
                     skip=dict(zip(args.skip, args.because, strict=True)))  # fmt: skip
        if args.record:
            return _record(args, place, found)
    verdict = Verdict("image-lint", image.name, "", (NodeSummary(image.name, kind="image"),),
                      found.findings, tool=__version__)  # fmt: skip
    shown(verdict, as_json=args.json)
    return verdict.exit_code


def _place(args: argparse.Namespace, image: Looked) -> Path | None:
    if args.privileged is not None:
        if not args.record and not args.privileged.is_file():
            raise _usage(f"there is no {args.privileged}", "--privileged", None)
        given: Path = args.privileged
        return given
    return privileged_place(image.definition) if image.definition is not None else None


def _record(args: argparse.Namespace, place: Path | None, found: Linted) -> ExitCode:
    if place is None:
        raise _usage("nothing says where to", "--record", "say --of NAME, or --privileged FILE")
    privileged.write(place, found.privileged)
    if args.json:
        print_document({"schema": "holdfast.image-privileged/1", "file": str(place),
                        "privileged": list(found.privileged)})  # fmt: skip
    else:
        print(f"{place}: {len(found.privileged)} programs run with another's rights")
    return ExitCode.OK


def _list(args: argparse.Namespace) -> ExitCode:
    if args.json:
        rows = [
            {"id": one.id, "title": one.title, "severity": one.severity.value, "why": one.why,
             "fix": one.fix, "gates": not one.notes}
            for one in CHECKS.values()
        ]  # fmt: skip
        print_document({"schema": LIST_SCHEMA, "checks": rows})
        return ExitCode.OK
    rows_ = [(one.id, one.severity.value, one.title) for one in CHECKS.values()]
    for line in table(("CHECK", "SEVERITY", "HOLDS WHEN"), rows_, width_of()):
        print(line)
    return ExitCode.OK


def _usage(message: str, where: str, hint: str | None) -> Exception:
    return fail("usage", message, where=where, hint=hint, exit_code=ExitCode.USAGE)

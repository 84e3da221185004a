"""What verbs that build an image are given, and where the base of a rehearsal comes from."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from provision.core.events import EventSink
from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, fail
from provision.image.build import epoch_of
from provision.image.definition import FORMATS, Definition
from provision.image.load import find, load
from provision.image.work import Given


def add_given(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what is built, and of what."""
    parser.add_argument("image", metavar="NAME|FILE",
                        help="an image by name, or a definition's file")  # fmt: skip
    parser.add_argument("--base", choices=("el", "rehearsal"),
                        help="make the tree of this, whatever the definition says")  # fmt: skip
    parser.add_argument("--stack", metavar="LOCK", type=Path,
                        help="the stack lock that pins every package")  # fmt: skip
    parser.add_argument("--files", metavar="DIR", type=Path,
                        help="the folder with what the stack lock pins")  # fmt: skip
    parser.add_argument("--format", metavar="FORMAT", choices=FORMATS, action="append",
                        help="make only this format; several times for several")  # fmt: skip


def definition_of(args: argparse.Namespace) -> Definition:
    """The definition, with what the command line asks for instead.

    Raises:
        HoldfastError: every mistake in it (exit code 2).
    """
    asked: dict[str, Any] = {}
    found = load(find(args.image)).definition
    if args.base:
        asked["base"] = args.base
    if args.format:
        asked["formats"] = tuple(one for one in FORMATS if one in args.format)
    return _judged(found.model_copy(update=asked), args.image) if asked else found


def _judged(changed: Definition, name: str) -> Definition:
    """What the command line changed still has to fit."""
    from provision.core.problems import Problem
    from provision.image.fitting import misfits

    wrong = [
        Problem(one.code, one.message, where=name, hint=one.hint)
        for one in misfits(changed)
        # A format less leaves what is only for it without effect, and that is what was asked for.
        if one.code != "no-effect"
    ]
    if wrong:
        raise HoldfastError(wrong, ExitCode.USAGE)
    return changed


def given_of(
    args: argparse.Namespace, definition: Definition, environ: dict[str, str], events: EventSink
) -> Given:
    """What the stages are given; the base of a rehearsal is built where it is not there yet.

    Raises:
        HoldfastError: a file is not there (exit code 2), or the base could not be built.
    """
    for option, path in (("--stack", args.stack), ("--files", args.files)):
        if path is not None and not path.exists():
            raise fail("no-file", f"there is no {path}", where=option, exit_code=ExitCode.USAGE)
    found = Given(lock=args.stack, files=args.files)
    if definition.base == "rehearsal":
        from provision.rehearsal.image_base import image_base

        epoch = epoch_of(definition, environ)
        return replace(found, base=image_base(str(definition.release), epoch, events))
    return found

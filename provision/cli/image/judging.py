"""What verbs that judge an image may be given instead of what ships with Holdfast, or beside it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, fail
from provision.image.stage_scan import BASELINES, CANARIES, PRIVILEGED


def add_judged(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what a tree is held against."""
    parser.add_argument("--baselines", metavar="DIR", type=Path,
                        help="a folder of baselines, looked into before ours")  # fmt: skip
    add_lists(parser)


def add_lists(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the lint: what may run with another's rights, and what must not lie."""
    parser.add_argument("--privileged", metavar="FILE", type=Path,
                        help="the list of programs that may run with another's rights")  # fmt: skip
    parser.add_argument("--canaries", metavar="FILE", type=Path,
                        help="secrets of which no copy may be in it, a line each")  # fmt: skip


def judged_by(args: argparse.Namespace) -> dict[str, Any]:
    """What stage scan is given of that.

    Raises:
        HoldfastError: one is not there or cannot be read (exit code 2).
    """
    found: dict[str, Any] = {}
    if args.baselines is not None:
        if not args.baselines.is_dir():
            raise _no(f"there is no folder {args.baselines}", "--baselines")
        found[BASELINES] = (args.baselines,)
    if args.privileged is not None:
        if not args.privileged.is_file():
            raise _no(f"there is no {args.privileged}", "--privileged")
        found[PRIVILEGED] = args.privileged
    if args.canaries is not None:
        found[CANARIES] = canaries(args.canaries)
    return found


def canaries(path: Path | None) -> tuple[str, ...]:
    """The secrets in a file, a line each; none without one.

    Raises:
        HoldfastError: it cannot be read (exit code 2).
    """
    if path is None:
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise _no(f"{path} cannot be read: {why}", "--canaries") from error
    return tuple(line for line in lines if line.strip())


def _no(message: str, where: str) -> HoldfastError:
    return fail("no-file", message, where=where, exit_code=ExitCode.USAGE)

"""`holdfast image rollback NAME`: let a channel name the image that it named before."""

from __future__ import annotations

import argparse

from provision.cli.image.publishing import add_store, tell
from provision.core.exitcodes import ExitCode
from provision.image.keys import read_public
from provision.image.publishing import roll_back


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("name", metavar="NAME", help="the image's name")
    add_store(parser)
    parser.add_argument("--to", metavar="DIGEST",
                        help="the digest of an image that the channel named before, or its begin;"
                        " the last one without")  # fmt: skip


def run(args: argparse.Namespace) -> ExitCode:
    """Roll back.

    Raises:
        HoldfastError: the channel named no such image (exit code 2), or it does not verify (1).
    """
    digest = args.to.removeprefix("sha256:") if args.to else None
    key = read_public(args.key)
    tell(roll_back(args.store, args.name, args.channel, key, digest), as_json=args.json)
    return ExitCode.OK

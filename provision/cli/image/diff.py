"""`holdfast image diff A B`: what differs between two images."""

from __future__ import annotations

import argparse
from pathlib import Path

from provision.cli.output import print_document, screen, width_of
from provision.cli.running import require_files
from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.image.described import describe
from provision.image.difference import difference
from provision.image.keys import read_public
from provision.image.pages import difference_page
from provision.image.shown import difference_text


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("one", metavar="A", type=Path, help="the folder of an image")
    parser.add_argument("other", metavar="B", type=Path, help="the folder of another")
    parser.add_argument("--key", metavar="PUB", type=Path,
                        help="the public key of whoever must have signed both")  # fmt: skip
    add_shown(parser)


def add_shown(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how the result is shown."""
    parser.add_argument("--html", metavar="FILE", type=Path,
                        help="write it as one HTML file as well")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="show every line on the terminal")


def run(args: argparse.Namespace) -> ExitCode:
    """Compare.

    Raises:
        HoldfastError: an image cannot be read (exit code 2), or is not as it was signed (1).
    """
    require_files({"--html": args.html})
    key = read_public(args.key) if args.key is not None else None
    found = difference(describe(args.one, key), describe(args.other, key))
    if args.html is not None:
        write_whole(args.html, difference_page(found))
    if args.json:
        print_document(found.to_json())
    else:
        colour = screen().colour
        print(difference_text(found, width=width_of(), colour=colour, every=args.all), end="")
    return ExitCode.OK

"""`holdfast image publish DIR`: let a channel name an image."""

from __future__ import annotations

import argparse
from pathlib import Path

from provision.cli.image.verifying import add_public
from provision.cli.output import print_document, style
from provision.core.exitcodes import ExitCode
from provision.image.keys import read_public
from provision.image.publishing import CHANNELS, Pointer, publish

SCHEMA = "holdfast.image-published/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="the image's folder")
    add_store(parser)


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a channel of a store."""
    parser.add_argument("--store", metavar="DIR", type=Path, required=True,
                        help="the folder that images are published in")  # fmt: skip
    parser.add_argument("--channel", choices=CHANNELS, required=True, help="which channel")
    add_public(parser)


def run(args: argparse.Namespace) -> ExitCode:
    """Publish it.

    Raises:
        HoldfastError: it does not verify, or its gate did not pass (exit code 1).
    """
    found, _ = publish(args.folder, args.store, args.channel, read_public(args.key))
    tell(found, as_json=args.json)
    return ExitCode.OK


def tell(found: Pointer, *, as_json: bool) -> None:
    """Say what a channel names now."""
    if as_json:
        print_document({"schema": SCHEMA, **found.model_dump(mode="json", exclude={"schema_"})})
        return
    print(style(f"{found.channel}: {found.name} is sha256:{found.digest}", "good"))
    if found.before:
        print(f"before: sha256:{found.before[0]}")

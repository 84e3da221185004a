"""`holdfast image netboot INVENTORY`: what existing servers need so that nodes start an image."""

from __future__ import annotations

import argparse
from pathlib import Path

from provision.cli.image.verifying import add_public
from provision.cli.inputs import load_rack
from provision.cli.output import print_document
from provision.cli.running import LIMIT_HELP
from provision.core.exitcodes import ExitCode
from provision.image import netserving
from provision.image.keys import read_public
from provision.image.verification import verify_image

SCHEMA = "holdfast.image-netboot/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("inventory", type=Path, help="the inventory of the rack")
    parser.add_argument("--image", metavar="DIR", type=Path, required=True,
                        help="the image's folder, with the format netboot")  # fmt: skip
    add_public(parser)
    parser.add_argument("--url", metavar="URL", required=True,
                        help="where nodes will find what is written into DIR/http")  # fmt: skip
    parser.add_argument("--network", metavar="CIDR", required=True,
                        help="the network that nodes start in, as in 192.0.2.0/24")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", type=Path, required=True,
                        help="the folder to write to")  # fmt: skip
    parser.add_argument("--limit", metavar="PATTERN", help=LIMIT_HELP)


def run(args: argparse.Namespace) -> ExitCode:
    """Write it.

    Raises:
        HoldfastError: the inventory or an argument is wrong (exit code 2), or the image is not what
            was signed (exit code 1).
    """
    place = netserving.site(args.url, args.network)
    rack = load_rack(args.inventory, unkeyed=True).rack
    if args.limit:
        rack = rack.limit(args.limit)
    image = verify_image(args.image, read_public(args.key))
    written = netserving.write(rack, image, place, args.out)
    if args.json:
        print_document({"schema": SCHEMA, "image": image.manifest.name,
                        "digest": image.manifest.digest,
                        "files": [str(path) for path in written]})  # fmt: skip
    else:
        for path in written:
            print(path)
    return ExitCode.OK

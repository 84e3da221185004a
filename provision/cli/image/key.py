"""`holdfast image key DIR`: keys to sign images with, and keys for Secure Boot."""

from __future__ import annotations

import argparse
from pathlib import Path

from provision.cli.image.signing import add_secret
from provision.cli.output import print_document
from provision.core.exitcodes import ExitCode
from provision.image.keys import fingerprint, read_public
from provision.image.secureboot import make_image_key, make_keys
from provision.rack.secrets import read_secret

SCHEMA = "holdfast.image-keys/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder that gets the keys")
    add_secret(parser)
    parser.add_argument("--secure-boot", metavar="OWNER",
                        help="make PK, KEK and db for Secure Boot instead; OWNER is what their"
                        " certificates call you")  # fmt: skip


def run(args: argparse.Namespace) -> ExitCode:
    """Make them.

    Raises:
        HoldfastError: a key is there already, or the passphrase cannot be read (exit code 2).
    """
    if args.secure_boot is not None:
        paths = make_keys(args.folder, args.secure_boot)
        marks = None
    else:
        phrase = read_secret(args.secret, Path.cwd()) if args.secret is not None else None
        paths = list(make_image_key(args.folder, phrase))
        marks = fingerprint(read_public(paths[1]))
    if args.json:
        print_document({"schema": SCHEMA, "files": [str(p) for p in paths], "fingerprint": marks})
        return ExitCode.OK
    for path in paths:
        print(f"{path}{'  (keep this one secret)' if path.suffix == '.key' else ''}")
    if marks is not None:
        print(f"fingerprint {marks}")
    return ExitCode.OK

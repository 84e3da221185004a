"""`holdfast image verify DIR --key PUB`: whether a folder is the image that was signed."""

from __future__ import annotations

import argparse
from pathlib import Path

from provision.cli.output import print_document, style
from provision.core.exitcodes import ExitCode
from provision.image.keys import fingerprint, read_public
from provision.image.verification import verify_image

SCHEMA = "holdfast.image-verified/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="the image's folder")
    add_public(parser)


def add_public(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says by whom images must be signed."""
    parser.add_argument("--key", metavar="PUB", type=Path, required=True,
                        help="the public key of whoever must have signed it")  # fmt: skip


def run(args: argparse.Namespace) -> ExitCode:
    """Verify it.

    Raises:
        HoldfastError: with every file that is not as it was signed (exit code 1).
    """
    key = read_public(args.key)
    found = verify_image(args.folder, key)
    manifest = found.manifest
    if args.json:
        print_document({"schema": SCHEMA, "image": manifest.name, "digest": manifest.digest,
                        "signed_by": fingerprint(key), "files": len(manifest.parts),
                        "bytes": found.bytes, "forced": manifest.gate.forced})  # fmt: skip
        return ExitCode.OK
    if manifest.gate.forced is not None:
        print(style(f"its gate was passed by force: {manifest.gate.forced}", "warn"))
    print(style(f"{manifest.name}: all {len(manifest.parts)} files are as they were signed"
                f" ({found.bytes / 2**20:.0f} MiB)", "good"))  # fmt: skip
    print(f"sha256:{manifest.digest}, by key {fingerprint(key)[:16]}")
    return ExitCode.OK

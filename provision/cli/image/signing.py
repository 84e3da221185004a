"""What verbs that sign are given: the key, where its secret is, and keys for Secure Boot."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.problems import fail
from provision.image.keys import open_signer
from provision.image.stage_sign import SECURE_BOOT, SIGNER
from provision.rack.secrets import SecretRef


def add_signing(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say with what an image is signed."""
    parser.add_argument("--key", metavar="KEY",
                        help="sign the image with this: a key file, or a pkcs11: URI; without it"
                        " the image is not signed")  # fmt: skip
    add_secret(parser)
    parser.add_argument("--secure-boot", metavar="DIR", type=Path,
                        help="sign what firmware starts with the keys in this folder, which"
                        " `holdfast image key --secure-boot` made")  # fmt: skip


def add_secret(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says where the key's passphrase, or the token's PIN, is."""
    parser.add_argument("--secret", metavar="REF", type=_reference,
                        help="where the key's passphrase, or the token's PIN, is: file:PATH or"
                        " env:NAME")  # fmt: skip


def _reference(text: str) -> SecretRef:
    try:
        return SecretRef.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def signing_of(args: argparse.Namespace) -> dict[str, Any]:
    """What stage sign is given; nothing where nothing is to be signed.

    Raises:
        HoldfastError: the key cannot be used (exit code 2).
    """
    if args.key is None:
        for option in ("secret", "secure_boot"):
            if getattr(args, option) is not None:
                where = f"--{option.replace('_', '-')}"
                raise fail("usage", "this needs --key", where=where, exit_code=ExitCode.USAGE)
        return {}
    found: dict[str, Any] = {SIGNER: open_signer(args.key, args.secret)}
    if args.secure_boot is not None:
        found[SECURE_BOOT] = args.secure_boot
    return found

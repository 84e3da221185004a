"""`holdfast image kickstart NAME|FILE`: the image's definition for EL's own installer."""

from __future__ import annotations

import argparse
from pathlib import Path

from provision.cli.output import print_document
from provision.cli.running import require_files
from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.problems import fail
from provision.image.kickstart import Site, render
from provision.image.load import find, load

SCHEMA = "holdfast.image-kickstart/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("image", metavar="NAME|FILE",
                        help="an image by name, or a definition's file")  # fmt: skip
    parser.add_argument("--url", required=True, metavar="URL",
                        help="where the installer finds packages; cdrom for its own medium"
                        )  # fmt: skip
    parser.add_argument("--repo", action="append", default=[], metavar="NAME=URL",
                        help="one more package repository; several times for several")  # fmt: skip
    parser.add_argument("--user", required=True, metavar="NAME",
                        help="whom `holdfast up` logs in as")  # fmt: skip
    parser.add_argument("--ssh-key", required=True, metavar="FILE", type=Path,
                        help="that user's public SSH key")  # fmt: skip
    parser.add_argument("--disk", default="", metavar="DISK",
                        help="the disk that is written over (nvme0n1); every disk without it"
                        )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", type=Path,
                        help="write it there instead of to the screen")  # fmt: skip


def run(args: argparse.Namespace) -> ExitCode:
    """Render it.

    Raises:
        HoldfastError: the definition, or what the site gives, is wrong (exit code 2).
    """
    definition = load(find(args.image)).definition
    require_files({"--out": args.out})
    repositories = [_pair(one) for one in args.repo]
    site = Site(args.url, args.user, _key(args.ssh_key), args.disk, tuple(repositories))
    text = render(definition, site)
    if args.out is not None:
        write_whole(args.out, text)
    if args.json:
        print_document({"schema": SCHEMA, "image": definition.name, "kickstart": text})
    elif args.out is None:
        print(text, end="")
    return ExitCode.OK


def _pair(given: str) -> tuple[str, str]:
    name, equals, url = given.partition("=")
    if not equals:
        raise fail("bad-repository", f"{given!r} names no address", where="--repo",
                   hint="as in --repo appstream=https://mirror.example.org/AppStream",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    return name, url


def _key(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise fail("no-key", f"{path} cannot be read: {error}", where="--ssh-key",
                   exit_code=ExitCode.USAGE) from error  # fmt: skip

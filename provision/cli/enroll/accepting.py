"""`holdfast enroll accept INVENTORY [NODE=FINGERPRINT ...]`: claimed keys become known keys."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from provision.cli.enroll.opening import SCHEMA, claims
from provision.cli.inputs import load_rack
from provision.cli.output import print_document, style
from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.problems import fail
from provision.image.enrolment import window
from provision.image.enrolment.book import Book, book_of
from provision.image.enrolment.program import fingerprint
from provision.rack.model import Rack


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("inventory", type=Path, help="the inventory of the rack")
    parser.add_argument("shown", nargs="*", metavar="NODE=FINGERPRINT",
                        help="what a node's console shows, as in gpu-01=SHA256:...")  # fmt: skip
    parser.add_argument("--trust-network", action="store_true",
                        help="accept every claim without comparing: nobody but the rack's nodes was"
                        " in their network")  # fmt: skip


def run(args: argparse.Namespace) -> ExitCode:
    """Accept.

    Raises:
        HoldfastError: an argument is wrong (exit code 2), or a claim is not what a console shows,
            and then none is accepted (exit code 1).
    """
    rack = load_rack(args.inventory, unkeyed=True).rack
    shown = dict(_pair(rack, one) for one in args.shown)
    book = book_of(rack.name)
    # While a window is open a second claim may still come, which no console was asked about; what
    # came until it was closed is read after that.
    with book.lock() if args.trust_network else nullcontext():
        book = book_of(rack.name)
        if args.trust_network:
            shown = _waiting(rack, book) | shown
        if shown:
            window.accept(rack, book, shown)
    _said(rack, book, as_json=args.json)
    return ExitCode.OK


def _waiting(rack: Rack, book: Book) -> dict[str, str]:
    """The nodes whose claims wait to be accepted, each without a fingerprint."""
    names = _names(rack)
    return {
        name: ""
        for name, one in book.nodes.items()
        if name in names and one.claims and (one.contested or one.accepted != one.claimed)
    }


def _names(rack: Rack) -> list[str]:
    return [node.name for node in rack.nodes]


def _pair(rack: Rack, given: str) -> tuple[str, str]:
    name, _, print_ = given.partition("=")
    if not print_.startswith("SHA256:"):
        raise fail("usage", f"{given!r} names no node with its fingerprint",
                   hint="as in gpu-01=SHA256:..., whole, as the node's console shows it",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    if name not in _names(rack):
        raise fail("unknown-node", f"there is no node {name!r}", hint=suggest(name, _names(rack)),
                   exit_code=ExitCode.USAGE)  # fmt: skip
    return name, print_


def _said(rack: Rack, book: Book, *, as_json: bool) -> None:
    names = _names(rack)
    if as_json:
        print_document({"schema": SCHEMA, "exit_code": 0, "nodes": claims(book, names)})
        return
    for name, standing in book.nodes.items():
        if name not in names:
            continue
        if standing.contested:
            print(style(f"{name}  two host keys were claimed: it is given to neither", "bad"))
        elif standing.claimed and standing.accepted == standing.claimed:
            print(style(f"{name}  {fingerprint(standing.claimed)}  accepted", "good"))
        elif standing.claimed:
            print(f"{name}  {fingerprint(standing.claimed)}  claimed")
        else:
            print(f"{name}  may claim")

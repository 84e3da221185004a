"""`holdfast enroll open INVENTORY`: tokens are laid out, and claims answered, for a while."""

from __future__ import annotations

import argparse
import ipaddress
import time
from pathlib import Path
from threading import Lock

from provision.cli.inputs import load_rack
from provision.cli.output import print_document, style
from provision.cli.running import LIMIT_HELP, terminating
from provision.core.exitcodes import ExitCode
from provision.core.problems import fail
from provision.image.enrolment import window
from provision.image.enrolment.book import Book, book_of
from provision.image.enrolment.desk import Desk, Signer
from provision.image.enrolment.program import fingerprint
from provision.image.enrolment.service import listening

SCHEMA = "holdfast.enrolment/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("inventory", type=Path, help="the inventory of the rack")
    parser.add_argument("--listen", metavar="ADDRESS:PORT", required=True,
                        help="where this machine hears claims; nodes must reach it")  # fmt: skip
    parser.add_argument("--tokens", metavar="DIR", type=Path, required=True,
                        help="the folder of the HTTP server in which nodes find their tokens:"
                        " nodes/ beside the root that they fetch")  # fmt: skip
    parser.add_argument("--sign", metavar="KEY", type=Path, required=True,
                        help="the SSH key that signs answers; the image names its public half"
                        )  # fmt: skip
    parser.add_argument("--login-key", metavar="PUB", type=Path,
                        help="the public key that logs in to nodes (default: the one beside the"
                        " inventory's private key)")  # fmt: skip
    parser.add_argument("--minutes", metavar="N", type=float, default=60.0,
                        help="how long claims are heard (default: %(default).0f)")  # fmt: skip
    parser.add_argument("--limit", metavar="PATTERN",
                        help=LIMIT_HELP + "; they claim anew, whatever was before")  # fmt: skip


def run(args: argparse.Namespace) -> ExitCode:
    """Hear claims.

    Raises:
        HoldfastError: the inventory or an argument is wrong (exit code 2), or another window is
            open (exit code 3).
    """
    rack = load_rack(args.inventory, unkeyed=True).rack
    address, port = _address(args.listen)
    if not args.minutes > 0:
        raise fail("usage", "no claim comes in no time", where="--minutes",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    chosen = [node.name for node in rack.limit(args.limit).nodes] if args.limit else None
    book = book_of(rack.name)
    nodes = window.awaited(rack, book, chosen)
    given = window.given(nodes, args.login_key)
    signer = Signer(args.sign)
    signer.sign("a word")  # better now than when the first node comes
    says = _Says(quiet=args.json)
    until = time.time() + args.minutes * 60
    place = window.Place(f"http://{args.listen}/", args.tokens)
    begun = bool(nodes)
    if begun:
        with (
            terminating(),
            window.open_window(book, nodes, place, until, chosen or ()) as tokens,
        ):
            desk = Desk(book, tokens, given, signer, says=says)
            with listening(desk, address, port):
                says(f"{len(nodes)} nodes may claim for {args.minutes:.0f} minutes")
                window.wait_until(lambda: not desk.waiting, until)
                # What came last is still being answered.
                time.sleep(1)
    return _shown(book, [node.name for node in nodes], as_json=args.json, where=args.inventory)


def _address(given: str) -> tuple[str, int]:
    host, _, port = given.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise fail("bad-address", f"{given!r} is no address with a port", where="--listen",
                   hint="as in --listen 192.0.2.1:8017", exit_code=ExitCode.USAGE)  # fmt: skip
    host = host.strip("[]")
    if _is_any(host):
        raise fail("bad-address", f"{host} is no address that a node could reach", where="--listen",
                   hint="the address of this machine in the network of the nodes",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    return host, int(port)


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


class _Says:
    """Says what happens, a line each, from whichever thread."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._lock = Lock()

    def __call__(self, text: str) -> None:
        if not self.quiet:
            with self._lock:
                print(text, flush=True)


def _shown(book: Book, names: list[str], *, as_json: bool, where: Path) -> ExitCode:
    """Say what came of the window; anything but one claim of each node is a finding."""
    rows = {name: book.nodes[name] for name in names}
    well = all(standing.claimed for standing in rows.values())
    code = ExitCode.OK if well else ExitCode.FINDINGS
    if as_json:
        print_document({"schema": SCHEMA, "exit_code": int(code), "nodes": claims(book, names)})
        return code
    for name, standing in rows.items():
        if standing.claimed:
            print(f"{name}  {fingerprint(standing.claimed)}")
        elif standing.contested:
            print(style(f"{name}  two host keys were claimed: it is given to neither", "bad"))
        else:
            print(style(f"{name}  did not claim", "bad"))
    if not rows:
        print("every node has a host key, or has claimed one")
    else:
        print(f"compare with the consoles, then: holdfast enroll accept {where} NODE=SHA256:...")
    return code


def claims(book: Book, names: list[str]) -> list[dict[str, object]]:
    """Where each node stands, as plain data."""
    return [
        {
            "node": name,
            "mac": standing.mac,
            "claimed": [fingerprint(key) for key in standing.claims],
            "accepted": fingerprint(standing.accepted) if standing.accepted else None,
        }
        for name, standing in book.nodes.items()
        if name in names
    ]

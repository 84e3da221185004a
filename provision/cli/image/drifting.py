"""`holdfast image drift INVENTORY`: where nodes are no longer what their image was."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from provision.cli.image.diff import add_shown
from provision.cli.image.verifying import add_public
from provision.cli.inputs import load_rack
from provision.cli.live import watching
from provision.cli.output import print_document, screen, width_of
from provision.cli.running import add_common, require_files, require_places, terminating
from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.fleet.progress import PullShow
from provision.image.described import Described, describe
from provision.image.ignored import with_site
from provision.image.keys import read_public
from provision.image.looking import NodeDrift, Way, look_at
from provision.image.pages import drift_page
from provision.image.shown import drift_text
from provision.rack.ssh import SshSettings, write_known_hosts
from provision.verdict.model import Status

SCHEMA = "holdfast.image-drift/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    add_common(parser)
    parser.add_argument("--image", metavar="DIR", type=Path, action="append", required=True,
                        help="the folder of an image that nodes came from; several times for"
                        " several")  # fmt: skip
    add_public(parser)
    parser.add_argument("--ignore", metavar="FILE", type=Path,
                        help="what is no drift here, beside what ships with Holdfast: lines of"
                        " all, content or added, a path, and why, with tabs between")  # fmt: skip
    add_shown(parser)


def run(args: argparse.Namespace) -> ExitCode:
    """Compare every node with its image.

    Raises:
        HoldfastError: an input is wrong (exit code 2), or an image is not as it was signed (1).
    """
    inputs = load_rack(args.inventory)
    rack = inputs.rack.limit(args.limit) if args.limit else inputs.rack
    ignored = with_site(args.ignore)
    key = read_public(args.key)
    described = (describe(folder, key) for folder in args.image)
    images: dict[str, Described] = {one.manifest.tree.files: one for one in described}
    for one in images.values():
        _ = one.files, one.packages  # a damaged document is said before a node is asked
    require_places(events=args.events)
    require_files({"--html": args.html})
    with (
        terminating(),
        tempfile.TemporaryDirectory(prefix="holdfast-drift.") as scratch,
        watching(as_json=args.json, events=args.events, quiet=True,
                 show=PullShow(f"drift   rack {rack.name}")) as watch,
    ):  # fmt: skip
        known_hosts = Path(scratch) / "known_hosts"
        write_known_hosts(rack, known_hosts)
        way = Way(rack, SshSettings(known_hosts), images, ignored)
        nodes = look_at(way, rack.nodes, watch.sink)
    _tell(args, rack.name, nodes)
    good = all(node.status is Status.PASS for node in nodes)
    return ExitCode.OK if good else ExitCode.FINDINGS


def _tell(args: argparse.Namespace, rack: str, nodes: list[NodeDrift]) -> None:
    if args.html is not None:
        write_whole(args.html, drift_page(rack, nodes))
    if args.json:
        document = {"schema": SCHEMA, "rack": rack, "nodes": [n.to_json() for n in nodes]}
        print_document(document)
    else:
        colour = screen().colour
        print(drift_text(rack, nodes, width=width_of(), colour=colour, every=args.all), end="")

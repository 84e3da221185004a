"""`holdfast audit report INVENTORY`: what the nodes' audits found last, and what changed."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from provision.checks.audit_result import Refused, read
from provision.cli.audit.pulling import add_shown, ask_nodes, audited, require_shown, tell
from provision.cli.inputs import load_rack
from provision.cli.running import add_common, require_places
from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.problems import fail
from provision.fleet import metrics, pull
from provision.fleet.history import History, place
from provision.fleet.kept import Recorded, Visit
from provision.rack.model import Node, Rack
from provision.verdict.words import moment


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    add_common(parser)
    inventory = next(a for a in parser._actions if a.dest == "inventory")
    inventory.nargs = "?"
    inventory.help = "the inventory of the rack; only --grafana alone needs none"
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--offline",
        action="store_true",
        help="contact nothing: by the last results that the history has, as old as they are now",
    )
    source.add_argument(
        "--from",
        type=Path,
        metavar="DIR",
        dest="folder",
        help="contact nothing: read the results from DIR/NODE.json, brought there by other means",
    )
    add_shown(parser)
    parser.add_argument(
        "--grafana", type=Path, metavar="FILE", help="write a Grafana dashboard of the metrics"
    )


def run(args: argparse.Namespace) -> ExitCode:
    """Report on the rack's nodes.

    Raises:
        HoldfastError: the inventory is wrong, nobody in it is audited or a file cannot be written
            (exit code 2), or the history cannot be used (3).
    """
    require_shown(args)
    if args.inventory is None:
        if args.grafana is None:
            raise fail("usage", "an inventory is missing", exit_code=ExitCode.USAGE,
                       hint="see `holdfast audit report --help`")  # fmt: skip
        write_whole(args.grafana, metrics.dashboard())
        return ExitCode.OK
    inputs = load_rack(args.inventory)
    rack = inputs.rack.limit(args.limit) if args.limit else inputs.rack
    nodes = audited(rack, "`holdfast audit run` needs no such thing")
    if args.folder is not None and not args.folder.is_dir():
        raise fail("missing-folder", f"there is no folder {str(args.folder)!r}", where="--from",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    require_places(events=args.events)
    if args.grafana:
        write_whole(args.grafana, metrics.dashboard())
    off = [node.name for node in rack.nodes if not node.audited]
    if args.offline:
        visits, recorded, source, at = kept(rack, nodes)
    else:
        visits, recorded, at = ask_nodes(args, inputs, rack, nodes, verb="report")
        source = f"read from {args.folder}" if args.folder else "pulled over SSH"
    return tell(args, rack, visits, recorded, at=at, source=source, off=off)


def kept(rack: Rack, nodes: tuple[Node, ...]) -> tuple[list[Visit], Recorded | None, str, float]:
    """What the history says of the nodes: as at the last pull, but as old as it is now.

    Raises:
        HoldfastError: the history cannot be read (exit code 3).
    """
    at = time.time()
    with History(place(rack.name)) as history:
        recorded, latest, outcomes = history.last_pull(), history.latest(), history.outcomes()
    visits = []
    for node in nodes:
        outcome, why = outcomes.get(node.name, ("absent", "it was never asked"))
        if outcome not in ("fresh", "stale") or node.name not in latest:
            visits.append(Visit(node.name, outcome if outcome != "fresh" else "absent", why))
            continue
        raw, ended = latest[node.name]
        try:
            visit = pull.aged(node, read(raw, node.name), at - ended)
        except Refused as error:
            visit = Visit(node.name, "refused", str(error))
        if outcome == "stale" and visit.outcome == "fresh":
            # An older result than one that was seen before: what the node said last counts.
            visit = Visit(node.name, outcome, why)
        visits.append(visit)
    when = f"by the pull of {moment(recorded.at)}" if recorded else "nothing was ever pulled"
    return visits, recorded, f"from the history, {when}", at

"""What `audit run` and `audit report` share: whom they ask, where the result goes, how it shows."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from provision.cli.inputs import Inputs
from provision.cli.live import watching
from provision.cli.output import print_document, screen
from provision.cli.running import require_files, terminating
from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.problems import fail
from provision.fleet import html, metrics, pull, report, terminal
from provision.fleet.history import KEEP_DAYS, History, place
from provision.fleet.kept import Recorded, Visit
from provision.fleet.progress import PullShow
from provision.fleet.pull import Ask, Way
from provision.fleet.report import FleetReport
from provision.rack.model import Node, Rack
from provision.rack.ssh import SshSettings, write_known_hosts

_MOST_DAYS = 3650


def add_shown(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where a report goes."""
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write the report as one HTML file as well"
    )
    parser.add_argument(
        "--openmetrics",
        metavar="FILE",
        help="write the report in OpenMetrics' text format as well; - prints it and nothing else",
    )
    parser.add_argument(
        "--keep-days",
        type=_days,
        metavar="N",
        help=f"keep the history for so many days, from now on (at first {KEEP_DAYS})",
    )


def _days(text: str) -> int:
    with suppress(ValueError):
        if 1 <= int(text) <= _MOST_DAYS:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {_MOST_DAYS}")


def require_shown(args: argparse.Namespace) -> None:
    """Make sure that what is asked for can be written, before a node is contacted.

    Raises:
        HoldfastError: with a problem for each file that cannot, and exit code 2.
    """
    given = {f"--{name}": getattr(args, name, None) for name in ("html", "openmetrics", "grafana")}
    require_files({
        option: Path(path) for option, path in given.items()
        if path is not None and str(path) != "-"
    })  # fmt: skip
    if args.openmetrics == "-" and args.json:
        raise fail("usage", "--json and --openmetrics - both want standard output",
                   where="--openmetrics", hint="give --openmetrics a file",
                   exit_code=ExitCode.USAGE)  # fmt: skip


def audited(rack: Rack, otherwise: str) -> tuple[Node, ...]:
    """The nodes of a rack that have the audit.

    Args:
        rack: the rack.
        otherwise: what the hint says beside how to declare it.

    Raises:
        HoldfastError: none has it (exit code 2).
    """
    nodes = tuple(node for node in rack.nodes if node.audited)
    if not nodes:
        raise fail("nobody-audited", "none of these nodes has the audit", where=str(rack.path),
                   hint=f"write holdfast_audit: {{enabled: true}}; {otherwise}",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    return nodes


def ask_nodes(
    args: argparse.Namespace, inputs: Inputs, rack: Rack, nodes: Sequence[Node], *, verb: str
) -> tuple[list[Visit], Recorded, float]:
    """Ask nodes, and keep what came; the visits, what they became, and when it was.

    Raises:
        HoldfastError: the audit cannot be packed, or the history not be written (exit code 3).
    """
    title = f"{verb}   rack {rack.name}"
    quiet = args.openmetrics == "-"
    with (
        terminating(),
        tempfile.TemporaryDirectory(prefix="holdfast-audit.") as scratch,
        watching(as_json=args.json or quiet, events=args.events, quiet=True,
                 show=PullShow(title)) as watch,
        History(place(rack.name)) as history,
    ):  # fmt: skip
        known_hosts = Path(scratch) / "known_hosts"
        write_known_hosts(rack, known_hosts)
        way = Way(rack, SshSettings(known_hosts), inputs.lock, inputs.policy)
        folder = getattr(args, "folder", None)
        under_load = getattr(args, "under_load", False)
        ask: Ask = pull.last(way) if verb != "run" else pull.now(way, under_load=under_load)
        if folder is not None:
            ask = pull.from_files(folder)
        at = time.time()
        found = pull.visits(nodes, ask, watch.sink, pull.AT_ONCE)
        recorded = history.record(found, at=at, verb=verb, keep_days=args.keep_days)
    return found, recorded, at


def tell(
    args: argparse.Namespace,
    rack: Rack,
    visits: Sequence[Visit],
    recorded: Recorded | None,
    *,
    at: float,
    source: str,
    off: Sequence[str] = (),
) -> ExitCode:
    """Show the report in every form that was asked for.

    Raises:
        HoldfastError: the history cannot be read (exit code 3).
        OSError: a file cannot be written.
    """
    with History(place(rack.name)) as history:
        made = report.make(rack, visits, recorded, history, at=at, source=source, off=off)
    if args.html:
        write_whole(args.html, html.render(made))
    if args.openmetrics:
        text = metrics.openmetrics(made, {n.name: pull.stale_after(n) for n in rack.nodes})
        if args.openmetrics == "-":
            sys.stdout.write(text)
            return made.verdict.exit_code
        write_whole(Path(args.openmetrics), text)
    if args.json:
        print_document(made.to_json())
    else:
        show(made)
    return made.verdict.exit_code


def show(made: FleetReport) -> None:
    """Print a report for a person."""
    print(terminal.render(made, **screen()._asdict()), end="")

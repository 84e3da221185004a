"""`holdfast status INVENTORY`: say what the last run of a rack did; contacts nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from provision.cli.inputs import load_rack
from provision.cli.output import print_document, table
from provision.cli.running import LIMIT_HELP
from provision.core.exitcodes import ExitCode
from provision.engine.runs import find_run, list_runs
from provision.engine.status import Status, render, status_of


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("inventory", type=Path, help="the inventory of the rack")
    parser.add_argument("--run", metavar="RUN", help="this run instead of the last `up`")
    parser.add_argument("--limit", metavar="PATTERN", help=LIMIT_HELP)
    parser.add_argument("--all", action="store_true", help="list all runs of the rack")


def run(args: argparse.Namespace) -> ExitCode:
    """Print what the last run did.

    Raises:
        HoldfastError: the inventory is wrong, or there is no such run (exit code 2).
    """
    rack = load_rack(args.inventory).rack
    if args.all:
        return _list(rack.name, as_json=args.json)
    if args.run:
        status = status_of(find_run(args.run, rack.name))
    else:
        runs = list_runs(rack.name, "up")
        if not runs:
            return _nothing(rack.name, as_json=args.json)
        status = status_of(runs[-1])
    chosen = {n.name for n in (rack.limit(args.limit) if args.limit else rack).nodes}
    if args.json:
        body = status.to_json()
        body["nodes"] = [n for n in body["nodes"] if not args.limit or n["node"] in chosen]
        print_document(body)
    else:
        print("\n".join(render(status, only=chosen if args.limit else None)))
    return ExitCode.OK


def _list(rack: str, *, as_json: bool) -> ExitCode:
    found: list[Status] = [status_of(folder) for folder in list_runs(rack)]
    if as_json:
        runs = [s.to_json() for s in found]
        print_document({"schema": "holdfast.runs/1", "rack": rack, "runs": runs})
    elif not found:
        print(f"no run of rack {rack} is recorded on this machine")
    else:
        rows = ((s.record.run, s.record.verb, s.word) for s in found)
        print("\n".join(table(("RUN", "VERB", "STATUS"), rows)[1:]))
    return ExitCode.OK


def _nothing(rack: str, *, as_json: bool) -> ExitCode:
    if as_json:
        print_document({"schema": "holdfast.status/1", "rack": rack, "run": None})
    else:
        print(f"no `up` of rack {rack} is recorded on this machine")
    return ExitCode.OK

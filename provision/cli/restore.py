"""`holdfast profile restore INVENTORY --to RUN`: put back what a run changed."""

from __future__ import annotations

import argparse
import re
from typing import Any

from provision.core.exitcodes import ExitCode

WHOLE = re.compile(r"manual-[A-Za-z0-9-]+|\d{8}T\d{6}Z-[0-9a-f]{6}")
"""A run's whole name, which nodes may know where this machine does not."""


def configure(actions: Any) -> None:
    """Add the action to those of `holdfast profile`."""
    from provision.cli.running import add_break_lock, add_common

    parser: argparse.ArgumentParser = actions.add_parser(
        "restore",
        help="put back what a run changed",
        description="Bring nodes back to what they were before a run, by the undo journals that"
        " they keep: that run and all later ones are put back, the latest first. What somebody"
        " changed since stays and is named; what cannot be undone is said beforehand.",
    )
    add_common(parser)
    parser.add_argument("--to", metavar="RUN", required=True, help="the run to go back before")
    parser.add_argument("--check", action="store_true", help="only say what would be put back")
    parser.add_argument(
        "--force", action="store_true", help="also put back what somebody changed since"
    )
    add_break_lock(parser)


def run(args: argparse.Namespace) -> ExitCode:
    """Restore, after saying what it comes to.

    Raises:
        HoldfastError: the inventory is wrong or there is no such run (exit code 2), or the rack
            is held by another process (3).
    """
    from provision.cli.inputs import load_rack
    from provision.cli.live import watching
    from provision.cli.output import print_document, print_problems
    from provision.cli.running import require_places, terminating
    from provision.engine.restore import render, restore
    from provision.engine.runs import find_run
    from provision.engine.session import Request, Session, typed_command

    inputs = load_rack(args.inventory)
    rack = inputs.rack.limit(args.limit) if args.limit else inputs.rack
    # A plain ansible-playbook leaves journals on nodes and no run here; so does another controller.
    to = args.to if WHOLE.fullmatch(args.to) else find_run(args.to, rack.name).run
    require_places(events=args.events)
    request = Request(rack, "restore", typed_command(), args.break_lock, policy=inputs.policy)
    with (
        terminating(),
        watching(as_json=args.json, events=args.events, quiet=True) as watch,
        Session(request, watch.sink) as session,
    ):
        report = restore(session, to, check=True, force=args.force)
        # What cannot be undone is said before anything is done about the rest.
        if not args.json:
            print(render(report), end="", flush=True)
        if not args.check and not report.problems:
            report = restore(session, to, force=args.force)
            if not args.json:
                print(render(report), end="")
    if args.json:
        print_document(report.to_json())
    else:
        print_problems(report.problems)
    return report.exit_code

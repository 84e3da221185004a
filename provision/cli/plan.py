"""`holdfast plan INVENTORY`: say what `up` would change on each node; changes nothing."""

from __future__ import annotations

import argparse
import sys

from provision.cli.inputs import load_rack, require_secrets
from provision.cli.live import watching
from provision.cli.output import coloured, print_document, print_problems
from provision.cli.running import add_common, document, require_places, terminating
from provision.core.exitcodes import ExitCode
from provision.engine.plan import render
from provision.engine.session import Request, Session, typed_command
from provision.engine.up import make_plan


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_common(parser)


def run(args: argparse.Namespace) -> ExitCode:
    """Look at the nodes and print the plan.

    Raises:
        HoldfastError: the inventory is wrong (exit code 2), or ansible did not run (3).
    """
    inputs = load_rack(args.inventory)
    rack = inputs.rack.limit(args.limit) if args.limit else inputs.rack
    require_secrets(rack)
    require_places(events=args.events)
    request = Request(rack, "plan", typed_command(), policy=inputs.policy, lock=inputs.lock)
    with (
        terminating(),
        watching(as_json=args.json, events=args.events, quiet=True) as watch,
        Session(request, watch.sink) as session,
    ):
        report = make_plan(session, inputs.lock)
    if args.json:
        print_document(document(report))
        return report.exit_code
    if report.plan is not None:
        print(render(report.plan, bold=coloured(sys.stdout)), end="")
    print_problems(report.problems)
    return report.exit_code

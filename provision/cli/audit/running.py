"""`holdfast audit run INVENTORY`: let every node audit itself now, and say what came of it.

Not called `run`: a module of that name would take the place of the package's function.
"""

from __future__ import annotations

import argparse

from provision.cli.audit.pulling import add_shown, ask_nodes, require_shown, tell
from provision.cli.inputs import load_rack
from provision.cli.running import add_common, require_places
from provision.core.exitcodes import ExitCode

SOURCE = {False: "audited now, over SSH", True: "audited now under load, over SSH"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    add_common(parser)
    parser.add_argument(
        "--under-load",
        action="store_true",
        help="put the GPUs under load first, with dcgmi, nvbandwidth and all_reduce_perf where they"
        " are installed, and judge what they say; takes up to half an hour, and is refused on a"
        " node whose GPUs somebody uses",
    )
    add_shown(parser)


def run(args: argparse.Namespace) -> ExitCode:
    """Audit the rack's nodes.

    Raises:
        HoldfastError: the inventory is wrong or a file cannot be written (exit code 2), or the
            history cannot be used (3).
    """
    inputs = load_rack(args.inventory)
    rack = inputs.rack.limit(args.limit) if args.limit else inputs.rack
    require_places(events=args.events)
    require_shown(args)
    visits, recorded, at = ask_nodes(args, inputs, rack, rack.nodes, verb="run")
    return tell(args, rack, visits, recorded, at=at, source=SOURCE[args.under_load])

"""`holdfast audit history INVENTORY`: what was not well, from when to when; contacts nothing."""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

from provision.cli.inputs import load_rack
from provision.cli.output import print_document, screen
from provision.core.exitcodes import ExitCode
from provision.fleet import terminal
from provision.fleet.history import History, place
from provision.fleet.kept import Spell

SCHEMA = "holdfast.audit-history/1"
_UNITS = {"min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MOST = 10_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("inventory", type=Path, help="the inventory of the rack")
    parser.add_argument(
        "--node", metavar="PATTERN", default="*", help="only nodes whose name fits; a shell pattern"
    )
    parser.add_argument(
        "--check",
        metavar="PATTERN",
        default="*",
        help="only this check and those below it (gpu.pcie), or a shell pattern (*.errors)",
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        type=_since,
        default="7d",
        help="what lasted or ended since then: so long ago (90min, 12h, 7d, 4w) or a date"
        " (2026-11-23)",
    )


def _since(text: str) -> float:
    """Unix seconds of a time that a person wrote."""
    ago = re.fullmatch(r"(\d{1,6})(min|h|d|w)", text)
    if ago:
        return time.time() - int(ago[1]) * _UNITS[ago[2]]
    try:
        day = date.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is neither so long ago (90min, 12h, 7d, 4w) nor a date (2026-11-23)"
        raise argparse.ArgumentTypeError(message) from None
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def run(args: argparse.Namespace) -> ExitCode:
    """Show what was not well.

    Raises:
        HoldfastError: the inventory is wrong (exit code 2), or the history cannot be read (3).
    """
    rack = load_rack(args.inventory).rack
    path = place(rack.name)
    spells: tuple[Spell, ...] = ()
    if path.exists():
        with History(path) as history:
            spells = history.spells(
                since=args.since, node=args.node, check=args.check, most=_MOST
            )  # fmt: skip
    if args.json:
        print_document({
            "schema": SCHEMA, "rack": rack.name, "since": args.since,
            "spells": [asdict(s) for s in spells],
        })  # fmt: skip
    elif spells:
        seen = screen()
        text = terminal.history(spells, width=seen.width, unicode=seen.unicode)
        print(text, end="")
    elif path.exists():
        print(f"nothing was not well on rack {rack.name} since then")
    else:
        print(f"no audit of rack {rack.name} is recorded on this machine")
    return ExitCode.OK

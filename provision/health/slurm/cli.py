"""``holdfast-health.pyz slurm check|prolog|epilog``: what slurmd runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from provision.health.expect import read_file
from provision.health.places import Mistake
from provision.health.slurm.run import Place, Ran, check, job
from provision.health.state import Busy

OK, BAD_INPUT, NOT_RUN, REFUSED = 0, 2, 3, 10
FOLDER = Path("/var/lib/holdfast/health")
EXPECT = Path("/etc/holdfast/health/expect.json")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = _Parser(
        prog="holdfast-health slurm",
        description="Let Slurm know what the last audit of this node found. Drains only where"
        " slurm.drain of the declaration asks for it, and lifts only what it drained itself.",
        epilog="check: 0 healthy, 1 a finding, 2 bad input, 3 nothing was changed because the"
        " breaker tripped or Slurm's controller did not answer. prolog: 10 refuses the job, and"
        " only on a node that is drained. epilog: always 0, since Slurm drains for anything else.",
    )
    made.add_argument("which", choices=("check", "prolog", "epilog"), help="who calls")
    made.add_argument(
        "--expect", type=Path, default=EXPECT, metavar="FILE", help="the node's declaration"
    )
    made.add_argument(
        "--state", type=Path, default=FOLDER, metavar="DIR", help="where the audit keeps results"
    )
    made.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="the tree that was looked at"
    )
    return made


def main(argv: list[str]) -> int:
    """Run an adapter; returns its exit code."""
    asked = parser().parse_args(argv)
    try:
        place = Place(asked.state, asked.root)
        run = check if asked.which == "check" else job
        ran = run(place, read_file(asked.expect))
    except Mistake as error:
        ran = Ran(BAD_INPUT, "; ".join(error.problems))
    except (Busy, OSError) as error:
        ran = Ran(NOT_RUN, str(error))
    (sys.stderr if ran.status else sys.stdout).write(f"holdfast-health: {ran.said}\n")
    if asked.which == "check":
        return ran.status
    # Slurm itself drains a node whose prolog or epilog fails, uncounted and with its own reason.
    # It leaves alone one that is drained already, so only there may a job be refused. A number of
    # its own tells the prolog that this was a refusal, and not Python that could not start.
    return REFUSED if asked.which == "prolog" and ran.refuse else OK

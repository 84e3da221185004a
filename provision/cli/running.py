"""What the verbs that run the engine share: options, interruption, and how a run is told."""

from __future__ import annotations

import argparse
import errno
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.paths import state_home
from provision.core.problems import HoldfastError, Problem
from provision.engine.status import node_to_json
from provision.engine.up import Report

SCHEMA = "holdfast.report/1"
LIMIT_HELP = "only these nodes: names, groups and shell patterns, with commas between them"


def add_common(parser: argparse.ArgumentParser) -> None:
    """The arguments of every verb that works on the nodes of an inventory."""
    parser.add_argument("inventory", type=Path, help="the inventory of the rack")
    parser.add_argument(
        "--limit",
        metavar="PATTERN",
        help=LIMIT_HELP,
    )
    parser.add_argument(
        "--events",
        type=Path,
        metavar="FILE",
        help="append every event to FILE as well, one JSON object a line",
    )


def add_scan(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verbs that judge: how much OpenSCAP looks at, and what it writes."""
    parser.add_argument(
        "--scan",
        choices=("full", "quick", "none"),
        default="full",
        help="where a profile is declared, let OpenSCAP judge by all rules (default), without those"
        " that read every file of a node, or not at all; what is left out is judged by the last"
        " full scan, and unknown once that is older than holdfast_full_scan_days",
    )
    parser.add_argument(
        "--scan-writes",
        choices=("all", "results"),
        default="all",
        help="let OpenSCAP write its own page and asset report (ARF) too (default), or its results"
        " alone: the verdict is made of these, and the rest takes minutes on an emulated machine",
    )


def add_break_lock(parser: argparse.ArgumentParser) -> None:
    """The argument of verbs that hold nodes: whose lock they may replace."""
    parser.add_argument(
        "--break-lock",
        metavar="RUN",
        help="replace the node locks of this run, which is known to be dead",
    )


def add_report(parser: argparse.ArgumentParser) -> None:
    """The argument of verbs that end with a verdict: where else it is written."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write verdict.json, junit.xml and report.html there as well as in the run's folder",
    )


def require_places(*, events: Path | None = None, report: Path | None = None) -> None:
    """Make sure that a run can write what it is to write, before a node is contacted.

    Raises:
        HoldfastError: with a problem for each place that cannot be written, and exit code 2.
    """
    problems = []
    hint = "set XDG_STATE_HOME to a folder that you can write to"
    for where, folder, what in (("state folder", state_home(), hint), ("--report", report, None)):
        if folder is None:
            continue
        try:
            folder.mkdir(mode=0o777 if folder is report else 0o700, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            problems.append(_unwritable(where, folder, error, what))
    if events is not None:
        try:
            events.open("ab").close()
        except OSError as error:
            problems.append(_unwritable("--events", events, error, None))
    if problems:
        raise HoldfastError(problems, ExitCode.USAGE)


def require_files(wanted: Mapping[str, Path | None]) -> None:
    """Make sure that files can be written, before the work that is to fill them.

    Args:
        wanted: the files by the option that asks for each; None where it does not.

    Raises:
        HoldfastError: with a problem for each that cannot be written, and exit code 2.
    """
    hint = "give a file in a folder that you can write to"
    problems = [
        Problem("unwritable", f"{path} cannot be written", where=option, hint=hint)
        for option, path in wanted.items()
        if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK))
    ]
    if problems:
        raise HoldfastError(problems, ExitCode.USAGE)


def _unwritable(where: str, path: Path, error: OSError, hint: str | None) -> Problem:
    return Problem(
        "unwritable",
        f"{path} cannot be written: {error.strerror}",
        where=where,
        hint=hint or "give a place that you can write to",
    )


@contextmanager
def terminating() -> Iterator[None]:
    """SIGTERM and SIGHUP end the run in good order, as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = {n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def document(report: Report) -> dict[str, Any]:
    """What `--json` prints of a run."""
    from provision.engine.journal import read_journal
    from provision.engine.runs import RunFolder

    folder = RunFolder(report.folder)
    state = read_journal(folder.journal)
    names = list(folder.record().nodes)
    found = report.preflight
    return {
        "schema": SCHEMA,
        "run": report.run,
        "folder": str(report.folder),
        "exit_code": int(report.exit_code),
        "reason": report.reason,
        "problems": [p.to_json() for p in report.problems],
        "preflight": [f.to_json() for f in found.findings] if found else [],
        "plan": report.plan.to_json() if report.plan else None,
        "nodes": [node_to_json(name, state.node(name)) for name in names],
        "verdict": report.verdict.to_json() if report.verdict else None,
    }


def same_run(name: str) -> HoldfastError:
    """The mistake of naming one run both to resume and to replace."""
    problem = Problem(
        "usage",
        f"--resume and --break-lock both name {name}",
        hint="a run needs no permission to replace its own lock; leave --break-lock out",
    )
    return HoldfastError([problem], ExitCode.USAGE)

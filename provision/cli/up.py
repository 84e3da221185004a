"""`holdfast up INVENTORY`: bring a rack to what its inventory says, and verify it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from provision.cli.inputs import Inputs, load_rack, require_secrets
from provision.cli.live import Watch, watching
from provision.cli.output import coloured, print_document, print_problems, screen
from provision.cli.running import (
    add_break_lock,
    add_common,
    add_report,
    add_scan,
    document,
    require_places,
    same_run,
    terminating,
)
from provision.core.events import EventSink
from provision.core.exitcodes import ExitCode
from provision.engine.plan import Plan, render
from provision.engine.runs import RunFolder, find_run
from provision.engine.session import Request, Session, typed_command
from provision.engine.up import Judge, Report, up
from provision.rack.model import Rack
from provision.rack.ssh import SshSettings
from provision.verdict.model import Verdict

if TYPE_CHECKING:
    from provision.checks.openscap import Writes
    from provision.checks.scap_verdict import Mode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_common(parser)
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="continue this run (`last` for the latest) and skip what it finished",
    )
    add_break_lock(parser)
    add_scan(parser)
    add_report(parser)


def run(args: argparse.Namespace) -> ExitCode:
    """Bring the rack up.

    Raises:
        HoldfastError: the inventory is wrong or there is no such run (exit code 2), the rack is
            held by another process, or the run cannot be resumed (3).
    """
    inputs = load_rack(args.inventory)
    rack = inputs.rack.limit(args.limit) if args.limit else inputs.rack
    resumed = find_run(args.resume, rack.name) if args.resume else None
    if resumed is not None:
        rack = _rack_of_run(inputs.rack, resumed, args.limit)
        if args.break_lock == resumed.run:
            raise same_run(resumed.run)
    require_secrets(rack)
    require_places(events=args.events, report=args.report)
    request = Request(
        rack, "up", typed_command(), args.break_lock, resumed, inputs.policy, inputs.lock
    )
    with (
        terminating(),
        watching(as_json=args.json, events=args.events) as watch,
        Session(request, watch.sink) as session,
    ):
        judge = _judge(inputs, args.scan, args.scan_writes)
        report = up(session, inputs.lock, judge, lambda plan: show_plan(watch, plan))
    return tell_end(report, watch, as_json=args.json, also=args.report)


def tell_end(report: Report, watch: Watch, *, as_json: bool, also: Path | None) -> ExitCode:
    """Write the verdict's files, `also` into another folder, and say how the run ended."""
    shown = _reports(report, also)
    if as_json:
        print_document(document(report))
    elif watch.shown != "events":
        _tell(report, shown)
    if not as_json:
        print_problems(report.problems)
    return report.exit_code


def _rack_of_run(rack: Rack, folder: RunFolder, limit: str | None) -> Rack:
    """The nodes that the run was for, or those of them that `limit` names."""
    chosen = set(folder.record().nodes)
    if limit:
        chosen &= {node.name for node in rack.limit(limit).nodes}
    nodes = tuple(node for node in rack.nodes if node.name in chosen)
    return rack.model_copy(update={"nodes": nodes})


def _judge(inputs: Inputs, scan: Mode, scan_writes: Writes) -> Judge:
    from provision.checks.report import judge

    def verdict(rack: Rack, run: str, workdir: Path, ssh: SshSettings, sink: EventSink) -> Verdict:
        return judge(
            rack,
            inputs.lock,
            run=run,
            events=sink,
            workdir=workdir,
            ssh=ssh,
            policy=inputs.policy,
            scan=scan,
            scan_writes=scan_writes,
        )

    return verdict


def show_plan(watch: Watch, plan: Plan) -> None:
    """Show a plan before it is applied."""
    watch.say(render(plan, bold=watch.shown == "table" and coloured(sys.stdout)))


def _reports(report: Report, also: Path | None) -> Path | None:
    """Write the verdict's files; returns the page for a person."""
    if report.verdict is None:
        return None
    from provision.checks.report import write_reports

    made = write_reports(report.verdict, report.folder)
    if also is not None:
        made = write_reports(report.verdict, also)
    return made.html


def _tell(report: Report, page: Path | None) -> None:
    """Say how the run ended."""
    changed = [n.node for n in report.plan.nodes if not n.nothing] if report.plan else []
    if report.plan is not None and not changed and report.plan.nodes:
        looked = max(n.looked for n in report.plan.nodes)
        print(f"looked at {len(report.plan.nodes)} nodes, {looked} tasks each: nothing to change")
    if report.verdict is not None:
        from provision.verdict import terminal

        text = terminal.render(report.verdict, **screen()._asdict())
        print(text, end="")
    print(f"run: {report.run}")
    print(f"report: {page}" if page else f"folder: {report.folder}")

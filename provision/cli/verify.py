"""`holdfast verify INVENTORY`: check every node, ask for an answer, give a verdict."""

from __future__ import annotations

import argparse
import secrets
import time

from provision.checks.report import judge, write_reports
from provision.cli.inputs import load_rack, require_secrets
from provision.cli.output import print_document, screen
from provision.cli.running import add_common, add_report, add_scan, require_places
from provision.core.events import EventSink, FileSink, NullSink
from provision.core.exitcodes import ExitCode
from provision.engine.judging import judging
from provision.engine.session import Request, typed_command
from provision.verdict import terminal


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_common(parser)
    add_scan(parser)
    add_report(parser)


def run(args: argparse.Namespace) -> ExitCode:
    """Judge the rack.

    Raises:
        HoldfastError: the inventory or the stack lock is wrong (exit code 2).
    """
    inputs = load_rack(args.inventory)
    rack = inputs.rack.limit(args.limit) if args.limit else inputs.rack
    require_secrets(rack)
    require_places(events=args.events, report=args.report)
    events: EventSink = FileSink(args.events) if args.events else NullSink()
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = f"{stamp}-verify-{secrets.token_hex(2)}"
    request = Request(rack, "verify", typed_command(), policy=inputs.policy)
    with judging(request, name, events) as going:
        verdict = judge(
            rack,
            inputs.lock,
            run=name,
            events=going.sink,
            workdir=going.folder.path / "checks",
            policy=inputs.policy,
            scan=args.scan,
            scan_writes=args.scan_writes,
        )
        reports = write_reports(verdict, going.folder.path)
        going.exit_code = verdict.exit_code
    if args.report:
        reports = write_reports(verdict, args.report)
    if args.json:
        print_document(verdict.to_json())
    else:
        text = terminal.render(verdict, **screen()._asdict())
        print(f"{text}\nreport: {reports.html}")
    return verdict.exit_code

"""`holdfast audit install INVENTORY`: bring the audit to nodes; an `up` of that phase alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from provision.cli.audit.pulling import audited
from provision.cli.inputs import Inputs, load_rack
from provision.cli.live import watching
from provision.cli.running import (
    add_break_lock,
    add_common,
    add_report,
    require_places,
    terminating,
)
from provision.cli.up import show_plan, tell_end
from provision.core.events import EventSink
from provision.core.exitcodes import ExitCode
from provision.engine.session import Request, Session, typed_command
from provision.engine.up import Judge, up
from provision.rack.model import Rack
from provision.rack.ssh import SshSettings
from provision.verdict.model import Verdict

PHASES = ("health_audit",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    add_common(parser)
    add_break_lock(parser)
    add_report(parser)


def run(args: argparse.Namespace) -> ExitCode:
    """Bring the audit to the rack's nodes.

    Raises:
        HoldfastError: the inventory is wrong or nobody in it is audited (exit code 2), or the
            rack is held by another process (3).
    """
    inputs = load_rack(args.inventory)
    rack = inputs.rack.limit(args.limit) if args.limit else inputs.rack
    rack = rack.model_copy(
        update={"nodes": audited(rack, "nodes with GPUs have it without that")}
    )  # fmt: skip
    require_places(events=args.events, report=args.report)
    request = Request(
        rack,
        "audit-install",
        typed_command(),
        args.break_lock,
        policy=inputs.policy,
        lock=inputs.lock,
        phases=PHASES,
    )
    with (
        terminating(),
        watching(as_json=args.json, events=args.events) as watch,
        Session(request, watch.sink) as session,
    ):
        report = up(session, inputs.lock, _judge(inputs), lambda plan: show_plan(watch, plan))
    return tell_end(report, watch, as_json=args.json, also=args.report)


def _judge(inputs: Inputs) -> Judge:
    from provision.checks.report import judge_audit

    def verdict(rack: Rack, run: str, workdir: Path, ssh: SshSettings, sink: EventSink) -> Verdict:
        del workdir  # nothing but the verdict is kept
        return judge_audit(rack, inputs.lock, run=run, events=sink, ssh=ssh, policy=inputs.policy)

    return verdict

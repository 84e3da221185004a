"""`holdfast audit`: the audit that looks at nodes again and again."""

from __future__ import annotations

import argparse

from provision.cli.actions import Action, add_actions, run_action
from provision.core.exitcodes import ExitCode

ACTIONS: dict[str, Action] = {
    "install": Action(
        "provision.cli.audit.install",
        "bring the audit to nodes and let a timer run it",
        "Bring the audit to nodes and let a timer run it: the one phase of `holdfast up` that does"
        " so, with its plan, its waves and its locks. At the end each audit runs once.",
    ),
    "run": Action(
        "provision.cli.audit.running",
        "let every node audit itself now",
        "Let every node audit itself now, keep what it found, and say what changed. To a node that"
        " has no audit, or another release's, one is sent along; it leaves nothing behind.",
    ),
    "report": Action(
        "provision.cli.audit.report",
        "say what the nodes' audits found last, and what changed",
        "Fetch the results that the nodes' timers wrote last, keep them, and say what they come"
        " to: what needs attention, what changed since the last time, and what fails again and"
        " again. A result that is old, missing or not to be believed proves nothing.",
    ),
    "history": Action(
        "provision.cli.audit.history",
        "say what was not well, from when to when",
        "Say what was not well, from when to when, the newest first. Contacts nothing.",
    ),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    add_actions(parser, ACTIONS)


def run(args: argparse.Namespace) -> ExitCode:
    """Do what the action says."""
    return run_action(args, ACTIONS)

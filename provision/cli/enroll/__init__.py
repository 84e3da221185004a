"""`holdfast enroll`: nodes that were started from nothing get their identity."""

from __future__ import annotations

import argparse

from provision.cli.actions import Action, add_actions, run_action
from provision.core.exitcodes import ExitCode

ACTIONS: dict[str, Action] = {
    "open": Action(
        "provision.cli.enroll.opening",
        "let nodes claim their identity, for a while",
        "Give each node that has no host key yet a token that proves one claim, and answer claims"
        " until all have come or the time is over. A node that claims makes its own host key and is"
        " given its name and the key that logs in; nothing secret travels. Nobody is accepted by"
        " that alone.",
    ),
    "accept": Action(
        "provision.cli.enroll.accepting",
        "accept host keys that nodes have claimed",
        "Write claimed host keys into the inventory's known hosts: those that the nodes' consoles"
        " show, or, in a network where nobody else is, all that were claimed. Without any, the"
        " claims are listed.",
    ),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    add_actions(parser, ACTIONS)


def run(args: argparse.Namespace) -> ExitCode:
    """Do what the action says."""
    return run_action(args, ACTIONS)

"""Verbs with actions, as in `holdfast image build`: a module for each action, as for each verb."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

from provision.cli.registry import Verb
from provision.core.exitcodes import ExitCode


@dataclass(frozen=True)
class Action(Verb):
    """A word after a verb: where it lives, what a line about it says, and what its help says."""

    description: str


def add_actions(parser: argparse.ArgumentParser, actions: Mapping[str, Action]) -> None:
    """Add the actions to their verb's parser.

    Raises:
        ImportError: the installation is not whole.
    """
    words = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, action in actions.items():
        child = words.add_parser(name, help=action.help, description=action.description)
        action.load().configure(child)


def run_action(args: argparse.Namespace, actions: Mapping[str, Action]) -> ExitCode:
    """Do what the action that was asked for does.

    Raises:
        HoldfastError: with the problems to show and the exit code to end with.
    """
    return actions[args.action].load().run(args)

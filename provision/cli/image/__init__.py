"""`holdfast image`: golden images, from their definition to a signed artefact."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from provision.core.exitcodes import ExitCode


@dataclass(frozen=True)
class Action:
    """A word after `holdfast image`: its module, and what its help says.

    The module offers `configure(parser)` and `run(args)`, as a verb's does.
    """

    module: str
    help: str
    description: str


ACTIONS: dict[str, Action] = {
    "list": Action(
        "provision.cli.image.listing",
        "list the definitions, and what of each is kept",
        "List the definitions of images that ship with Holdfast, or those given; every mistake in"
        " them is said with its place. Nothing is built.",
    ),
    "build": Action(
        "provision.cli.image.building",
        "build an image from its definition",
        "Build an image, stage by stage, as an ordinary user. What a stage makes is kept by what"
        " it was made from, so that only what changed is made again, and a build that was killed"
        " goes on where it was. After the first stage there is no network.",
    ),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    words = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, action in ACTIONS.items():
        child = words.add_parser(name, help=action.help, description=action.description)
        importlib.import_module(action.module).configure(child)


def run(args: argparse.Namespace) -> ExitCode:
    """Do what the action says."""
    work: Callable[[argparse.Namespace], ExitCode] = importlib.import_module(
        ACTIONS[args.action].module
    ).run
    return work(args)

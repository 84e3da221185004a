"""The verbs of `holdfast`: name, module, and one line of help each.

A verb's module is imported only when that verb is called, so that `holdfast --help` stays quick
and a broken verb cannot take the others with it. The module offers::

    def configure(parser: argparse.ArgumentParser) -> None
    def run(args: argparse.Namespace) -> ExitCode
"""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass
from typing import Protocol, cast

from provision.core.exitcodes import ExitCode


class VerbModule(Protocol):
    """What a verb's module offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's arguments to `parser`."""
        ...

    def run(self, args: argparse.Namespace) -> ExitCode:
        """Do the work.

        Raises:
            HoldfastError: with the problems to show and the exit code to end with.
        """
        ...


@dataclass(frozen=True)
class Verb:
    """Where a verb lives and what `holdfast --help` says about it."""

    module: str
    help: str

    def load(self) -> VerbModule:
        """Import the verb's module.

        Raises:
            ImportError: the installation is not whole.
        """
        return cast(VerbModule, importlib.import_module(self.module))


VERBS: dict[str, Verb] = {
    "rehearse": Verb(
        "provision.cli.rehearse", "build a simulated rack, run everything on it, take it down"
    ),
    "inventory": Verb("provision.cli.inventory", "check or show an inventory; contacts nothing"),
    "plan": Verb("provision.cli.plan", "say what `up` would change on each node"),
    "up": Verb("provision.cli.up", "bring a rack to what its inventory says"),
    "verify": Verb("provision.cli.verify", "check every node and give a verdict"),
    "audit": Verb("provision.cli.audit", "look after nodes once they are up, again and again"),
    "image": Verb("provision.cli.image", "build golden images from their definitions"),
    "enroll": Verb(
        "provision.cli.enroll", "give nodes that were started from nothing their identity"
    ),
    "status": Verb("provision.cli.status", "say what the last runs did and who holds the rack"),
    "stack": Verb("provision.cli.stack", "show or check a stack lock"),
    "profile": Verb(
        "provision.cli.profile", "list, show or explain security profiles and controls"
    ),
    "doctor": Verb("provision.cli.doctor", "say what this controller needs and lacks"),
    "completion": Verb("provision.cli.completion", "print a completion script for a shell"),
}

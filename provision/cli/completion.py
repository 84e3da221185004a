"""`holdfast completion`: a completion script for bash or zsh, made from the parsers themselves."""

from __future__ import annotations

import argparse

from provision.cli.output import print_document
from provision.core.exitcodes import ExitCode

SHELLS = ("bash", "zsh")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the shell's name."""
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")
    parser.epilog = (
        "For one session: source <(holdfast completion bash)\n"
        "For good:        holdfast completion bash > /etc/bash_completion.d/holdfast"
    )


def run(args: argparse.Namespace) -> ExitCode:
    """Print the script."""
    script = completion_script(args.shell)
    if args.json:
        document = {"schema": "holdfast.completion/1", "shell": args.shell, "script": script}
        print_document(document)
    else:
        print(script)
    return ExitCode.OK


def completion_script(shell: str) -> str:
    """The completion script of all verbs for `shell`."""
    import shtab

    from provision.cli.main import whole_parser

    script: str = shtab.complete(whole_parser(), shell)
    return script

"""A command on a node over SSH, for those that need an answer's bytes: bounded in time and size."""

from __future__ import annotations

import subprocess

from provision.checks import bounded
from provision.checks.bounded import Answer
from provision.checks.shipping import Unreachable
from provision.core.shown import printable
from provision.rack.model import Node, Rack
from provision.rack.ssh import SshSettings

AS_ROOT = 'if [ "$(id -u)" = 0 ]; then s=; else s="sudo -n"; fi; exec $s '
"""Begins a command that needs root; its program follows."""
_GONE = 255


def call(
    rack: Rack,
    node: Node,
    command: str,
    *,
    ssh: SshSettings,
    limit_s: float,
    most: int,
    stdin: bytes = b"",
) -> Answer:
    """Run a shell command on `node` to its end.

    Args:
        rack: the rack of the node.
        node: where.
        command: the command, for the shell of whoever logs in.
        ssh: how to get there.
        limit_s: how many seconds all of it may take.
        most: how many bytes it may answer.
        stdin: what it reads.

    Raises:
        Unreachable: there is no answer; the message says why, and is safe to print.
    """
    argv = ["ssh", *ssh.arguments(rack, node), node.address, command]
    try:
        done = bounded.call(argv, stdin, limit_s=limit_s, most=most)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"no answer within {limit_s:.0f} s") from error
    except (OSError, bounded.TooMuch) as error:
        raise Unreachable(str(error)) from error
    if done.returncode == _GONE:
        raise Unreachable(said(done) or "ssh ended without a word")
    return done


def said(answer: Answer) -> str:
    """The last line of standard error, safe to print."""
    lines = [line.strip() for line in answer.err.decode(errors="replace").splitlines()]
    return printable(next((line for line in reversed(lines) if line), ""))[:300]

"""What the engine asks of a node outside Ansible while its GPU unit changes.

Processes on the GPUs, Slurm's view of the node, and the record of a drain. Every question is one
bounded command over SSH.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from provision.checks import remote
from provision.checks.bounded import Answer
from provision.checks.remote import AS_ROOT, said
from provision.checks.shipping import Unreachable
from provision.core.shown import printable
from provision.health import clients
from provision.health.slurm import controller
from provision.rack.model import Node, Rack
from provision.rack.ssh import SshSettings

RECORD = "/var/lib/holdfast/drain.json"
ASK_S = 180.0
"""Three times what a question took on a rehearsal whose host had a load of ten for each core."""
MOST = 1 << 20
_NAME = '"$(uname -n | cut -d. -f1)"'


class CannotTell(Exception):
    """The node did not say what was asked; the message says why, and is safe to print."""


@dataclass(frozen=True)
class Record:
    """A drain as it stands on the node until it is lifted.

    Args:
        run: the run that drained.
        by: ``slurm`` or ``commands``.
        reason: what Slurm was given as the reason.
        ours: whether it is ours to lift; a node that somebody else drained is not.
        done: whether it was seen to be drained; False between the record and the act.
    """

    run: str
    by: str
    reason: str
    ours: bool = True
    done: bool = False

    @staticmethod
    def from_json(body: Any) -> Record:
        """The record that was written.

        Raises:
            CannotTell: it is not one.
        """
        kinds = {"run": str, "by": str, "reason": str, "ours": bool, "done": bool}
        if not isinstance(body, Mapping) or set(body) != set(kinds):
            raise CannotTell(f"{RECORD} on the node is not a record of a drain")
        if not all(isinstance(body[name], kind) for name, kind in kinds.items()):
            raise CannotTell(f"{RECORD} on the node is not a record of a drain")
        return Record(**body)


class OnNode(Protocol):
    """What is asked of a node; a test may answer it."""

    def record(self) -> Record | None:
        """The record of a drain that stands on the node."""
        ...

    def keep(self, record: Record | None) -> None:
        """Write the record, or take it away."""
        ...

    def busy(self) -> list[str]:
        """Processes on the GPUs, in words."""
        ...

    def slurm(self) -> controller.Node:
        """The node as Slurm sees it."""
        ...

    def drain(self, reason: str) -> None:
        """Have Slurm drain it."""
        ...

    def undrain(self) -> None:
        """Have Slurm lift its drain."""
        ...


class Ssh:
    """A node over SSH. Every question may raise `CannotTell`."""

    def __init__(self, rack: Rack, node: Node, ssh: SshSettings) -> None:
        self.rack, self.node, self.ssh = rack, node, ssh

    def record(self) -> Record | None:
        """The record of a drain that stands on the node.

        Raises:
            CannotTell: it cannot be read, or is none.
        """
        text = self._ask(f"sh -c 'if [ -e {RECORD} ]; then cat {RECORD}; fi'").out
        if not text.strip():
            return None
        try:
            return Record.from_json(json.loads(text))
        except ValueError as error:
            raise CannotTell(f"{RECORD} on the node cannot be read: {error}") from error

    def keep(self, record: Record | None) -> None:
        """Write the record, or take it away.

        Raises:
            CannotTell: it cannot be written.
        """
        if record is None:
            self._ask(f"rm -f {RECORD}")
            return
        folder = str(Path(RECORD).parent)
        script = (
            f"umask 022; mkdir -p {folder} && cat >{RECORD}.new && sync {RECORD}.new"
            f" && mv {RECORD}.new {RECORD} && sync {folder}"
        )
        body = json.dumps(asdict(record)).encode() + b"\n"
        self._ask(f"sh -c {shlex.quote(script)}", body)

    def busy(self) -> list[str]:
        """Processes on the GPUs, in words.

        Raises:
            CannotTell: they cannot be seen.
        """
        source = Path(clients.__file__).read_bytes()
        answer = self._ask("/usr/bin/python3 -I -", source)
        try:
            found = json.loads(answer.out)["clients"]
            return [
                printable(f"{one['name']} ({one['pid']})") + (f" of {one['unit']}" if one["unit"]
                else "") for one in found
            ]  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise CannotTell(f"what uses its GPUs cannot be read: {error}") from error

    def slurm(self) -> controller.Node:
        """The node as Slurm sees it.

        Raises:
            CannotTell: its controller does not say.
        """
        text = self._scontrol(f"show node {_NAME}").out.decode("utf-8", "replace")
        try:
            return next(controller.read(text))
        except (controller.Unreachable, StopIteration) as error:
            raise CannotTell(f"scontrol does not show the node: {error}") from error

    def drain(self, reason: str) -> None:
        """Have Slurm drain it.

        Raises:
            CannotTell: it was refused, or nobody knows whether it was done.
        """
        self._scontrol(f"update NodeName={_NAME} State=DRAIN Reason={shlex.quote(reason)}")

    def undrain(self) -> None:
        """Have Slurm lift its drain; a node that is down stays down.

        Raises:
            CannotTell: it was refused, or nobody knows whether it was done.
        """
        self._scontrol(f"update NodeName={_NAME} State=UNDRAIN")

    def _scontrol(self, words: str) -> Answer:
        script = f'LC_ALL=C; PATH="$PATH:{controller.PLACES}"; export LC_ALL PATH; scontrol {words}'
        return self._ask(f"sh -c {shlex.quote(script)}")

    def _ask(self, command: str, stdin: bytes = b"") -> Answer:
        limit = ASK_S * self.node.patience
        try:
            answer = remote.call(
                self.rack, self.node, AS_ROOT + command, ssh=self.ssh, limit_s=limit, most=MOST,
                stdin=stdin,
            )  # fmt: skip
        except Unreachable as error:
            raise CannotTell(f"the node could not be asked: {error}") from error
        if answer.returncode != 0:
            last = said(answer) or "it said nothing"
            program = command.split(maxsplit=1)[0]
            raise CannotTell(f"{program} on the node ended with {answer.returncode}: {last}")
        return answer

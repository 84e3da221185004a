"""What Slurm's controller says of nodes, and the two things that we ask of it.

Through scontrol's text: its JSON came after 22.05, and changes with every release. In the form
with many lines each value that may hold anything has a line of its own, so that a reason or a
comment cannot pass for a state.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

DEADLINE_S = 12.0
"""Longer than Slurm's own MessageTimeout of 10 s, so that its message comes before our end. A
drain asks four times; slurmd ends a HealthCheckProgram after 60 s."""
PLACES = "/usr/bin:/usr/local/bin:/opt/slurm/bin:/usr/local/slurm/bin"
_WHO = re.compile(r"(?P<text>.*) \[(?P<by>[^\[\]@ ]+)@(?P<at>[^\[\]@ ]+)\]", re.DOTALL)
_OUT = frozenset({"DOWN", "FAIL", "FAILING", "ERROR", "FUTURE"})
_BUSY = frozenset({"ALLOCATED", "MIXED", "COMPLETING"})


class Unreachable(Exception):
    """Slurm's controller did not answer, or not with what was asked; the message says what."""


@dataclass(frozen=True)
class Node:
    """A node as the controller sees it.

    Args:
        name: its NodeName.
        state: base state and flags.
        partitions: the partitions that it is in.
        reason: why it is drained or down, without who said it; empty for none.
        by: who gave the reason.
    """

    name: str
    state: frozenset[str]
    partitions: tuple[str, ...]
    reason: str = ""
    by: str = ""

    @property
    def drained(self) -> bool:
        """Whether no new job starts on it because somebody drained it."""
        return any(word.startswith("DRAIN") for word in self.state)

    @property
    def out(self) -> bool:
        """Whether it is out of service for another reason than a drain."""
        return bool(self.state & _OUT)

    @property
    def busy(self) -> bool:
        """Whether jobs run on it, or their last steps do; a drain lets them end."""
        return bool(self.state & _BUSY)


class Controller:
    """slurmctld, by way of scontrol."""

    def __init__(self) -> None:
        search = f"{os.environ.get('PATH', '')}:{PLACES}"
        self._program = shutil.which("scontrol", path=search)
        self._environment = {k: v for k, v in os.environ.items() if k != "SLURM_TIME_FORMAT"}
        self._environment["LC_ALL"] = "C"

    def node(self, name: str) -> Node:
        """One node.

        Raises:
            Unreachable: it cannot be had.
        """
        for found in read(self._run("show", "node", name)):
            if found.name == name:
                return found
        raise Unreachable(f"scontrol does not show the node {name}")

    def nodes(self) -> list[Node]:
        """Every node of the cluster, from one answer, so as they are at one moment.

        Raises:
            Unreachable: they cannot be had.
        """
        return list(read(self._run("show", "nodes")))

    def drain(self, name: str, reason: str) -> None:
        """Drain a node, or give a drained one another reason.

        Raises:
            Unreachable: it was refused, or nobody knows whether it was done.
        """
        self._run("update", f"NodeName={name}", "State=DRAIN", f"Reason={reason}")

    def undrain(self, name: str) -> None:
        """Lift a drain and nothing else: a node that is down stays down.

        Raises:
            Unreachable: it was refused, or nobody knows whether it was done.
        """
        self._run("update", f"NodeName={name}", "State=UNDRAIN")

    def _run(self, *words: str) -> str:
        if self._program is None:
            raise Unreachable("the command scontrol is not there")
        asked = f"scontrol {' '.join(words[:2])}"
        try:
            ended = subprocess.run(
                [self._program, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=DEADLINE_S,
                env=self._environment,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Unreachable(f"{asked} did not end within {DEADLINE_S:g} s") from error
        except OSError as error:
            raise Unreachable(f"{asked}: {error.strerror or error}") from error
        out = ended.stdout.decode("utf-8", "replace")
        if ended.returncode:
            said = f"{ended.stderr.decode('utf-8', 'replace')}\n{out}".strip().splitlines()
            last = said[-1].strip()[:200] if said else "nothing said"
            raise Unreachable(f"{asked} ended with {ended.returncode}: {last}")
        return out


def read(text: str) -> Iterator[Node]:
    """The nodes of `scontrol show nodes`.

    Raises:
        Unreachable: it cannot be read.
    """
    for block in re.split(r"\n(?=NodeName=)", text.strip()):
        if block.startswith("NodeName="):
            yield _node(block.splitlines())


def _node(lines: list[str]) -> Node:
    name = lines[0].split()[0].partition("=")[2]
    told: dict[str, str] = {}
    for line in lines[1:]:
        key, _, value = line.strip().partition("=")
        told.setdefault(key, value.strip())
    if not told.get("State"):
        raise Unreachable(f"scontrol shows no state of the node {name}")
    state = told["State"].split()[0].upper()
    words = frozenset(word.rstrip("*~#!%$@^-") for word in state.split("+"))
    match = _WHO.fullmatch(told.get("Reason", ""))
    reason, by = (match["text"], match["by"]) if match else (told.get("Reason", ""), "")
    partitions = tuple(p for p in told.get("Partitions", "").split(",") if p)
    return Node(name, words, partitions, "" if reason == "(null)" else reason, by)

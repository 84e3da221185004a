"""One run of an adapter: look, decide, do it, keep and show what came of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import syslog
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from provision.health.checks.all import known as known_checks
from provision.health.expect import Expected
from provision.health.limits import Limits
from provision.health.slurm import breaker, record
from provision.health.slurm.believe import evidence
from provision.health.slurm.controller import Controller, Unreachable
from provision.health.slurm.decide import Case, Decision, Rules, case, decide
from provision.health.slurm.record import Record
from provision.health.state import Busy, write_whole

OK, FINDINGS, NOT_RUN = 0, 1, 3
TEXTFILE = "holdfast_slurm.prom"
METRICS = {
    "last_run_timestamp_seconds": "When an adapter for Slurm last ran.",
    "drained": "1 while this node is drained by the audit.",
    "breaker_tripped": "1 when this node was not drained because too many are.",
    "breaker_allowed": "How many nodes the audit may have drained, when it was last counted.",
    "breaker_drained": "How many other nodes the audit had drained, when it was last counted.",
    "controller_reached": "1 when Slurm's controller answered, or was not asked.",
}
"""What Prometheus gets, each name after ``holdfast_slurm_``."""
_WAIT_S = 20.0
_LOUD = ("tripped", "unreachable")


@dataclass(frozen=True)
class Place:
    """Where things are: the audit's folder, and the node's tree."""

    folder: Path
    root: Path = Path("/")


class Tripped(Exception):
    """The breaker does not allow a drain; the message says what was counted."""


def name_of_this_node() -> str:
    """What Slurm calls this node: slurmd says it, else it is the host's short name."""
    return os.environ.get("SLURMD_NODENAME") or platform.node().split(".", 1)[0]


@dataclass(frozen=True)
class Ran:
    """What a run came to: exit code, sentence, and whether a job must not start here."""

    status: int
    said: str
    refuse: bool = False


def check(place: Place, expected: Expected) -> Ran:
    """What HealthCheckProgram does.

    Raises:
        Mistake: the declaration's limits cannot be used.
        Busy: another adapter does not end.
        OSError: the record cannot be kept.
    """
    with _alone(place.folder):
        return _Run.of(place, expected, waits=True).health_check()


def job(place: Place, expected: Expected) -> Ran:
    """What prolog and epilog do: ask Slurm only when this node is drained by us, or should be.

    Raises:
        Mistake: the declaration's limits cannot be used.
        Busy: another adapter does not end.
        OSError: the record cannot be kept.
    """
    with _alone(place.folder):
        # A job is at the door: a node that nobody has looked at does not get it.
        run = _Run.of(place, expected, waits=False)
        if run.asked and not run.ripe and run.kept.drain is None:
            record.save(place.folder, run.kept)
            return Ran(OK, "nothing that counts fails")
        return run.health_check()


@dataclass
class _Run:
    place: Place
    settings: dict[str, Any]
    case: Case
    me: str = field(default_factory=name_of_this_node)
    slurm: Controller = field(default_factory=Controller)

    @classmethod
    def of(cls, place: Place, expected: Expected, *, waits: bool) -> _Run:
        settings = expected.declared.get("slurm") or {}
        rules = Rules.of(Limits(known_checks(), expected))
        known = evidence(place.folder, place.root, rules.max_age)
        if known.waiting and not waits:
            known = replace(known, waiting=False)
        kept = record.load(place.folder)
        made = case(kept, known, settings.get("least", "high"), rules, time.time())
        return cls(place, settings, made)

    @property
    def kept(self) -> Record:
        """What is kept."""
        return self.case.record

    @property
    def ripe(self) -> list[dict[str, Any]]:
        """The findings that may drain."""
        return self.case.ripe

    @property
    def asked(self) -> bool:
        """Whether the declaration asks for drains."""
        return bool(self.settings.get("drain"))

    def health_check(self) -> Ran:
        if not self.asked:
            text = f"{self.me} is not drained{self._although()}: drains are not asked for"
            return Ran(FINDINGS if self.ripe else OK, text)
        before = self.kept.outcome
        ran = self._with_slurm()
        self.kept.ran, self.kept.said = self.case.now, ran.said
        record.save(self.place.folder, self.kept)
        write_whole(self.place.folder / TEXTFILE, textfile(self.kept, self.me))
        if self.kept.outcome in _LOUD or self.kept.outcome != before:
            level = syslog.LOG_CRIT if self.kept.outcome in _LOUD else syslog.LOG_NOTICE
            syslog.openlog("holdfast-health", syslog.LOG_PID, syslog.LOG_DAEMON)
            syslog.syslog(level, ran.said)
        return ran

    def _with_slurm(self) -> Ran:
        try:
            node = self.slurm.node(self.me)
            if not node.drained and self.kept.drain is not None:
                self._forget()  # somebody lifted it, or it never came to be
            decision = decide(node, self.case)
            self._do(decision)
        except Tripped as error:
            self.kept.outcome = "tripped"
            return Ran(NOT_RUN, f"BREAKER: {error}. {self.me} stays in service{self._although()}")
        except Unreachable as error:
            self.kept.outcome = "unreachable"
            text = f"Slurm's controller gave no answer to go by: {error}. "
            if self.kept.drain is not None and not self.kept.drain.settled:
                text += "The drain may have been made; the next run looks, and counts again"
            else:
                text += f"Nothing was changed{self._although()}"
            return Ran(NOT_RUN, text)
        self.kept.outcome = decision.outcome
        held = decision.outcome in ("drained", "held")
        well = not held and not self.kept.strikes and self.case.known.result is not None
        refuse = held or (node.drained and bool(self.ripe))
        return Ran(OK if well else FINDINGS, decision.said, refuse)

    def _although(self) -> str:
        if not self.ripe:
            return ""
        first, more = self.ripe[0], len(self.ripe) - 1
        text = f" although {first['check']} is {first['status']}: {first['seen']}"
        return f"{text} (and {more} more)" if more else text

    def _do(self, decision: Decision) -> None:
        if decision.do == "drain":
            self._drain(decision)
        elif decision.do == "settle":
            self.kept.drain = decision.drain
            self._settle()
        elif decision.do == "rewrite":
            assert decision.drain is not None
            decision.drain.settled = True  # the node is counted already
            self.slurm.drain(self.me, decision.drain.reason)
            self.kept.drain = decision.drain
        elif decision.do == "lift":
            self.slurm.undrain(self.me)
            self.kept.drain = None
        else:
            self.kept.drain = decision.drain

    def _drain(self, decision: Decision) -> None:
        """Drain within the bound, also when other nodes do the same at this moment.

        Each node counts once more after its own drain, and takes its own back when there are too
        many. Of the nodes that stay drained the last one has seen all others, so there are never
        more of them than allowed. Nodes that came at one moment may all step back; the next run
        tries again.
        """
        drain = decision.drain
        assert drain is not None
        self._count()
        recent = [*self.kept.drained, drain.since]
        drain.by_hand = len(recent) >= self.case.rules.flaps
        # Kept before it is done: should this run be killed now, the next one counts again.
        self.kept.drain, self.kept.drained = drain, recent
        record.save(self.place.folder, self.kept)
        self.slurm.drain(self.me, drain.reason)
        self._settle()

    def _settle(self) -> None:
        drain = self.kept.drain
        assert drain is not None
        try:
            self._count(drain.reason)
        except Tripped as error:
            self.slurm.undrain(self.me)
            self._forget()
            raise Tripped(f"{error}; the drain was taken back") from error
        drain.settled = True

    def _forget(self) -> None:
        """The drain is no more; one that was never settled does not count as one."""
        drain = self.kept.drain
        if drain is not None and not drain.settled:
            self.kept.drained = [t for t in self.kept.drained if t != drain.since]
        self.kept.drain = None

    def _count(self, ours: str = "") -> None:
        """Count the drains of ours; `ours` is the reason that this node must still have.

        Raises:
            Tripped: this node is one too many.
            Unreachable: they cannot be counted, or somebody else has taken the node meanwhile.
        """
        nodes = self.slurm.nodes()
        counted = breaker.count(nodes, self.me, self.settings)
        self.kept.breaker = asdict(counted)
        if ours and not any(n.name == self.me and n.reason == ours for n in nodes):
            self._forget()
            raise Unreachable("somebody else took the node at the same moment")
        if counted.tripped:
            raise Tripped(str(counted))


def textfile(kept: Record, node: str) -> str:
    """For Prometheus' textfile collector."""
    values = {
        "last_run_timestamp_seconds": kept.ran,
        "drained": kept.drain is not None,
        "breaker_tripped": kept.outcome == "tripped",
        "controller_reached": kept.outcome != "unreachable",
    }
    if kept.breaker:
        values["breaker_allowed"] = kept.breaker["allowed"]
        values["breaker_drained"] = kept.breaker["others"]
    lines = []
    for name, value in values.items():
        lines.append(f"# HELP holdfast_slurm_{name} {METRICS[name]}")
        lines.append(f"# TYPE holdfast_slurm_{name} gauge")
        lines.append(f'holdfast_slurm_{name}{{node="{node}"}} {float(value):.3f}')
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep health check, prolog and epilog of one node apart; they wait for each other."""
    until = time.monotonic() + _WAIT_S
    with (folder / "slurm.lock").open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise Busy(f"another adapter has run for {_WAIT_S:g} s") from error
                time.sleep(0.05)
        yield

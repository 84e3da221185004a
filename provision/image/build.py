"""Builds an image: runs its stages, each when what it needs is there, and uses again what is there
already.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provision.core.events import Event, EventSink
from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, fail
from provision.image import parts, stages
from provision.image.definition import Definition
from provision.image.sandbox import Running, Sandbox, numbers
from provision.image.stages import Known
from provision.image.store import Store, default_store
from provision.image.work import Given, StageRecord, Work

AT_ONCE = max(2, len(os.sched_getaffinity(0)))
"""How many stages run at once at most: each keeps about one processor busy."""


@dataclass(frozen=True)
class Done:
    """A stage of a build: its id, where its output is, and whether it was there already."""

    name: str
    id: str
    out: Path
    reused: bool
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"stage": self.name, "id": self.id, "out": os.fspath(self.out),
                "reused": self.reused, "seconds": round(self.seconds, 3)}  # fmt: skip


@dataclass(frozen=True)
class Built:
    """What came of a build."""

    definition: Definition
    epoch: int
    stages: tuple[Done, ...]

    @property
    def outputs(self) -> Mapping[str, Path]:
        """The output of each stage, by name."""
        return {one.name: one.out for one in self.stages}

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "image": self.definition.name,
            "definition": self.definition.digest,
            "epoch": self.epoch,
            "stages": [one.to_json() for one in self.stages],
        }


def epoch_of(definition: Definition, environ: Mapping[str, str]) -> int:
    """The time that everything says: SOURCE_DATE_EPOCH where it is set, else the definition's.

    Raises:
        HoldfastError: the variable is no number (exit code 2).
    """
    given = environ.get("SOURCE_DATE_EPOCH", "")
    if not given:
        return definition.epoch
    if not given.isdigit():
        raise fail("bad-epoch", f"SOURCE_DATE_EPOCH is {given!r}, not a number of seconds",
                   hint="unset it, or give Unix seconds", exit_code=ExitCode.USAGE)  # fmt: skip
    return int(given)


def build(
    definition: Definition,
    given: Given,
    events: EventSink,
    *,
    until: str | None = None,
    store: Store | None = None,
    environ: Mapping[str, str] | None = None,
) -> Built:
    """Run the stages up to `until`, each unless its output is there already.

    Raises:
        HoldfastError: a stage failed; what came before it is kept.
    """
    epoch = epoch_of(definition, os.environ if environ is None else environ)
    chosen = stages.until(until)
    for one in chosen:
        stages.sources(one.name)
    kept = store or default_store()
    # Asked before anything is done: without these no stage can run.
    numbers()
    run = _Run(definition, given, events, kept, epoch)
    names = [one.name for one in chosen]
    events.emit(Event("image.start", data={"image": definition.name, "stages": names,
                                           "definition": definition.digest}))  # fmt: skip
    with _usual_modes():
        done = run.all(chosen)
    kept.prune()
    events.emit(Event("image.end", data={"image": definition.name}))
    return Built(definition, epoch, done)


@contextmanager
def _usual_modes() -> Iterator[None]:
    """What programs make has the modes that it has on a node, however careful the caller is."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


class _Run:
    def __init__(
        self, definition: Definition, given: Given, events: EventSink, store: Store, epoch: int
    ) -> None:
        self.definition = definition
        self.given = given
        self.events = _OneAtATime(events)
        self.store = store
        self.epoch = epoch
        self.running = Running()
        self.done: dict[str, Done] = {}
        self.records: dict[str, StageRecord] = {}

    def all(self, chosen: Sequence[Known]) -> tuple[Done, ...]:
        """Run the stages, each as soon as what it needs is there; what each came to, in order.

        Raises:
            HoldfastError: one failed, and those that ran beside it were ended.
        """
        waiting = list(chosen)
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            at_work: set[Future[None]] = set()
            try:
                while waiting or at_work:
                    ready = [one for one in waiting if self.done.keys() >= set(one.stage.NEEDS)]
                    waiting = [one for one in waiting if one not in ready]
                    if len(ready) == 1 and not at_work:
                        # Here, where an interrupt arrives: what it starts ends in good order.
                        self.stage(ready[0])
                        continue
                    at_work |= {pool.submit(self.stage, one) for one in ready}
                    ended, at_work = wait(at_work, return_when=FIRST_COMPLETED)
                    for one in ended:
                        one.result()
            except BaseException:
                self.running.end()
                raise
        return tuple(self.done[one.name] for one in chosen)

    def stage(self, one: Known) -> None:
        """Run one stage, or use what it made before."""
        if self.running.stopped():
            return
        begun = time.monotonic()
        self.events.emit(Event("stage.start", phase=one.name, data={"about": one.about}))
        try:
            record = stages.identify(
                one, self.definition, self.given, self.records, epoch=self.epoch
            )
            out, made = self.store.get(
                one.name, record.id, lambda part: self._make(one, part), self._says(record)
            )
        except HoldfastError as error:
            problem = error.problems[0].message if error.problems else ""
            data = {"state": "failed", "why": problem}
            if self.running.stopped():
                data = {"state": "stopped"}
            self.events.emit(Event("stage.end", phase=one.name, data=data))
            raise
        self.store.used(one.name, record.id)
        self.records[one.name] = replace(record, parts=parts.read(out))
        found = Done(one.name, record.id, out, not made, time.monotonic() - begun)
        self.done[one.name] = found
        state = "made" if made else "reused"
        self.events.emit(Event("stage.end", phase=one.name,
                               data={"state": state, "id": record.id,
                                     "seconds": round(found.seconds, 3)}))  # fmt: skip

    def _make(self, one: Known, out: Path) -> None:
        stage = one.stage
        with _scratch(out.parent) as scratch:
            work = Work(
                stage=one.name,
                definition=one.fields(self.definition),
                options=stage.options(self.definition, self.given),
                inputs={name: self.done[name].out for name in stage.NEEDS},
                out=out,
                epoch=self.epoch,
                sandbox=Sandbox((out,), self.epoch, scratch, running=self.running),
                events=self.events,
                given=self.given,
                stages=dict(self._below(one.name)),
            )
            stage.run(work)

    def _below(self, name: str) -> Iterator[tuple[str, StageRecord]]:
        """Every stage that one builds on, near or far, in their order."""
        found: set[str] = set()
        queue = [name]
        while queue:
            needs = set(stages.known()[queue.pop()].stage.NEEDS) - found
            found |= needs
            queue += needs
        return ((one, self.records[one]) for one in stages.known() if one in found)

    def _says(self, record: StageRecord) -> dict[str, Any]:
        return {"schema": "holdfast.stage/1", "id": record.id, "tools": dict(record.tools)}


class _OneAtATime:
    """Hands events on one by one, whichever stage they come from."""

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Take one event."""
        with self._lock:
            self._sink.emit(event)


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A folder for what a stage throws away, on the disk that its output is on."""
    folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=beside))
    folder.chmod(0o1777)
    try:
        yield folder
    finally:
        Sandbox().remove(folder)


def collect(built: Built, target: Path) -> list[Path]:
    """Copy what the last stage made into `target`, a new folder or an empty one.

    Raises:
        HoldfastError: the folder is there and not empty (exit code 2).
    """
    if target.exists() and any(target.iterdir()):
        raise fail("not-empty", "the folder is there and not empty", where=os.fspath(target),
                   hint="give another one", exit_code=ExitCode.USAGE)  # fmt: skip
    target.mkdir(parents=True, exist_ok=True)
    found = []
    for path in sorted(built.stages[-1].out.iterdir()):
        copied = target / path.name
        if path.is_dir():
            Sandbox((target,)).copy(path, copied)
        else:
            shutil.copyfile(path, copied)
        found.append(copied)
    return found

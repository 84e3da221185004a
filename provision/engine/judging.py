"""A run that judges and changes nothing: recorded and journalled as every other run is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from provision.core.events import Event, EventSink, FileSink, Tee
from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError
from provision.engine.processes import ProcessId
from provision.engine.runs import RunFolder, new_run
from provision.engine.session import Request, new_record


@dataclass
class Judging:
    """The run while it goes on: where it keeps its files, and who is told what happens.

    `exit_code` is what it ends with; it is set by whoever judges.
    """

    folder: RunFolder
    sink: EventSink
    exit_code: ExitCode = ExitCode.NOT_DONE


@contextmanager
def judging(request: Request, run: str, watcher: EventSink) -> Iterator[Judging]:
    """Record a run named `run`, and journal its begin and its end, however it ends.

    Raises:
        OSError: the state folder cannot be written.
    """
    folder = new_run(replace(new_record(request), run=run))
    found = Judging(folder, Tee([FileSink(folder.journal), watcher]))
    names = [node.name for node in request.rack.nodes]
    data = {"run": run, "verb": request.verb, "rack": request.rack.name, "nodes": names,
            "phases": [], "resumed": False}  # fmt: skip
    found.sink.emit(Event("run.start", data=data, durable=True))
    own = ProcessId.of(os.getpid())
    if own is not None:
        told = {"name": "holdfast", "pid": own.pid, "start": own.start, "boot": own.boot}
        found.sink.emit(Event("process.start", data=told, durable=True))
    stage = {"stage": "verify"}
    found.sink.emit(Event("stage.start", data=stage))
    reason = "internal"
    try:
        yield found
        found.sink.emit(Event("stage.end", data={**stage, "status": "ok"}, durable=True))
        reason = "findings" if found.exit_code is ExitCode.FINDINGS else "ok"
    except KeyboardInterrupt:
        found.exit_code, reason = ExitCode.INTERRUPTED, "interrupted"
        raise
    except HoldfastError as error:
        found.exit_code, reason = error.exit_code, error.problems[0].code
        raise
    finally:
        ended = {"exit_code": int(found.exit_code), "reason": reason}
        found.sink.emit(Event("run.end", data=ended, durable=True))

"""Runs probes in child processes, each with a deadline.

A child that hangs is killed, and what it had said before counts. A child that cannot be killed,
because the kernel does not let go of it, is reported and left behind: it is never waited for.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from provision.health.probes.ask import Ask, Progress
from provision.health.sight import ProbeRun, Sight

KILL_GRACE_S = 2.0
"""How long a killed child may take to go before it is left behind."""
_POLL_S = 0.05
_END = b'{"end":true}\n'
_LARGEST = 16 << 20
_LONGEST = 4 << 20
_MOST_FILES = 4096


@dataclass(frozen=True)
class Probe:
    """A probe: its `name`, the first words of the `parts` it sees, and its code.

    Args:
        name: what results call it.
        parts: first words of the names of what it says.
        look: its code; gets an `Ask`.
        deadline: seconds that all of it may take.
        step: seconds that one thing it does may take, or 0 for no limit but the deadline.
        resumes: whether it can be started again without what it hung in (`Ask.skip`).
    """

    name: str
    parts: tuple[str, ...]
    look: Callable[[Ask], None]
    deadline: float = 10.0
    step: float = 0.0
    resumes: bool = False


@dataclass
class _Child:
    probe: Probe
    pid: int
    pipe: int
    progress: Progress
    began: float
    skip: frozenset[str]
    buffer: bytearray = field(default_factory=bytearray)
    size: int = 0
    ended: bool = False
    reason: tuple[str, str] = ("", "")


def run(
    probes: Sequence[Probe], ask: Callable[[Probe], dict[str, Any]], *, parallel: int = 3
) -> Sight:
    """Let the probes look, `parallel` at a time.

    Args:
        probes: what to run, in this order.
        ask: what each probe's `Ask` holds beside the ways to tell.
        parallel: how many children there may be at once.
    """
    sight = Sight(owners={part: p.name for p in probes for part in p.parts})
    waiting: list[tuple[Probe, frozenset[str], float]] = [(p, frozenset(), 0.0) for p in probes]
    running: dict[int, _Child] = {}
    with selectors.DefaultSelector() as ready, contextlib.ExitStack() as ending:
        # Whatever ends the audit, a signal too, ends its children.
        ending.callback(lambda: [_end(child) for child in running.values()])
        while waiting or running:
            while waiting and len(running) < parallel:
                probe, skip, began = waiting.pop(0)
                child = _start(probe, ask(probe), skip, began)
                running[child.pipe] = child
                ready.register(child.pipe, selectors.EVENT_READ)
            for key, _ in ready.select(_wait(running.values())):
                _read(running[key.fd], sight)
            for child in [c for c in running.values() if c.ended or _overdue(c)]:
                ready.unregister(child.pipe)
                del running[child.pipe]
                again = _finish(child, sight)
                if again is not None:
                    waiting.insert(0, (child.probe, again, child.began))
    return sight


def _start(probe: Probe, told: dict[str, Any], skip: frozenset[str], began: float) -> _Child:
    progress = Progress()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    gc.freeze()  # the child must not touch, and so copy, what it only inherited
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _be_child(probe, told, skip, progress, writer)
    os.close(writer)
    os.set_blocking(reader, False)
    return _Child(probe, pid, reader, progress, began or time.monotonic(), skip)


def _be_child(
    probe: Probe, told: dict[str, Any], skip: frozenset[str], progress: Progress, writer: int
) -> None:
    """Everything that the child does; does not return."""
    status = 70
    try:
        os.setsid()  # so that what it starts can be ended with it
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        quiet = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(quiet, descriptor)
        # Nothing of the audit's may stay open in a child that outlives it, its lock least of all.
        os.closerange(3, writer)
        os.closerange(writer + 1, _MOST_FILES)

        def tell(line: bytes) -> None:
            while line:
                line = line[os.write(writer, line) :]

        progress.doing("starting")
        try:
            probe.look(Ask(tell=tell, progress=progress, skip=skip, **told))
        except Exception as error:  # said to the audit, which knows what to make of it
            text = f"{type(error).__name__}: {error}"
            tell(json.dumps({"broke": text}).encode() + b"\n")
        else:
            tell(_END)
        status = 0
    finally:
        os._exit(status)


def _wait(running: Any) -> float:
    now = time.monotonic()
    left = [_POLL_S * 4]
    for child in running:
        left.append(child.began + child.probe.deadline - now)
        if child.probe.step:
            left.append(_POLL_S)
    return max(0.0, min(left))


def _read(child: _Child, sight: Sight) -> None:
    try:
        data = os.read(child.pipe, 1 << 16)
    except BlockingIOError:
        return
    if not data:
        child.ended = True
        return
    child.size += len(data)
    if child.size > _LARGEST:
        child.reason = ("error", f"the probe {child.probe.name} said too much")
        child.ended = True
        return
    child.buffer += data
    if len(child.buffer) > _LONGEST:
        child.reason = ("error", f"the probe {child.probe.name} said a line that does not end")
        child.ended = True
        return
    if b"\n" not in data:
        return
    *lines, rest = bytes(child.buffer).split(b"\n")
    child.buffer = bytearray(rest)
    for line in lines:
        _take(child, line, sight)


def _take(child: _Child, line: bytes, sight: Sight) -> None:
    try:
        told = json.loads(line)
    except ValueError:
        child.reason = ("truncated", f"the probe {child.probe.name} said what cannot be read")
        return
    if "end" in told:
        child.reason = ("ended", "")
    elif "broke" in told:
        child.reason = ("error", f"the probe {child.probe.name} broke: {told['broke']}")
    else:
        sight.take(told)


def _overdue(child: _Child) -> bool:
    now = time.monotonic()
    since, slow, doing = child.progress.read()
    late = ""
    if now - child.began > child.probe.deadline:
        late = f"within {child.probe.deadline:g} s"
    elif child.probe.step and since and now - since > child.probe.step * slow:
        late = f"within {child.probe.step * slow:g} s"
    if late and not child.reason[0]:
        child.reason = ("hang", f"{doing or 'starting'} did not end {late}")
    return bool(late)


def _finish(child: _Child, sight: Sight) -> frozenset[str] | None:
    """End a child; returns what to leave out when it is to be started again."""
    gone, how = _end(child)
    os.close(child.pipe)
    kind, reason = child.reason
    doing = child.progress.read()[2]
    if not kind:
        cause = f"by signal {-how}" if how < 0 else f"with status {how}"
        kind, reason = "crash", f"the probe {child.probe.name} ended {cause} in: {doing}"
        if how == 0:
            kind, reason = "truncated", f"the answer of the probe {child.probe.name} ended early"
    if child.buffer and kind == "ended":
        kind, reason = "truncated", f"the answer of the probe {child.probe.name} ended early"
    if not gone:
        reason += f"; the process {child.pid} cannot be killed and was left behind"
    seconds = round(time.monotonic() - child.began, 4)
    run_ = ProbeRun(child.probe.name, kind, seconds, reason, child.pid, left_behind=not gone)
    culprit = doing.split(" ", 1)[0] if " " in doing else ""
    retry = (
        child.probe.resumes and gone and kind in ("hang", "crash")
        and culprit.startswith("gpu:") and culprit not in child.skip
        and time.monotonic() - child.began < child.probe.deadline
    )  # fmt: skip
    if retry:
        sight.missing[f"culprit.{culprit}"] = (kind, reason)
        return child.skip | {culprit}
    sight.runs = [r for r in sight.runs if r.name != run_.name]
    sight.runs.append(replace(run_))
    return None


def _end(child: _Child) -> tuple[bool, int]:
    """End what is left of a child; whether it is gone, and its status (negative: the signal)."""
    if child.ended and _over(child.pid, _POLL_S):  # it closed its pipe: it ends by itself
        return True, _bury(child.pid)
    _kill(child.pid)
    if _over(child.pid, KILL_GRACE_S):
        return True, _bury(child.pid)
    return False, 0


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _over(pid: int, patience: float) -> bool:
    """Whether a child is over within `patience` seconds; it stays there to be buried."""
    until = time.monotonic() + patience
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= until:
            return False
        time.sleep(0.002)
    return True


def _bury(pid: int) -> int:
    """Take a dead child's status, and what it started with it."""
    _kill(pid)  # its group, while its id cannot be anybody else's
    _, status = os.waitpid(pid, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

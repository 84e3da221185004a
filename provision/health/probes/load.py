"""Puts GPUs under load with the programs that are made for it, where they are installed.

Each program has a probe, and so a child and a deadline, of its own: one that hangs costs no other's
answer. Only one works at a time.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from provision.health.children import Probe
from provision.health.clients import OWN, SERVING, holders, listed_in, unit_of
from provision.health.probes import load_said
from provision.health.probes.ask import Ask, Failed

DIAG = ("memory_bandwidth", "diagnostic")
"""Tests of DCGM: reads and writes of a GPU's own memory, and large matrix multiplications."""
PAIRS = "device_to_device_memcpy_read_ce"
"""The test of nvbandwidth: each GPU reads from each other one, a pair at a time."""
BYTES = "4G"
"""What NCCL adds up: large enough for its full bandwidth, and three buffers fit into 16 GiB."""
DCGMI_S, BANDWIDTH_S, NCCL_S = 900.0, 300.0, 300.0
"""Seconds that a program may take. DCGM's matrix test alone takes three minutes by default."""
_ROOM_S = 30.0
_GRACE_S = 10.0
_MOST = 4 << 20


@dataclass(frozen=True)
class _Program:
    """How a program is asked: what `read` makes of its answer, what `explains` that it failed."""

    argv: Sequence[str]
    limit: float
    read: Callable[[str], Any]
    explains: Callable[[Any], bool]


@dataclass(frozen=True)
class _Said:
    status: int
    out: str
    err: str


def clients(ask: Ask) -> None:
    """Say which processes use the GPUs; the driver's own daemons do not count."""
    ask.see("clients.list", lambda: _clients(ask))


def _clients(ask: Ask) -> list[str]:
    proc = ask.path("/proc")
    found = holders(proc)
    argv = ["nvidia-smi", "--query-compute-apps=pid,process_name", "--format=csv,noheader"]
    with suppress(Failed):  # a second look beside the device files
        found = {**listed_in(ask.run(argv, 15.0)), **found}
    units = {pid: unit_of(proc, pid) for pid in found}
    return [
        f"{found[pid]} ({pid})" + (f" of {units[pid]}" if units[pid] else "")
        for pid in sorted(found)
        if units[pid] not in OWN or units[pid] == SERVING
    ]


def dcgmi(ask: Ask) -> None:
    """Let DCGM measure each GPU's memory and multiply matrices."""
    least = ask.numbers["memory"]
    argv = [
        "dcgmi", "diag", "-j", "-r", ",".join(DIAG),
        "-p", f"memory_bandwidth.minimum_bandwidth={least:.0f}",
    ]  # fmt: skip
    # Its status also tells of tests that were not asked for: the answer counts.
    asked = _Program(argv, DCGMI_S, lambda text: load_said.diag(text, DIAG), lambda _: True)
    ask.see("dcgmi.diag", lambda: _result(ask, asked))


def nvbandwidth(ask: Ask) -> None:
    """Let each GPU copy from each other one."""
    if ask.numbers["count"] < 2:
        ask.fail("nvbandwidth.pairs", "not_looked", "there are no two GPUs to copy between")
        return
    argv = ["nvbandwidth", "-j", "-t", PAIRS]
    asked = _Program(
        argv, BANDWIDTH_S, lambda text: load_said.bandwidths(text, PAIRS), lambda _: False
    )
    ask.see("nvbandwidth.pairs", lambda: _result(ask, asked))


def nccl(ask: Ask) -> None:
    """Let all GPUs add up together."""
    count = int(ask.numbers["count"])
    if count < 2:
        ask.fail("nccl.reduced", "not_looked", "there are no two GPUs that could add up together")
        return
    argv = ["all_reduce_perf", "-b", BYTES, "-e", BYTES, "-g", str(count)]
    asked = _Program(argv, NCCL_S, load_said.reduced, lambda told: bool(told["wrong"]))
    ask.see("nccl.reduced", lambda: _result(ask, asked))


CLIENTS = Probe("clients", ("clients",), clients, deadline=30.0)
PROBES = (
    Probe("dcgmi", ("dcgmi",), dcgmi, deadline=DCGMI_S + _ROOM_S),
    Probe("nvbandwidth", ("nvbandwidth",), nvbandwidth, deadline=BANDWIDTH_S + _ROOM_S),
    Probe("nccl", ("nccl",), nccl, deadline=NCCL_S + _ROOM_S),
)
"""In the order in which they work."""
LONGEST_S = sum(probe.deadline for probe in PROBES)


def _result(ask: Ask, asked: _Program) -> Any:
    """What a program's answer comes to.

    Raises:
        Failed: there is no answer that counts; one that failed has none, unless it explains itself.
    """
    said = _run(ask, asked.argv, asked.limit)
    last = (said.err.strip().splitlines() or [""])[-1][:200]
    ended = f"{asked.argv[0]} ended with {said.status}" + (f": {last}" if last else "")
    try:
        found = asked.read(said.out)
    except Failed as error:
        if said.status == 0:
            raise
        raise Failed(error.kind, f"{ended}; {error.reason}") from error
    if said.status < 0 or (said.status and not asked.explains(found)):
        raise Failed("error", ended)
    return found


def _run(ask: Ask, argv: Sequence[str], limit: float) -> _Said:
    """What a program says; one that fails says why in its answer, so its status is no error yet.

    Raises:
        Failed: it is not there, does not end in time, or says too much.
    """
    program, environment = ask.program(argv[0])
    environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # so that places in matrices mean something
    limit *= ask.patience
    with subprocess.Popen(
        [program, *argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=environment,
    ) as process:  # fmt: skip
        try:
            out, err = _read(process, argv[0], limit)
            status = process.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired as error:
            _stop(process)
            raise Failed("timeout", f"{argv[0]} said all and does not end") from error
        except BaseException:
            _stop(process)
            raise
    return _Said(status, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _read(process: subprocess.Popen[bytes], name: str, limit: float) -> list[bytes]:
    end = time.monotonic() + limit
    kept: dict[int, bytearray] = {}
    with selectors.DefaultSelector() as ready:
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            kept[stream.fileno()] = bytearray()
            ready.register(stream, selectors.EVENT_READ)
        while ready.get_map():
            left = end - time.monotonic()
            if left <= 0:
                raise Failed("timeout", f"{name} did not end within {limit:g} s")
            for key, _ in ready.select(left):
                data = os.read(key.fd, 1 << 16)
                if not data:
                    ready.unregister(key.fileobj)
                kept[key.fd] += data
                if len(kept[key.fd]) > _MOST:
                    raise Failed("error", f"{name} said more than {_MOST} bytes")
    return [bytes(data) for data in kept.values()]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a program. dcgmi ends the test in its host engine only when it is asked to end itself."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_GRACE_S)
        return
    process.kill()

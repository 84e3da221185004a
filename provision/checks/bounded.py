"""Runs a command whose output is another machine's: never longer, and never more, than is allowed.

A node that is broken, or worse, may send for ever; neither this machine's memory nor its disk pays
for that.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

WORDS = 64 * 1024
"""The most bytes of standard error that are kept; the rest is read and dropped."""
_PIECE = 64 * 1024
_LOOK_S = 0.1
"""Seconds after which it is looked at again whether it has ended."""


@dataclass(frozen=True)
class Answer:
    """What a command came to. `out` is empty where its output went into a file."""

    returncode: int
    out: bytes
    err: bytes


class TooMuch(Exception):
    """The command wrote more than is allowed; the message says how much that is."""


def call(
    argv: Sequence[str], stdin: bytes, *, limit_s: float, most: int, into: Path | None = None
) -> Answer:
    """Run a command to its end.

    Args:
        argv: the command.
        stdin: what it reads.
        limit_s: how many seconds it may take.
        most: how many bytes it may write to standard output.
        into: a file that takes its output, instead of memory.

    Raises:
        TooMuch: it wrote more than `most`; it is ended then.
        subprocess.TimeoutExpired: it did not end in time; it is ended then.
        OSError: it cannot be run, or `into` not be written.
    """
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(into.open("wb")) if into is not None else None
        child = stack.enter_context(
            subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
            )
        )
        # Whatever happens, it has ended before it is waited for.
        stack.callback(child.kill)
        return _Call(child, sink, most).finish(stdin, limit_s)


class _Call:
    """A running child, and what was read of it."""

    def __init__(self, child: subprocess.Popen[bytes], sink: IO[bytes] | None, most: int) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self.child = child
        self.sink = sink
        self.most = most
        self.size = 0
        self.stdin, self.stdout, self.stderr = child.stdin, child.stdout, child.stderr
        self.out = bytearray()
        self.err = bytearray()
        self.open = selectors.DefaultSelector()

    def finish(self, stdin: bytes, limit_s: float) -> Answer:
        """Talk with it until it has said all.

        Raises:
            TooMuch: it wrote too much.
            subprocess.TimeoutExpired: it did not end in time.
            OSError: its output cannot be kept.
        """
        deadline = time.monotonic() + limit_s
        left = memoryview(stdin)
        for pipe in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(pipe.fileno(), False)
        self.open.register(self.stdin, selectors.EVENT_WRITE)
        self.open.register(self.stdout, selectors.EVENT_READ)
        self.open.register(self.stderr, selectors.EVENT_READ)
        with self.open:
            # Standard error may stay open for ever: what the command has started may hold it.
            while self._is_open(self.stdout) or self.child.poll() is None:
                if time.monotonic() > deadline:
                    raise subprocess.TimeoutExpired(self.child.args, limit_s)
                for key, _ in self.open.select(_LOOK_S):
                    if key.fileobj is self.stdin:
                        left = left[self._write(left) :]
                    elif key.fileobj is self.stdout:
                        self._read(self.stdout, self._keep)
                    else:
                        self._read(self.stderr, self._hear)
            if self._is_open(self.stderr):
                self._read(self.stderr, self._hear)
        return Answer(self.child.returncode, bytes(self.out), bytes(self.err))

    def _is_open(self, pipe: IO[bytes]) -> bool:
        return pipe in (key.fileobj for key in self.open.get_map().values())

    def _end(self, pipe: IO[bytes]) -> None:
        self.open.unregister(pipe)
        pipe.close()

    def _write(self, left: memoryview) -> int:
        """Write a piece; returns how much went."""
        try:
            done = os.write(self.stdin.fileno(), left[:_PIECE]) if left else 0
        except BlockingIOError:
            return 0
        except OSError:  # It may end without having read all of it.
            self._end(self.stdin)
            return 0
        if done == len(left):
            self._end(self.stdin)
        return done

    def _read(self, pipe: IO[bytes], keep: Callable[[bytes], None]) -> None:
        try:
            piece = os.read(pipe.fileno(), _PIECE)
        except BlockingIOError:
            return
        if piece:
            keep(piece)
        else:
            self._end(pipe)

    def _keep(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self.most:
            raise TooMuch(f"more than {self.most / 2**20:.0f} MiB came")
        if self.sink is None:
            self.out += piece
        else:
            self.sink.write(piece)

    def _hear(self, piece: bytes) -> None:
        self.err += piece[: WORDS - len(self.err)]

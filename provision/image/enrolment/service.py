"""Lets claims in over HTTP, for as long as a window is open."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock, Thread, Timer
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, fail
from provision.image.enrolment.desk import MOST_BYTES, Desk, Refusal

_ANSWER_S = 10.0
"""How long a caller may take to say what it wants, all of it, in seconds."""
_AT_ONCE = 32
"""How many are heard at once."""
_OF_ONE = 8
"""How many of them from one address, so that no single machine takes every seat."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], desk: Desk) -> None:
        super().__init__(address, _Handler)
        self.desk = desk
        self.seats = BoundedSemaphore(_AT_ONCE)
        self._heard: Counter[str] = Counter()
        self._lock = Lock()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        # Who is sent away comes again: nodes ask until they are answered.
        del request
        with self._lock:
            return self._heard[client_address[0]] < _OF_ONE

    def process_request(self, request: Any, client_address: Any) -> None:
        # Who comes now waits outside; nobody in there talks longer than the time-out.
        self.seats.acquire()
        with self._lock:
            self._heard[client_address[0]] += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._heard[client_address[0]] -= 1
                self._heard += Counter()  # forgets whom nobody hears
            self.seats.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request
        self.desk.says(f"lost the connection from {client_address[0]}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _ANSWER_S

    def setup(self) -> None:
        super().setup()
        # The time-out of a socket begins anew with each byte that comes.
        self._patience = Timer(_ANSWER_S, _hang_up, [self.connection])
        self._patience.daemon = True
        self._patience.start()

    def finish(self) -> None:
        self._patience.cancel()
        super().finish()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self._say(413, {"refused": "this is no claim"})
            return
        try:
            body = self.rfile.read(int(length))
            self._patience.cancel()
            found = self.server.desk.answer(body, self.client_address[0])
        except Refusal as refusal:
            self._say(403, {"refused": str(refusal)})
        except HoldfastError as error:
            self.server.desk.says(str(error))
            self._say(500, {"refused": "the other side is out of order"})
        else:
            self._say(200, found)

    def _say(self, status: int, body: dict[str, str]) -> None:
        raw = json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(raw)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: what counts is said by the desk."""

    def log_error(self, *args: Any) -> None:
        """Say nothing here either."""


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


@contextmanager
def listening(desk: Desk, address: str, port: int) -> Iterator[int]:
    """Let `desk` hear claims at an address of this machine; gives the port.

    Raises:
        HoldfastError: the address cannot be listened at (exit code 2).
    """
    try:
        server = _Server((address, port), desk)
    except OSError as error:
        raise fail("bad-address", f"nothing can listen at {address}:{port}: {error.strerror}",
                   where="--listen", hint="an address of this machine that the nodes reach",
                   exit_code=ExitCode.USAGE) from error  # fmt: skip
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()

"""The origin serves what is public, and nothing that lies beside it; and it tells the time."""

from __future__ import annotations

import http.client
import http.server
import socket
import struct
import threading
import time
from functools import partial

import pytest

from provision.rehearsal import origin


@pytest.fixture
def folder(tmp_path):
    for name in ("el10/x86_64/a.rpm", "images/i.tar", "models/tiny/m.gguf", "private/key",
                 "stack.lock.json", "images-of-others/x"):  # fmt: skip
        path = tmp_path / "public" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "outside").write_text("outside")
    (tmp_path / "public/images/way-out").symlink_to(tmp_path / "outside")
    (tmp_path / "public/images/to-key").symlink_to("../private/key")
    return tmp_path / "public"


@pytest.fixture
def get(folder, monkeypatch):
    monkeypatch.setattr(origin.Handler, "log_message", lambda *args: None)
    handler = partial(origin.Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()

        def ask(path: str, method: str = "GET") -> tuple[int, bytes]:
            client = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
            try:
                client.putrequest(method, path, skip_host=False)
                client.endheaders()
                answer = client.getresponse()
                return answer.status, answer.read()
            finally:
                client.close()

        yield ask
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["el10/x86_64/a.rpm", "images/i.tar", "models/tiny/m.gguf"])
def test_serves_what_is_public(get, path):
    assert get(f"/{path}") == (200, path.encode())
    assert get(f"/{path}", "HEAD") == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/images",
        "/images/",
        "/private/key",
        "/stack.lock.json",
        "/images-of-others/x",
        "/images/../private/key",
        "/images/%2e%2e/private/key",
        "/images/..%2fprivate/key",
        "/images/%2e%2e/%2e%2e/outside",
        "//private/key",
        "/images/to-key",
        "/images/way-out",
        "/images/nothing",
        "/%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_serves_nothing_else(get, path, method):
    assert get(path, method)[0] == 404


def test_other_methods_are_not_known(get):
    assert get("/images/i.tar", "DELETE")[0] == 501


def test_time_is_what_ntp_clients_read():
    now = 1_763_856_000.25
    request = struct.pack("!B39xII", 4 << 3 | 3, 0xDEADBEEF, 0xCAFE)
    reply = origin._ntp_reply(request, now)
    assert len(reply) == 48
    assert (reply[0] >> 3 & 7, reply[0] & 7, reply[1]) == (4, 4, 1)
    originate, receive, transmit = struct.unpack("!8s8s8s", reply[24:])
    assert originate == request[40:]
    seconds, fraction = struct.unpack("!II", transmit)
    assert seconds - 2_208_988_800 + fraction / 2**32 == now
    assert receive == transmit


def test_time_is_served(monkeypatch):
    """Over a socket, on a port that needs no privilege."""
    bound: list[tuple[str, int]] = []
    real = socket.socket

    class Socket(real):
        def bind(self, address):
            super().bind((address[0], 0))
            bound.append(self.getsockname())

    monkeypatch.setattr(origin.socket, "socket", Socket)
    threading.Thread(target=origin.serve_time, args=("127.0.0.1",), daemon=True).start()
    end = time.monotonic() + 10
    while not bound and time.monotonic() < end:
        time.sleep(0.01)
    with real(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(b"too short", bound[0])
        client.sendto(struct.pack("!B47x", 3 << 3 | 4), bound[0])  # a server's packet: no answer
        client.sendto(struct.pack("!B47x", 3 << 3 | 3), bound[0])
        reply = client.recv(512)
    assert abs(struct.unpack("!I", reply[40:44])[0] - 2_208_988_800 - time.time()) < 5

"""The rehearsal's origin: serves its artefacts over HTTP and the time over NTP.

Run as ``python -m provision.rehearsal.origin FOLDER ADDRESS PORT`` inside the rehearsal's network.
Both are as small as they can be: what is served is signed or pinned by digest.
"""

from __future__ import annotations

import http.server
import socket
import struct
import sys
import threading
import time
from functools import partial
from pathlib import Path

_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970, RFC 5905
_SERVED = ("el9", "el10", "images", "models")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the public folders and nothing beside them."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Serve a file of the served folders; nothing else is here."""
        if self._is_served():
            super().do_GET()

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        if self._is_served():
            super().do_HEAD()

    def _is_served(self) -> bool:
        # What would be opened decides, after all unquoting and joining.
        root = Path(self.directory).resolve()
        path = Path(self.translate_path(self.path.replace("%00", "/"))).resolve()
        if path.is_file() and any(path.is_relative_to(root / top) for top in _SERVED):
            return True
        self.send_error(404)
        return False


def serve_time(address: str) -> None:
    """Answer NTP requests with this machine's clock."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind((address, 123))
        while True:
            request, peer = channel.recvfrom(512)
            if len(request) >= 48 and request[0] & 7 == 3:
                channel.sendto(_ntp_reply(request, time.time()), peer)


def _ntp_reply(request: bytes, now: float) -> bytes:
    """A stratum 1 server's answer to a client's request (RFC 5905, figure 8)."""
    version = request[0] >> 3 & 7
    head = struct.pack("!BBbb", version << 3 | 4, 1, request[2] & 0x7F, -20)
    stamp = struct.pack("!II", int(now) + _NTP_EPOCH, int(now % 1 * 2**32))
    return head + struct.pack("!II4s", 0, 0, b"LOCL") + stamp + request[40:48] + stamp + stamp


def main() -> None:
    """Serve until killed."""
    folder, address, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    threading.Thread(target=serve_time, args=(address,), daemon=True).start()
    handler = partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer((address, port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()

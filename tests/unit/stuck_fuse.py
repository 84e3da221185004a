"""A filesystem that never answers: whoever looks at it cannot be killed until it is gone.

Run as a program with a folder to mount on. It answers the kernel's greeting, says ``ready``, and
then takes every request without an answer. When it ends, the kernel lets the others go.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_INIT = 26


def main(folder: str) -> None:
    """Mount on `folder` and never answer."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"stuck", folder.encode(), b"fuse", 6, options):  # nosuid, nodev
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    while True:
        request = os.read(device, 1 << 20)
        _, opcode, unique = struct.unpack_from("<IIQ", request)
        if opcode == _INIT:
            body = struct.pack("<IIIIHHI", 7, 31, 4096, 0, 16, 12, 4096).ljust(64, b"\0")
            os.write(device, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)
            print("ready", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

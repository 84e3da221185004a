"""Becomes another program that gets SIGTERM when our process dies, however it dies.

Run as a script: ``leash.py PARENT WORD...``. It asks the kernel for the signal, makes sure that
PARENT is still there, and turns into the program. This is a program of its own because work
between fork and exec is not safe in a process that has threads, and the live table has one.

SIGTERM, not SIGKILL: ansible ends its workers on SIGTERM and leaves them behind on SIGKILL.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Set the leash and become the program; ends when the parent has died already."""
    parent, *words = argv
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(1)
    os.execv(words[0], words)


if __name__ == "__main__":
    main(sys.argv[1:])

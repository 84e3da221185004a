"""Reads every file once, and prints both digests of it; run inside the sandbox by itself.

    python3 -I -S digests.py ROOT < paths

Paths are JSON strings, one a line; so is the answer: ``[path, sha1, sha256]``.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

_PIECE = 1 << 20


def main(root: str) -> None:
    """Answer for every path on standard input."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for line in sys.stdin:
        path = json.loads(line)
        # SPDX asks for a SHA-1 of every file; nothing here relies on it.
        sha1, sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
        flags = os.O_RDONLY | os.O_NOFOLLOW
        with os.fdopen(os.open(path.lstrip("/"), flags, dir_fd=folder), "rb", 0) as stream:
            while piece := stream.read(_PIECE):
                sha1.update(piece)
                sha256.update(piece)
        print(json.dumps([path, sha1.hexdigest(), sha256.hexdigest()]))


if __name__ == "__main__":
    main(sys.argv[1])

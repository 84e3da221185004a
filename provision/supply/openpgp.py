"""The fingerprint of an OpenPGP public key, computed from the key itself.

Only as much of RFC 9580 as that takes: armour, packet headers, and versions 4 and 6. Signatures
are rpm's and gpg's business.
"""

from __future__ import annotations

import base64
import hashlib
import re

_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = "-----END PGP PUBLIC KEY BLOCK-----"
_PUBLIC_KEY = 6
_HEADER = re.compile(r"[A-Za-z][A-Za-z-]*:( |$)")


def fingerprint(armored: str) -> str:
    """The primary key's fingerprint as upper-case hex.

    ``rpm --import`` takes every key of a file, and a fingerprint vouches for one: text that holds
    more than one key is refused. A node judges alike (``module_utils/openpgp.py`` of the
    collection, which imports nothing of this package); a test holds the two together.

    Raises:
        ValueError: this is not one whole armoured public key of version 4 or 6.
    """
    (tag, body), *others = _packets(_unarmour(armored))
    if tag != _PUBLIC_KEY:
        raise ValueError("the first packet is not a public key")
    if any(other == _PUBLIC_KEY for other, _ in others):
        raise ValueError("there is more than one key in it")
    if body[:1] == b"\x04":
        framed = b"\x99" + len(body).to_bytes(2, "big") + body
        return hashlib.sha1(framed, usedforsecurity=False).hexdigest().upper()
    if body[:1] == b"\x06":
        framed = b"\x9b" + len(body).to_bytes(4, "big") + body
        return hashlib.sha256(framed).hexdigest().upper()
    raise ValueError("only keys of version 4 and 6 are known")


def _unarmour(armored: str) -> bytes:
    # Only what rpm and gpg take for the end of a line is one: they must read the same key.
    lines = [line.strip(" \t\r") for line in armored.strip().split("\n")]
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise ValueError("this is not one whole armoured public key")
    inner = lines[1:-1]
    # Headers such as "Comment: x" end with an empty line; old writers leave both out.
    end = inner.index("") if "" in inner else -1
    if not all(_HEADER.match(line) for line in inner[: max(end, 0)]):
        raise ValueError("before its first empty line stands more than headers")
    body = inner[end + 1 :]
    try:
        return base64.b64decode("".join(x for x in body if not x.startswith("=")), validate=True)
    except ValueError as error:  # binascii.Error, or a character that is not ASCII
        raise ValueError(f"the armour is damaged: {error}") from None


def _packets(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and body of every packet; there is at least one."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data) or not found:
        tag, start, length = _header(data, at)
        body = data[start : start + length]
        if len(body) != length:
            raise ValueError("the key is cut short")
        found.append((tag, body))
        at = start + length
    return found


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start of the body and its length of the packet at `at` (RFC 9580, 4.2)."""
    head = data[at : at + 6]
    if len(head) < 2 or not head[0] & 0x80:
        raise ValueError("no packet begins here")
    if not head[0] & 0x40:
        width = {0: 1, 1: 2, 2: 4}.get(head[0] & 3)
        if width is None:
            raise ValueError("a packet without a length is not part of a key")
        return (head[0] >> 2) & 0x0F, at + 1 + width, int.from_bytes(head[1 : 1 + width], "big")
    tag, first = head[0] & 0x3F, head[1]
    if first < 192:
        return tag, at + 2, first
    if first < 224:
        return tag, at + 3, ((first - 192) << 8) + int.from_bytes(head[2:3], "big") + 192
    if first == 255:
        return tag, at + 6, int.from_bytes(head[2:6], "big")
    raise ValueError("a packet in parts is not part of a key")

"""The fingerprint of an OpenPGP public key, computed from the key itself.

Only as much of RFC 9580 as that takes: armour, packet headers, and versions 4 and 6. Signatures
are rpm's and gpg's business.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = "-----END PGP PUBLIC KEY BLOCK-----"
_PUBLIC_KEY = 6


def fingerprint(armored: str) -> str:
    """The primary key's fingerprint as upper-case hex.

    Raises:
        ValueError: this is not one whole armoured public key of version 4 or 6.
    """
    tag, body = _first_packet(_unarmour(armored))
    if tag != _PUBLIC_KEY:
        raise ValueError("the first packet is not a public key")
    if body[:1] == b"\x04":
        framed = b"\x99" + len(body).to_bytes(2, "big") + body
        return hashlib.sha1(framed, usedforsecurity=False).hexdigest().upper()
    if body[:1] == b"\x06":
        framed = b"\x9b" + len(body).to_bytes(4, "big") + body
        return hashlib.sha256(framed).hexdigest().upper()
    raise ValueError("only keys of version 4 and 6 are known")


def _unarmour(armored: str) -> bytes:
    lines = armored.strip().splitlines()
    if len(lines) < 3 or lines[0].strip() != _BEGIN or lines[-1].strip() != _END:
        raise ValueError("this is not one whole armoured public key")
    inner = [line.strip() for line in lines[1:-1]]
    # Headers such as "Comment: x" end with an empty line; old writers leave both out.
    body = inner[inner.index("") + 1 :] if "" in inner else inner
    try:
        return base64.b64decode("".join(x for x in body if not x.startswith("=")), validate=True)
    except binascii.Error as error:
        raise ValueError(f"the armour is damaged: {error}") from None


def _first_packet(data: bytes) -> tuple[int, bytes]:
    if len(data) < 6 or not data[0] & 0x80:
        raise ValueError("no packet begins here")
    if data[0] & 0x40:
        tag, (start, length) = data[0] & 0x3F, _new_length(data)
    else:
        tag, (start, length) = (data[0] >> 2) & 0x0F, _old_length(data)
    body = data[start : start + length]
    if len(body) != length:
        raise ValueError("the key is cut short")
    return tag, body


def _new_length(data: bytes) -> tuple[int, int]:
    first = data[1]
    if first < 192:
        return 2, first
    if first < 224:
        return 3, ((first - 192) << 8) + data[2] + 192
    if first == 255:
        return 6, int.from_bytes(data[2:6], "big")
    raise ValueError("a key in parts is not a key")


def _old_length(data: bytes) -> tuple[int, int]:
    width = {0: 1, 1: 2, 2: 4}.get(data[0] & 3)
    if width is None:
        raise ValueError("a key without a length is not a key")
    return 1 + width, int.from_bytes(data[1 : 1 + width], "big")

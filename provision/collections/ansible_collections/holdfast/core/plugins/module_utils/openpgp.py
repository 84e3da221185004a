# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of an armoured OpenPGP public key, without gpg.

Only what is needed to know which key a block of text holds: no signature is checked here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = "-----END PGP PUBLIC KEY BLOCK-----"
_PUBLIC_KEY = 6


def fingerprint(armoured: str) -> str:
    """The fingerprint of the first public key in `armoured`, in upper-case hexadecimal.

    Version 4 keys have 40 digits, version 5 and 6 keys have 64.

    Raises:
        ValueError: the text is not an armoured public key.
    """
    data = _dearmour(armoured)
    tag, body = _first_packet(data)
    if tag != _PUBLIC_KEY:
        raise ValueError("the first packet is not a public key (tag {0})".format(tag))
    if not body:
        raise ValueError("the public key packet is empty")
    version = body[0]
    if version == 4:
        head = b"\x99" + len(body).to_bytes(2, "big")
        return hashlib.sha1(head + body, usedforsecurity=False).hexdigest().upper()
    if version in (5, 6):
        head = (b"\x9a" if version == 5 else b"\x9b") + len(body).to_bytes(4, "big")
        return hashlib.sha256(head + body).hexdigest().upper()
    raise ValueError("public keys of version {0} are not supported".format(version))


def fingerprints(text: str) -> list[str]:
    """The fingerprints of all armoured keys in `text`; damaged blocks are left out."""
    found = []
    for part in text.split(_BEGIN)[1:]:
        block = _BEGIN + part.split(_END)[0] + _END
        try:
            found.append(fingerprint(block))
        except ValueError:
            continue
    return found


def _dearmour(text: str) -> bytes:
    lines = [line.strip() for line in text.strip().splitlines()]
    if _BEGIN not in lines or _END not in lines:
        raise ValueError("no armoured public key block")
    inside = lines[lines.index(_BEGIN) + 1 : lines.index(_END)]
    # Armour headers ("Version: ...") end at the first empty line.
    if "" in inside:
        inside = inside[inside.index("") + 1 :]
    payload = [line for line in inside if line and not line.startswith("=")]
    try:
        return base64.b64decode("".join(payload), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the key block is damaged: {0}".format(error)) from None


def _first_packet(data: bytes) -> tuple[int, bytes]:
    if len(data) < 3 or not data[0] & 0x80:
        raise ValueError("no OpenPGP packet")
    if data[0] & 0x40:
        return _new_format(data)
    tag = (data[0] & 0x3C) >> 2
    size = {0: 1, 1: 2, 2: 4}.get(data[0] & 0x03)
    if size is None:
        raise ValueError("a public key of unknown length")
    length = int.from_bytes(data[1 : 1 + size], "big")
    return tag, _slice(data, 1 + size, length)


def _new_format(data: bytes) -> tuple[int, bytes]:
    tag = data[0] & 0x3F
    first = data[1]
    if first < 192:
        return tag, _slice(data, 2, first)
    if first < 224:
        return tag, _slice(data, 3, ((first - 192) << 8) + data[2] + 192)
    if first == 255:
        return tag, _slice(data, 6, int.from_bytes(data[2:6], "big"))
    raise ValueError("a public key in parts")


def _slice(data: bytes, start: int, length: int) -> bytes:
    body = data[start : start + length]
    if len(body) != length:
        raise ValueError("the key block is cut short")
    return body

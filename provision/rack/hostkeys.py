"""Host keys: known_hosts files, read and written; a key that nobody declared is never accepted."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac


def ssh_name(address: str, port: int) -> str:
    """How known_hosts calls a host: the address, in brackets with the port unless that is 22."""
    return address if port == 22 else f"[{address}]:{port}"


def has_key(text: str, address: str, port: int) -> bool:
    """Whether a known_hosts file's text has a key for this address and port.

    A line with a marker other than ``@cert-authority`` (``@revoked``) is no key.
    """
    name = ssh_name(address, port)
    for line in text.splitlines():
        words = line.split()
        if words and words[0] == "@cert-authority":
            words = words[1:]
        if len(words) >= 3 and not words[0].startswith(("#", "@")) and _fits(words[0], name):
            return True
    return False


def _fits(field: str, name: str) -> bool:
    if field.startswith("|1|"):
        return _fits_hashed(field, name)
    patterns = field.split(",")
    if any(p.startswith("!") and fnmatch.fnmatchcase(name, _plain(p[1:])) for p in patterns):
        return False
    return any(fnmatch.fnmatchcase(name, _plain(p)) for p in patterns)


def _plain(pattern: str) -> str:
    # ssh knows * and ?; brackets hold an address there, and a choice of letters in fnmatch.
    return pattern.replace("[", "[[]")


def _fits_hashed(field: str, name: str) -> bool:
    parts = field.split("|")
    if len(parts) != 4:
        return False
    try:
        salt, digest = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except (binascii.Error, ValueError):
        return False
    # SHA-1 is what known_hosts uses; it hides names there and protects nothing here.
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)


def with_key(text: str, address: str, port: int, key: str) -> str:
    """A known_hosts file's text where `key` is the one key that is named for this address and port.

    Any other one goes, also where it is hashed; a line that names other hosts too goes on for them.
    Patterns and authorities stay: they say nothing of this one host.
    """
    name = ssh_name(address, port)
    lines = text.splitlines()
    kept = [left for line in lines if (left := _without(line, name)) is not None]
    if len(kept) == len(lines) - 1 and f"{name} {key}" in lines:
        return text
    return "".join(f"{line}\n" for line in (*kept, f"{name} {key}"))


def _without(line: str, name: str) -> str | None:
    """A line as it is for everybody but `name`; None where it is for nobody else."""
    field = (line.split() or [""])[0]
    if field.startswith("|1|"):
        return None if _fits_hashed(field, name) else line
    others = [one for one in field.split(",") if one != name]
    if field.startswith(("#", "@")) or ",".join(others) == field:
        return line
    return line.replace(field, ",".join(others), 1) if others else None

"""Repositories: what dnf itself makes of its configuration, and which keys stand behind it."""

from __future__ import annotations

import base64
import hashlib
import importlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from provision.checks.probes.common import gather, read, run

_FIELDS = ("gpgcheck", "repo_gpgcheck", "sslverify")


def _configuration() -> dict[str, Any]:
    """The configuration as dnf reads it: defaults, dnf.conf, every .repo file, variables."""
    dnf: Any = importlib.import_module("dnf")
    base: Any = dnf.Base()
    base.conf.read()
    base.conf.substitutions.update_from_etc("/")
    base.read_all_repos()
    repositories = []
    for repo in base.repos.all():
        seen = {field: bool(getattr(repo, field)) for field in _FIELDS}
        repositories.append(
            {
                "id": repo.id,
                "enabled": bool(repo.enabled),
                "baseurl": list(repo.baseurl),
                "indirect": [x for x in (repo.mirrorlist, repo.metalink) if x],
                "gpgkey": list(repo.gpgkey),
                "keys": [f for url in repo.gpgkey for f in _key_file(url)],
                **seen,
            }
        )
    main = {"gpgcheck": bool(base.conf.gpgcheck)}
    return {"repositories": repositories, "main": main}


def _trusted() -> list[str]:
    """The fingerprints of the keys in the rpm database."""
    told = run(["rpm", "-q", "gpg-pubkey", "--qf", "%{DESCRIPTION}\\n"], ok=(0, 1))
    return sorted(set(fingerprints(told)))


def _key_file(url: str) -> list[str]:
    """The fingerprints in a key file on this node; a key elsewhere has none that can be seen."""
    parsed = urlparse(url)
    path = unquote(parsed.path) if parsed.scheme in ("", "file") else ""
    if not path or not Path(path).exists():
        return []
    return fingerprints(read(path))


def fingerprints(armored: str) -> list[str]:
    """The fingerprints of the primary keys in ASCII-armored public key blocks (versions 4, 6)."""
    found = []
    for block in armored.split("-----BEGIN PGP PUBLIC KEY BLOCK-----")[1:]:
        lines = block.split("-----END", 1)[0].strip().splitlines()
        if "" in [line.strip() for line in lines]:  # armour headers end with an empty line
            lines = lines[[line.strip() for line in lines].index("") + 1 :]
        data = base64.b64decode("".join(x for x in lines if x and not x.startswith("=")))
        found.extend(_primary(data))
    return found


def _primary(data: bytes) -> list[str]:
    found = []
    at = 0
    while at < len(data):
        tag, start, length = _packet(data, at)
        body = data[start : start + length]
        if tag == 6 and body[:1] == b"\x04":
            head = b"\x99" + len(body).to_bytes(2, "big")
            found.append(hashlib.sha1(head + body, usedforsecurity=False).hexdigest())
        elif tag == 6 and body[:1] == b"\x06":
            head = b"\x9b" + len(body).to_bytes(4, "big")
            found.append(hashlib.sha256(head + body).hexdigest())
        at = start + length
    return found


def _packet(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start of the body and its length of the OpenPGP packet at `at` (RFC 9580, 4.2)."""
    first = data[at]
    if first & 0x40:
        size = data[at + 1]
        if size < 192:
            return first & 0x3F, at + 2, size
        if size < 224:
            return first & 0x3F, at + 3, ((size - 192) << 8) + data[at + 2] + 192
        return first & 0x3F, at + 6, int.from_bytes(data[at + 2 : at + 6], "big")
    width = 1 << (first & 3)
    length = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    return (first >> 2) & 0xF, at + 1 + width, length


def look(_ask: dict[str, Any]) -> dict[str, Any]:
    """Look at dnf's configuration."""
    return gather({"configuration": _configuration, "trusted": _trusted})

"""The rehearsal's secrets: an API key, and certificates from an authority made for this rack."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from provision.core.files import write_whole
from provision.rehearsal.node import Node
from provision.rehearsal.shell import run


def make_secrets(folder: Path, nodes: Sequence[Node]) -> None:
    """Write api-key, ca.crt and a certificate with key for each node into `folder` (0700)."""
    folder.mkdir(mode=0o700, parents=True)
    write_whole(folder / "api-key", secrets.token_urlsafe(32) + "\n", mode=0o600)
    _openssl("req", "-x509", "-new", *_KEY, "-keyout", folder / "ca.key", "-out", folder / "ca.crt",
             "-subj", "/CN=Holdfast rehearsal", "-days", "30",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    for node in nodes:
        _openssl("req", "-x509", "-new", *_KEY, "-keyout", folder / f"{node.name}.key",
                 "-out", folder / f"{node.name}.crt", "-subj", f"/CN={node.name}", "-days", "30",
                 "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key",
                 "-addext", "basicConstraints=critical,CA:FALSE",
                 "-addext", f"subjectAltName=DNS:{node.name},IP:{node.address}",
                 "-addext", "extendedKeyUsage=serverAuth")  # fmt: skip
    for path in folder.iterdir():
        path.chmod(0o600)
    (folder / "ca.crt").chmod(0o644)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(*words: str | Path) -> None:
    run(["openssl", *words])

"""A rack, a lock and an `ssh` that never leaves this machine, for tests of the checks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from provision.rack.model import Firewall, Hardware, Inference, Node, Rack, Time
from provision.rack.secrets import SecretRef
from provision.supply.model import StackLock

FINGERPRINT = "ab" * 20
DIGEST = "sha256:" + "cd" * 32
LICENCE = {"licence": "MIT", "licence_class": "open", "reason": "needed"}


def rpm(name: str, roles: list[str], **changes: Any) -> dict[str, Any]:
    whole = {
        "name": name, "epoch": 0, "version": "1.0", "release": "1", "arch": "x86_64",
        "sha256": "00" * 32, "size": 10, "key": "k", "repository": "r", "el": "10",
        "roles": roles, **LICENCE,
    }  # fmt: skip
    return {**whole, **changes}


def stack(rpms: list[dict[str, Any]] | None = None) -> StackLock:
    told = {
        "schema": "holdfast.stack/1",
        "name": "test",
        "created": "2026-11-23T00:00:00Z",
        "origins": {
            "o": {"kind": "mirror", "address": "http://192.0.2.1:8000/", "reason": "test"}
        },
        "keys": {
            "k": {
                "fingerprint": FINGERPRINT.upper(),
                "armored": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
            }
        },
        "repositories": [
            {
                "id": "r", "name": "R", "origin": "o", "path": "el10/x86_64", "key": "k",
                "release": "10", "arch": "x86_64",
            }
        ],
        "rpms": [rpm("chrony", ["time"]), rpm("podman", ["container_runtime"])]
        if rpms is None
        else rpms,
        "images": [
            {
                "name": "llama-cpp", "reference": "localhost/llama-cpp", "digest": DIGEST,
                "arch": "x86_64", "archive": {"path": "i.tar", "sha256": "00" * 32, "size": 1},
                "origin": "o", **LICENCE,
            }
        ],
        "models": [
            {
                "name": "tiny", "format": "gguf", "entry": "tiny.gguf", "path": "models/tiny",
                "files": [{"path": "tiny.gguf", "sha256": "11" * 32, "size": 10}],
                "origin": "o", **LICENCE,
            }
        ],
        "wheels": [],
    }  # fmt: skip
    return StackLock.model_validate_json(json.dumps(told))


def node(name: str = "n1", **changes: Any) -> Node:
    whole: dict[str, Any] = {
        "name": name,
        "address": "127.0.0.1",
        "kind": "container",
        "hardware": Hardware(memory_gib=1, cores=1),
        "time": Time(servers=("192.0.2.1",)),
        "firewall": Firewall(),
        "inference": Inference(
            engine="llama_cpp",
            model="tiny",
            image="llama-cpp",
            port=8443,
            allow_from=("192.0.2.0/24",),
        ),
        "api_key": SecretRef("file", "api-key"),
        "tls_certificate": SecretRef("file", "cert.pem"),
        "tls_key": SecretRef("file", "key.pem"),
        "tls_ca": SecretRef("file", "ca.pem"),
    }
    return Node(**{**whole, **changes})


def rack(folder: Path, *nodes: Node) -> Rack:
    (folder / "stack.lock.json").write_text("{}")
    return Rack(
        name="test", path=folder / "inventory.yml", stack=folder / "stack.lock.json", nodes=nodes
    )


def local_ssh(folder: Path, monkeypatch: Any, body: str = "") -> None:
    """Put an `ssh` on PATH that runs its last word here, and a `sudo` that changes nothing."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    scripts = {
        "ssh": f'#!/bin/bash\n{body}\nfor last; do :; done\nexec sh -c "$last"\n',
        "sudo": '#!/bin/sh\nshift\nexec "$@"\n',
    }
    for name, text in scripts.items():
        path = bin_folder / name
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")

"""Writes what the audit on nodes is made of, once for every ansible process of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.checks.audit_expected import Declared
from provision.checks.audit_program import NAME, program, slurm_files, units
from provision.core.files import write_whole
from provision.policy.load import Policy
from provision.rack.model import Rack
from provision.supply.model import StackLock


def write_audit(rack: Rack, lock: StackLock, policy: Policy, folder: Path) -> dict[str, Any]:
    """Pack the audit and render what each node is told into `folder`; what playbooks are told.

    A rack on which nobody is audited has none.

    Raises:
        HoldfastError: the audit cannot be packed.
        OSError: the folder cannot be written.
    """
    nodes = [node for node in rack.nodes if node.audited]
    if not nodes:
        return {}
    write_files(folder)
    told = folder / "expect"
    told.mkdir(mode=0o700, exist_ok=True)
    expect = {}
    declared = Declared(rack, lock, policy)
    for node in nodes:
        path = told / f"{node.name}.json"
        write_whole(path, text_of(declared.of(node)), mode=0o600)
        expect[node.name] = str(path)
    return variables(folder, expect)


def write_files(folder: Path) -> None:
    """Write the program, its units, and a record of what they are."""
    folder.mkdir(mode=0o700, exist_ok=True)
    packed = program()
    # Whole at any moment: under plain ansible several processes may write it.
    write_whole(folder / NAME, packed.data, mode=0o600)
    for name, text in (units() | slurm_files()).items():
        (folder / name).parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(folder / name, text, mode=0o600)
    record = {"program": NAME, "sha256": packed.sha256, "size": len(packed.data)}
    write_whole(folder / "manifest.json", json.dumps(record, indent=1) + "\n", mode=0o600)


def text_of(body: Mapping[str, Any]) -> str:
    """As it is written."""
    return json.dumps(body, indent=1, sort_keys=True) + "\n"


def variables(folder: Path, expect: Mapping[str, str]) -> dict[str, Any]:
    """What playbooks are told of the audit."""
    return {"engine_audit": {"files": str(folder), "expect": dict(expect)}}

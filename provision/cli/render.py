"""What the collection's lookups hand to roles: python -m provision.cli.render.

A lookup runs in ansible-core's process, under its licence, and imports nothing of Holdfast; so it
asks this, which is a process of its own. Nobody types it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from provision.cli.inputs import load_rack
from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.problems import HoldfastError
from provision.engine.audit import write_audit
from provision.engine.controls import controls_of


def main(words: Sequence[str]) -> int:
    """Print the controls of a node, or write the audit of all nodes into a folder.

    Args:
        words: the inventory's path, the node's name, and its major release as ``el10``; or
            ``audit``, the inventory's path, and the folder.
    """
    try:
        if words[0] == "audit":
            _audit(words[1], Path(words[2]))
        else:
            _controls(*words)
    except HoldfastError as error:
        print("; ".join(problem.render() for problem in error.problems), file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.OK)


def _controls(inventory: str, node: str, release: str) -> None:
    inputs = load_rack(inventory)
    found = controls_of(inputs.rack, inputs.policy, inputs.rack.node(node), release)
    json.dump(found, sys.stdout)


def _audit(inventory: str, folder: Path) -> None:
    inputs = load_rack(inventory)
    told = write_audit(inputs.rack, inputs.lock, inputs.policy, folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    # Last, so that who finds it finds the rest.
    body = told.get("engine_audit", {"files": "", "expect": {}})
    write_whole(folder / "told.json", json.dumps(body), mode=0o600)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

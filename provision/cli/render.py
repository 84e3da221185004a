"""The controls of one node as JSON, for the collection's lookup: python -m provision.cli.render.

The lookup runs in ansible-core's process, under its licence, and imports nothing of Holdfast; so
it asks this, which is a process of its own. Nobody types it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from provision.cli.inputs import load_rack
from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError
from provision.engine.controls import controls_of


def main(words: Sequence[str]) -> int:
    """Print the controls of a node.

    Args:
        words: the inventory's path, the node's name, and its major release as ``el10``.
    """
    inventory, node, release = words
    try:
        inputs = load_rack(inventory)
        found = controls_of(inputs.rack, inputs.policy, inputs.rack.node(node), release)
    except HoldfastError as error:
        print("; ".join(problem.render() for problem in error.problems), file=sys.stderr)
        return int(error.exit_code)
    json.dump(found, sys.stdout)
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

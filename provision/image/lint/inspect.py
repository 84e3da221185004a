"""Runs the checks on a tree, where its owners are true. Prints nothing; raises nothing of a check.

As a program it reads what it is told as JSON from standard input, and answers with JSON. The
sandbox starts it so.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Collection
from pathlib import Path

from provision.image.lint import privileged
from provision.image.lint.checks import CHECKS
from provision.image.lint.tree import Tree
from provision.image.lint.words import Check, NotHere, Outcome, Told, Unseen

MOST = 200
"""The most things that one check names; of further ones it says only how many there are."""


def inspect(tree: Tree, told: Told, skip: Collection[str] = ()) -> list[Outcome]:
    """What came of every check but those in `skip`."""
    return [_one(tree, told, check) for name, check in CHECKS.items() if name not in skip]


def _one(tree: Tree, told: Told, check: Check) -> Outcome:
    outcome = Outcome(check.id)
    try:
        found = iter(check.look(tree, told))
        outcome.found = list(itertools.islice(found, MOST))
        outcome.more = sum(1 for _ in found)
    except NotHere as error:
        outcome.absent = str(error)
    except Unseen as error:
        outcome.unseen = str(error)
    except (OSError, ValueError, IndexError) as error:
        outcome.unseen = f"the check could not look: {type(error).__name__}: {error}"
    return outcome


def main() -> int:
    """Answer one request."""
    asked = json.load(sys.stdin)
    tree = Tree(Path(asked["root"]))
    given = asked["privileged"]
    told = Told(tuple(given) if given is not None else None, tuple(asked["canaries"]))
    outcomes = inspect(tree, told, asked["skip"])
    answer = {
        "outcomes": [one.to_json() for one in outcomes],
        "privileged": privileged.rows(tree),
        "paths": len(tree.entries),
    }
    # Names that are no UTF-8 travel as escapes.
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs the node audit as it ships, one file in a process of its own, on a recorded sick node.

What an audit found is boiled down to what the campaign compares: the checks that do not pass, each
with its status and action.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema

from provision.health import build
from provision.health.data_files import text
from provision.health.words import FAIL, NOT_APPLICABLE, PASS, UNKNOWN
from tests.unit.health_support import Recorded, recorded

ROOT = Path(__file__).resolve().parents[2]
SHAPE = jsonschema.Draft202012Validator(json.loads(text("result.schema.json")))
PATIENT = ("--patience", "4")
"""The campaign may run on a machine that does much else at once."""
_TRACES = ("Traceback", "the check broke", " broke: ")


def packed(folder: Path) -> Path:
    """The audit as a node gets it, with the locked nvidia-ml-py."""
    target = folder / "holdfast-health.pyz"
    build.build(target, build.locked_version((ROOT / "requirements.lock").read_text()))
    return target


@dataclass(frozen=True)
class Seen:
    """What one audit found.

    `found` maps each check that neither passes nor is not applicable to its status and action.
    """

    code: int
    document: dict[str, Any]
    errors: str
    found: dict[str, str] = field(default_factory=dict)

    def finding(self, check: str) -> dict[str, Any]:
        """The finding of a check."""
        told: list[dict[str, Any]] = self.document["findings"]
        return next(f for f in told if f["check"] == check)

    def lead(self) -> dict[str, Any]:
        """The finding that counts most: failures first, then the gravest."""
        order = ("critical", "high", "medium", "low", "info")
        bad = [f for f in self.document["findings"] if f["check"] in self.found]
        return min(bad, key=lambda f: (f["status"] != FAIL, order.index(f["severity"])))

    def parts(self, check: str) -> dict[str, str]:
        """Status by entity, of a check that judges several things."""
        return {p["entity"]: p["status"] for p in self.finding(check)["parts"]}


@dataclass
class Ground:
    """A folder for one node at a time, and the program that looks at it."""

    folder: Path
    program: Path
    laid: dict[str, Any] = field(default_factory=dict)
    python: str = sys.executable

    def node(self, model: str = "h100-sxm") -> Recorded:
        """A healthy node with nothing kept from before."""
        made = recorded(self.folder / "node", model, self.laid)
        made.expected["gpus"]["count"] = len(made.gpus.gpus)
        made.expected["gpus"]["model"] = made.gpus.gpus[0].name
        return made

    def argv(self, node: Recorded, more: Sequence[str] = ()) -> list[str]:
        """The command that looks at the node."""
        declaration = node.root / "@expect.json"
        declaration.write_text(json.dumps(node.expected))
        return [
            self.python, "-I", str(self.program), "--json", "--expect", str(declaration),
            "--root", str(node.root), "--nvml", node.nvml or str(node.library.nvml),
            "--journal", "/log.jsonl", "--state", str(node.root / "@state"), *PATIENT, *more,
        ]  # fmt: skip

    def run(
        self,
        node: Recorded,
        more: Sequence[str] = (),
        *,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Seen:
        """Lay the node and audit it once.

        Args:
            node: what to look at.
            more: further options of the program.
            before: words of a command that runs the program, as `setpriv` does.
            environment: further variables.
        """
        node.lay()
        ended = subprocess.run(
            [*before, *self.argv(node, more)],
            env={"PATH": os.environ["PATH"], "HOLDFAST_GPUS_STATE": str(node.state_file),
                 **(environment or {})},
            cwd="/", capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        return seen(ended)


def seen(ended: subprocess.CompletedProcess[str]) -> Seen:
    """What a run printed, as a whole and valid document."""
    try:
        document = json.loads(ended.stdout)
    except ValueError:
        document = {}
    if "findings" not in document:
        return Seen(ended.returncode, document, ended.stderr)
    SHAPE.validate(document)
    found = {
        f["check"]: f"{f['status']} {f['action']}"
        for f in document["findings"]
        if f["status"] in (FAIL, UNKNOWN)
    }
    return Seen(ended.returncode, document, ended.stderr, found)


def traces(told: Seen) -> list[str]:
    """Every sign that the program broke rather than found something."""
    whole = told.errors + json.dumps(told.document)
    return [word for word in _TRACES if word in whole]


def without_finding(told: Seen) -> bool:
    """Whether an audit passed as a whole."""
    statuses = {f["status"] for f in told.document.get("findings", [])}
    return told.code == 0 and statuses <= {PASS, NOT_APPLICABLE} and PASS in statuses

"""The page for the first run on hardware: every command on it is one that there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from provision.cli.main import build_verb_parser
from provision.cli.registry import VERBS
from provision.core.problems import HoldfastError
from provision.health.calls import parser as calls_parser
from provision.health.cli import parser as audit_parser

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/how-to/first-run-on-hardware.md").read_text(encoding="utf-8")
SYSTEM = {"systemctl", "journalctl"}


def commands(text: str) -> list[str]:
    """Every line of every block of code."""
    blocks = re.findall(r"(?ms)^```\n(.*?)^```$", text)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def parses(line: str) -> bool:
    """Whether the words of a command are ones that its program knows."""
    words = shlex.split(line)
    try:
        if words[0] == "holdfast":
            build_verb_parser(words[1], VERBS[words[1]]).parse_args(words[2:])
        elif words[:2] == ["python3", "-I"] and words[2].endswith("holdfast-health.pyz"):
            if words[3] == "calls":
                calls_parser().parse_args(words[4:])
            else:
                audit_parser().parse_args(words[3:])
        else:
            return words[0] in SYSTEM
    except (HoldfastError, SystemExit, KeyError, IndexError):
        return False
    return True


@pytest.mark.parametrize("line", commands(PAGE))
def test_a_command_of_the_page_is_known(line):
    assert parses(line)


@pytest.mark.parametrize(
    "line",
    [
        "holdfast audti run rack.yml", "holdfast audit run", "holdfast up rack.yml --limt gpu01",
        "python3 -I holdfast-health.pyz --everything",
        "python3 -I holdfast-health.pyz calls --nonsense",
        "rm -rf /",
    ],
)  # fmt: skip
def test_a_command_that_does_not_exist_is_found(line):
    assert not parses(line)


def test_the_page_has_commands_and_an_empty_table():
    assert len(commands(PAGE)) > 15
    rows = re.findall(r"(?m)^\| [^|]+ \| \|$", PAGE)
    assert len(rows) > 15

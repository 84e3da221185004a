"""Every hand-written bad inventory: exit 2, and each mistake at its place with the way out.

The head of each file says what must be found: `# expect: CODE [FILE:]LINE:COLUMN TEXT`, where
TEXT stands in the message or in the hint. Nothing else may be found.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from provision.cli.main import main

FOLDER = Path(__file__).resolve().parents[1] / "data" / "bad_inventories"
EXPECT = re.compile(r"# expect: (\S+) (?:(\S+):)?(\d+):(\d+) (.*)")
CASES = sorted([*FOLDER.glob("*.yml"), *FOLDER.glob("*/inventory.yml")])
CANARY = "hunter2"


def name_of(path: Path) -> str:
    return path.parent.name if path.name == "inventory.yml" else path.stem


def expectations(path: Path) -> list[tuple[str, str, int, int, str]]:
    found = [EXPECT.fullmatch(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        (m[1], str(path.parent / m[2]) if m[2] else str(path), int(m[3]), int(m[4]), m[5])
        for m in found
        if m
    ]


def test_there_are_enough():
    assert len(CASES) >= 40
    assert all(expectations(path) for path in CASES)


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_bad_inventory(path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["inventory", "check", str(path), "--json"]) == 2
    output = capsys.readouterr().out
    problems = json.loads(output)["problems"]
    found = sorted((p["code"], p["file"], p["line"], p["column"]) for p in problems)
    wanted = expectations(path)
    assert found == sorted(w[:4] for w in wanted)
    for code, _, line, column, text in wanted:
        # Several may stand in one place; each text must be said by one of them.
        here = [p for p in problems if (p["code"], p["line"], p["column"]) == (code, line, column)]
        assert any(text in f"{p['message']} {p['hint']}" for p in here), (text, here)
    assert CANARY not in output


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_bad_inventory_as_text(path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["inventory", "check", str(path)]) == 2
    captured = capsys.readouterr()
    assert not captured.out
    for _, file, line, column, _ in expectations(path):
        assert f"{file}:{line}:{column}: " in captured.err
    assert "Traceback" not in captured.err
    assert CANARY not in captured.err

"""What a terminal of 80 columns shows: nothing is wider, and nothing is lost by that."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from provision.cli.main import main
from provision.cli.output import folded, rows_of, table

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "tests/data/example/stack.lock.json"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def holdfast(*words: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "provision.cli.main", *words]


def on_terminal(*words: str | Path, columns: int = 80) -> str:
    """What a real terminal gets of a command, without colours."""
    own, end = os.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    bare = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    child = subprocess.Popen(
        holdfast(*words), stdin=end, stdout=end, stderr=end, env={**bare, "TERM": "xterm"}, cwd=ROOT
    )
    os.close(end)
    said = b""
    while True:
        try:
            part = os.read(own, 65536)
        except OSError:  # the last process closed its end
            break
        if not part:
            break
        said += part
    child.wait()
    os.close(own)
    return COLOURS.sub("", said.decode().replace("\r\n", "\n"))


def piped(*words: str | Path) -> str:
    done = subprocess.run(holdfast(*words), capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout + done.stderr


@pytest.fixture
def told(monkeypatch, capsys):
    """What a command says on standard error, which is a terminal of 80 columns or none."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")

    def say(words, *, terminal=False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
        assert main([str(word) for word in words]) != 0
        return capsys.readouterr().err

    return say


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A lock whose mistake stands far to the right of a long line."""
    found = '"name": "chrony",'
    text = EXAMPLE.read_text().replace(found, f'{found}{" " * 90}"nam": 1,', 1)
    path = tmp_path / "stack.lock.json"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "words", [("stack", "show", EXAMPLE), ("doctor",)], ids=["stack", "doctor"]
)
def test_a_table_fits_and_says_the_same(words):
    shown, whole = on_terminal(*words), piped(*words)
    assert max(map(len, whole.splitlines())) > 80, "then it shows nothing"
    assert max(map(len, shown.splitlines())) <= 80
    assert sorted(shown.split()) == sorted(whole.split())


@pytest.mark.parametrize(
    "words",
    [
        ("rehearse", "--down", "hf-000000.lock"),
        ("rehearse", "--on", "hf-000000/n1"),
        ("rehearse", "--profile", "cis_l1_serve", "--nodes", "1", "--kind", "vm"),
        ("rehearse", "--release", "8"),
        ("rehearse", "--nodes", "a-great-many", "--keep"),
        ("rehearse", "--gpus", "h100", "--kind", "vm", "--profile", "cis_l1_server"),
        ("doctor", "--no-rehearsals"),
        ("stack", "show", "/no/such/place/for/a/lock/or/an/inventory/stack.lock.json"),
    ],
    ids=" ".join,
)
def test_an_error_fits_and_says_the_same(words, told):
    shown, whole = told(words, terminal=True), told(words)
    assert "error: " in whole
    wide = [line for line in shown.splitlines() if len(line) > 80]
    # A path or a command's word that is wider itself stays in one piece.
    assert all(len(line.split()) <= 2 for line in wide), wide
    assert shown.split() == whole.split()


def test_the_place_of_a_mistake_is_seen_with_its_line_cut(broken, told):
    words = ("stack", "show", broken)
    shown, whole = told(words, terminal=True), told(words)
    assert any(len(line) > 100 and '"nam": 1' in line for line in whole.splitlines())
    lines = shown.splitlines()
    (at,) = [n for n, line in enumerate(lines) if line.strip() == "^"]
    assert lines[at - 1].startswith("    …")
    assert lines[at - 1][lines[at].index("^") :].startswith('"nam": 1')
    assert max(len(lines[at]), len(lines[at - 1])) <= 80


ROWS = [
    ("a-package-of-some-length", "10", "what it is there for, said in several words"),
    ("b", "9", ""),
]


def test_a_table_that_fits_is_one_line_a_row():
    for width in (None, 200):
        assert table(("PACKAGE", "EL", "WHY"), ROWS, width) == [
            "PACKAGE                   EL  WHY",
            "a-package-of-some-length  10  what it is there for, said in several words",
            "b                         9",
        ]


def test_the_last_cell_is_folded_beside_the_others_or_below_them():
    assert rows_of(("PACKAGE", "EL", "WHY"), ROWS, 60)[1:] == [
        [
            "a-package-of-some-length  10  what it is there for, said in",
            "                              several words",
        ],
        ["b                         9"],
    ]
    assert rows_of(("PACKAGE", "EL", "WHY"), ROWS, 40) == [
        ["PACKAGE                   EL", "    WHY"],
        [
            "a-package-of-some-length  10",
            "    what it is there for, said in",
            "    several words",
        ],
        ["b                         9"],
    ]


def test_a_command_is_never_folded():
    """A part of it that is pasted would run: an `up` of everything in place of a resume."""
    command = f"`holdfast up {'/a/rack/of/a/site' * 4}.yml --resume 20261123T091500Z-3f9a1c`"
    lines = folded(
        f"    hint: mend it first; then go on with {command}; the log is there", 80, "    "
    )
    first = "    hint: mend it first; then go on with"
    assert lines == [first, f"    {command};", "    the log is there"]


def test_a_path_is_never_folded():
    path = "/a/path/" + "that-is-long/" * 8
    assert folded(f"    hint: look at {path} first", 80, " " * 10) == [
        "    hint: look at",
        f"          {path}",
        "          first",
    ]
    assert folded(f"hint: look at {path} first", None) == [f"hint: look at {path} first"]

"""The command itself: help, exit codes, JSON, and what it costs to start."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from provision import __version__
from provision.cli import main as cli
from provision.cli.main import build_verb_parser, leaves, main
from provision.cli.registry import VERBS, Verb
from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, Position, Problem

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def verb(monkeypatch, tmp_path):
    """Adds the verb `planted`, whose run is the function given; crash files go to tmp_path."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    class Module:
        def configure(self, parser):
            parser.add_argument("--size", type=int)

    def plant(run):
        module = Module()
        module.run = run
        monkeypatch.setattr(Verb, "load", lambda self: module)
        monkeypatch.setitem(VERBS, "planted", Verb("planted", "a verb for this test"))

    return plant


def one_document(capsys):
    """The one JSON document on stdout, which must be all that was printed anywhere."""
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


def test_help_names_every_verb(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, known in VERBS.items():
        assert f"  {name}" in text
        assert known.help in text
    assert "exit codes:" in text


def test_no_verb_shows_help_and_is_a_usage_error(capsys):
    assert main([]) == 2
    assert "verbs:" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"holdfast {__version__}\n"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_and_json(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"holdfast {name}" in capsys.readouterr().out
    for leaf in leaves(build_verb_parser(name, VERBS[name])):
        assert "--json" in leaf.format_help()


@pytest.mark.parametrize(
    ("typed", "meant"), [("stak", "stack"), ("Verify", "verify"), ("rehearsal", "rehearse")]
)
def test_unknown_verb_names_the_nearest(typed, meant, capsys):
    assert main([typed]) == 2
    assert f"did you mean {meant!r}?" in capsys.readouterr().err


def test_unknown_verb_far_from_all(capsys):
    assert main(["qqqqqq"]) == 2
    assert "holdfast --help" in capsys.readouterr().err


def test_unknown_action_names_the_nearest(capsys):
    assert main(["stack", "chek"]) == 2
    assert "did you mean 'check'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["up", "inventory.yml", "--resum"], "did you mean '--resume'?"),
        (["stack", "show", "stack.lock.json", "--jsn"], "did you mean '--json'?"),
        (["up", "inventory.yml", "another.yml"], "see `holdfast up --help`"),
    ],
)
def test_what_is_left_over_has_a_hint(words, says, capsys):
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_usage_error_as_json(capsys):
    assert main(["stack", "check", "--json"]) == 2
    document = one_document(capsys)
    assert document["schema"] == "holdfast.error/1"
    assert document["exit_code"] == 2
    assert document["problems"][0]["code"] == "usage"


def test_options_are_never_abbreviated(capsys):
    assert main(["stack", "check", "x.json", "--fil", "x"]) == 2
    assert "--fil" in capsys.readouterr().err


def problems():
    at = Position("a.yml", 3, 5)
    return [
        Problem("second", "the second", Position("a.yml", 9, 1)),
        Problem("first", "the first", at, hint="mend it", source="abc: def"),
    ]


def test_problems_go_to_stderr_in_reading_order(verb, capsys):
    def run(args):
        raise HoldfastError(problems(), ExitCode.USAGE)

    verb(run)
    assert main(["planted"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "error: a.yml:3:5: the first",
        "    abc: def",
        "        ^",
        "    hint: mend it",
        "error: a.yml:9:1: the second",
    ]


def test_problems_as_json(verb, capsys):
    def run(args):
        raise HoldfastError(problems(), ExitCode.NOT_DONE)

    verb(run)
    assert main(["planted", "--json"]) == 3
    document = one_document(capsys)
    assert [p["code"] for p in document["problems"]] == ["first", "second"]
    assert document["problems"][0]["line"] == 3


@pytest.mark.parametrize("words", [["planted"], ["planted", "--json"]])
def test_unforeseen_failure_shows_no_traceback(verb, words, capsys, tmp_path):
    def run(args):
        raise RuntimeError("a thing nobody foresaw\nwith two lines")

    verb(run)
    assert main(words) == 3
    printed = capsys.readouterr()
    assert "internal error: RuntimeError: a thing nobody foresaw" in printed.out + printed.err
    assert "Traceback" not in printed.out + printed.err
    (kept,) = (tmp_path / "holdfast/crash").iterdir()
    assert str(kept) in printed.out + printed.err
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_crash_that_cannot_be_kept_is_still_one_line(verb, capsys, monkeypatch):
    def run(args):
        raise RuntimeError("a thing nobody foresaw")

    verb(run)
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    assert main(["planted"]) == 3
    text = capsys.readouterr().err
    assert "could not be kept" in text
    assert "Traceback" not in text


def test_interruption(verb, capsys):
    def run(args):
        raise KeyboardInterrupt

    verb(run)
    assert main(["planted"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_verb_exit_code_is_passed_on(verb):
    verb(lambda args: ExitCode.FINDINGS)
    assert main(["planted", "--size", "3"]) == 1


def test_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m provision doctor --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def modules_after(words: list[str]) -> set[str]:
    """The modules that one command line imported."""
    code = (
        "import sys; from provision.cli.main import main; main(sys.argv[1:]); "
        "print('\\n' + '\\n'.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("\n"))


@pytest.mark.parametrize("words", [["--help"], ["stak"], ["--version"]])
def test_help_imports_next_to_nothing(words):
    """Time differs from machine to machine; what is imported does not."""
    found = modules_after(words)
    heavy = {"rich", "pydantic", "ansible", "jinja2", "yaml", "asyncio", "subprocess"}
    assert found & heavy == set()
    own = {m for m in found if m.startswith("provision")}
    verbs = {v.module for v in VERBS.values()}
    assert own & verbs == set()
    assert len(own) <= 10


def test_no_colour_when_asked(monkeypatch):
    from provision.cli import output

    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert output.style("x", "bad", Terminal()) == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.style("x", "bad", Terminal()) == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert output.style("x", "bad", Terminal()) == "x"


def test_exit_codes_in_help_are_all_there_are():
    listed = [line.split()[0] for line in cli._EPILOG.splitlines() if line.startswith("  ")]
    assert listed == [str(int(code)) for code in ExitCode]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_verb(shell, capsys):
    assert main(["completion", shell, "--json"]) == 0
    script = one_document(capsys)["script"]
    for name in VERBS:
        assert name in script


def test_bash_completion_parses(capsys, tmp_path):
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "holdfast"
    path.write_text(capsys.readouterr().out)
    subprocess.run(["bash", "-n", path], check=True)


def test_python_m_provision():
    done = subprocess.run(
        [sys.executable, "-m", "provision", "--version"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"holdfast {__version__}\n"


def test_a_terminal_without_unicode_ends_nothing(monkeypatch):
    kept = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(kept, encoding="ascii"))
    assert main(["inventory", "check", str(ROOT / "inventory.example.yml")]) == 0
    sys.stdout.flush()
    assert kept.getvalue().startswith(b"? rack lab-a")

"""A command that another machine answers ends in time, and writes no more than it may."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from provision.checks import bounded

PYTHON = [sys.executable, "-c"]


def call(script, stdin=b"", *, limit_s=30.0, most=1 << 20, into=None):
    return bounded.call([*PYTHON, script], stdin, limit_s=limit_s, most=most, into=into)


def test_what_it_says_comes_back():
    script = "import sys; print(sys.stdin.read().upper(), end=''); print('b', file=sys.stderr)"
    found = call(script + "; sys.exit(3)", b"a" * 200_000)
    assert (found.returncode, found.out, found.err) == (3, b"A" * 200_000, b"b\n")


def test_its_output_can_go_into_a_file(tmp_path):
    found = call("print('a')", into=tmp_path / "out")
    assert (found.out, (tmp_path / "out").read_bytes()) == (b"", b"a\n")


ENDLESS = "import sys\nwhile True: sys.{}.buffer.write(bytes(65536))"


def test_what_never_ends_is_ended(tmp_path):
    with pytest.raises(bounded.TooMuch, match="more than 1 MiB"):
        call(ENDLESS.format("stdout"), into=tmp_path / "out")
    assert (tmp_path / "out").stat().st_size <= 1 << 20
    with pytest.raises(bounded.TooMuch):
        call(ENDLESS.format("stdout"))


def test_exactly_as_much_as_allowed_is_not_too_much():
    assert len(call("print('a' * 9)", most=10).out) == 10
    with pytest.raises(bounded.TooMuch):
        call("print('a' * 10)", most=10)


def test_what_it_says_on_the_side_is_cut():
    script = "import sys; sys.stderr.write('x' * 300000)"
    assert len(call(script).err) == bounded.WORDS


def test_what_does_not_answer_is_ended():
    script = "import time, sys\nprint('a', flush=True)\ntime.sleep(600)"
    begin = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        call(script, limit_s=0.5)
    assert time.monotonic() - begin < 60


def test_what_it_leaves_behind_is_not_waited_for():
    """A shared connection's keeper holds standard error open for as long as it lives."""
    script = (
        "import subprocess, sys\n"
        "subprocess.Popen(['sleep', '20'], stdout=subprocess.DEVNULL)\n"
        "print('a')"
    )
    begin = time.monotonic()
    assert call(script).out == b"a\n"
    assert time.monotonic() - begin < 20


def test_a_command_that_reads_nothing_is_no_failure():
    assert call("pass", b"x" * 1_000_000).returncode == 0


def test_what_is_not_there_is_said():
    with pytest.raises(FileNotFoundError):
        bounded.call(["/nowhere/ssh"], b"", limit_s=1, most=1)

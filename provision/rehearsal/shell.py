"""Running the host's tools, with errors that say which tool failed and what it said.

A tool never outlives an interruption: some start helpers that would go on writing into a folder
that is about to be removed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from provision.core.problems import fail


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> str:
    """Run a tool and return its standard output.

    Args:
        argv: the command; never a shell line.
        stdin: text for standard input.
        env: variables added to this process's.
        cwd: the folder to run in.
        log: a file that receives standard error; without it the error text is kept in memory.

    Raises:
        HoldfastError: the tool is missing or failed; its last lines are in the message.
    """
    words = [os.fspath(word) for word in argv]
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise fail(
            "missing-tool",
            f"{words[0]} is not installed",
            hint="`holdfast doctor` names the package that brings it",
        ) from None
    with process:
        try:
            out, errors = process.communicate(stdin)
        except BaseException:
            _end(process)
            raise
    if log is not None:
        log.write_text(errors, encoding="utf-8")
    if process.returncode != 0:
        said = "\n".join((errors or out).strip().splitlines()[-12:])
        raise fail(
            "tool-failed",
            f"{words[0]} failed with exit status {process.returncode}:\n{said}",
            where=" ".join(words[:6]),
        )
    return out


def _end(process: subprocess.Popen[str]) -> None:
    """Ask the tool and all that it started to end; after ten seconds, make them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)

"""Running the host's tools, with errors that say which tool failed and what it said."""

from __future__ import annotations

import os
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
        done = subprocess.run(
            words,
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            cwd=cwd,
        )
    except FileNotFoundError:
        raise fail(
            "missing-tool",
            f"{words[0]} is not installed",
            hint="`holdfast doctor` names the package that brings it",
        ) from None
    if log is not None:
        log.write_text(done.stderr, encoding="utf-8")
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise fail(
            "tool-failed",
            f"{words[0]} failed with exit status {done.returncode}:\n{said}",
            where=" ".join(words[:6]),
        )
    return done.stdout

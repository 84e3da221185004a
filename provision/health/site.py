"""A site's own checks: executables in a folder, each of which prints one result as JSON.

Each runs with a deadline in a process group of its own. One that fails, hangs or prints something
else is a finding that says so; none is silently left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

from provision.health.sight import ProbeRun, Sight
from provision.health.words import ACTIONS, FAIL, NOT_APPLICABLE, PASS, SEVERITIES, UNKNOWN

DEADLINE_S = 10.0
TOGETHER_S = 60.0
"""What all of them may take: beside the probes' deadlines it has to stay below the unit's."""
_TEXTS = ("title", "seen", "expected", "advice", "clears", "reason")
_ANSWERS = (PASS, FAIL, NOT_APPLICABLE, UNKNOWN)
_MOST_BYTES = 1 << 16
_UNUSABLE = re.compile(r"[^A-Za-z0-9_.-]|\.(?=\.|$)")


class Wrong(Exception):
    """A site's check gave no usable result; the message says why."""


def run(
    folder: Path | None, only: tuple[str, ...], sight: Sight, patience: float = 1.0
) -> list[dict[str, Any]]:
    """The findings of every executable in `folder`, as fields of `audit.Finding`.

    Args:
        folder: where the executables lie; None for none.
        only: prefixes of ids to run; all when empty.
        sight: is told how each child ended.
        patience: the factor by which deadlines are stretched.
    """
    if folder is None:
        return []
    if not folder.is_dir():
        return [_unknown("site", f"the folder {folder} is not there")]
    found = []
    until = time.monotonic() + TOGETHER_S * patience
    for name, paths in _by_id(folder).items():
        if only and not name.startswith(only):
            continue
        began = time.monotonic()
        try:
            left = until - time.monotonic()
            if left <= 0:
                raise Wrong(f"the checks before it took {TOGETHER_S * patience:g} s; not run")
            finding = _judged(name, _execute(_only(paths), min(DEADLINE_S * patience, left)))
            ended = ("ended", "")
        except Wrong as error:
            finding = _unknown(name, str(error))
            ended = ("error", str(error))
        seconds = round(time.monotonic() - began, 4)
        sight.runs.append(ProbeRun(name, ended[0], seconds, ended[1]))
        found.append(finding)
    return found


def _by_id(folder: Path) -> dict[str, list[Path]]:
    """The files in a folder by the id of their finding; what begins with a dot is none of them."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith("."):
            found.setdefault(f"site.{_UNUSABLE.sub('-', path.stem)}", []).append(path)
    return found


def _only(paths: list[Path]) -> Path:
    """The one file that an id has: of two, nobody could tell whose finding is whose.

    Raises:
        Wrong: there are several, or its name cannot be an id; the whole result would be refused.
    """
    if len(paths) > 1:
        names = " and ".join(path.name for path in paths)
        raise Wrong(f"{names} have the same id, so none is run; give each a name of its own")
    if _UNUSABLE.search(paths[0].stem):
        raise Wrong(f"{paths[0].name!r} can be no id; name it with letters, digits, - and _")
    return paths[0]


def _trusted(path: Path) -> None:
    """Refuse what somebody else could have written: it would run with the audit's rights."""
    for place in (path, path.parent):
        mode = place.stat()
        if mode.st_uid not in (0, os.getuid()) or mode.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Wrong(f"{place} can be written by others than its owner, so it is not run")
    if not os.access(path, os.X_OK) or not path.is_file():
        raise Wrong(f"{path} is not an executable file")


def _execute(path: Path, limit_s: float) -> bytes:
    _trusted(path)
    try:
        process = subprocess.Popen(
            [str(path.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as error:
        raise Wrong(f"{path} cannot be run: {error.strerror or error}") from error
    try:
        out = _printed(process, time.monotonic() + limit_s)
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"{path} did not end within {limit_s:.3g} s and was stopped") from error
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        if process.stdout:
            process.stdout.close()
    if process.returncode:
        raise Wrong(f"{path} ended with {process.returncode}")
    return out


def _printed(process: subprocess.Popen[bytes], until: float) -> bytes:
    """What a check prints to its end; never more of it in memory than a result may have.

    Raises:
        Wrong: it prints more.
        subprocess.TimeoutExpired: it does not end in time.
    """
    assert process.stdout is not None
    out = bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while ready.select(max(0.0, until - time.monotonic())):
            data = os.read(process.stdout.fileno(), _MOST_BYTES)
            if not data:
                process.wait(max(0.0, until - time.monotonic()))
                return bytes(out)
            out += data
            if len(out) > _MOST_BYTES:
                raise Wrong(f"it printed more than {_MOST_BYTES} bytes and was stopped")
    raise subprocess.TimeoutExpired(process.args, 0.0)


def _judged(name: str, out: bytes) -> dict[str, Any]:
    try:
        told = json.loads(out)
    except ValueError as error:
        raise Wrong(f"it did not print a JSON document: {out[:60]!r}") from error
    if not isinstance(told, dict):
        raise Wrong("it printed JSON that is not an object")
    unknown = sorted(set(told) - {"status", "severity", "action", *_TEXTS})
    if unknown:
        raise Wrong(f"it printed a key that is not known: {unknown[0]!r}")
    _one_of(told, "status", _ANSWERS)
    _one_of(told, "severity", SEVERITIES, "medium")
    _one_of(told, "action", ACTIONS, "inspect")
    for key in _TEXTS:
        if not isinstance(told.setdefault(key, ""), str):
            raise Wrong(f"its {key!r} is not a string")
    if told["status"] == PASS and not told["seen"]:
        raise Wrong("it said pass, but not what it saw")
    if told["status"] in (PASS, NOT_APPLICABLE):
        told["action"] = "none"
    return {**told, "check": name, "title": told["title"] or name, "parts": []}


def _one_of(told: dict[str, Any], key: str, known: tuple[str, ...], default: str = "") -> None:
    if told.setdefault(key, default) not in known:
        raise Wrong(f"its {key!r} is {told[key]!r}, not one of {', '.join(known)}")


def _unknown(name: str, why: str) -> dict[str, Any]:
    return {
        "check": name, "title": name, "status": UNKNOWN, "severity": "medium", "expected": "",
        "seen": why, "action": "inspect", "advice": "mend this check of the site",
        "clears": "the check gives a result", "reason": why, "parts": [],
    }  # fmt: skip

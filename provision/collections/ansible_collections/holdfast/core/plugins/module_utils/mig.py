#!/usr/bin/python3 -I
# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Divide GPUs as declared. The module mig_layout uses this, and puts it on the node as a program.

MIG's division is gone after a restart; a unit runs this file then: gpu-mig LAYOUT.json
It imports nothing but the standard library of Python 3.9.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any, Callable

SECONDS = 120
Run = Callable[[list[str]], "tuple[int, str]"]
_GPU = re.compile(r"^GPU (\d+):")
_PART = re.compile(r"^\s+MIG (\S+)\s+Device\s+\d+:")


class MigError(Exception):
    """Something cannot be divided; the second argument says what to do."""


def command(argv: list[str]) -> tuple[int, str]:
    """Run a command; its exit status and what it printed."""
    try:
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            universal_newlines=True,
            check=False,
        )
    except FileNotFoundError:
        return 127, "{0}: not found".format(argv[0])
    except subprocess.TimeoutExpired:
        return 124, "{0} did not answer within {1} s".format(argv[0], SECONDS)
    return done.returncode, done.stdout


def wanted(count: int, layout: list[dict[str, Any]]) -> dict[int, list[str]]:
    """What each of `count` GPUs is to be divided into; an empty list: it is whole."""
    found: dict[int, list[str]] = {index: [] for index in range(count)}
    for part in layout:
        for index in part.get("gpus") or range(count):
            found[int(index)] = sorted(part["profiles"])
    return found


def parse_modes(text: str) -> dict[int, str]:
    """Index and current mode (Enabled, Disabled, [N/A]) of each GPU."""
    found = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 2 and fields[0].isdigit():
            found[int(fields[0])] = fields[1]
    return found


def parse_parts(text: str) -> dict[int, list[str]]:
    """What each GPU is divided into, out of ``nvidia-smi -L``."""
    found: dict[int, list[str]] = {}
    index = -1
    for line in text.splitlines():
        gpu, part = _GPU.match(line), _PART.match(line)
        if gpu:
            index = int(gpu.group(1))
            found[index] = []
        elif part and index >= 0:
            found[index].append(part.group(1))
    return {index: sorted(parts) for index, parts in found.items()}


def look(run: Run) -> dict[int, list[str]]:
    """What each GPU is divided into; one that is switched to MIG and not divided has [""].

    Raises:
        MigError: nvidia-smi does not say.
    """
    code, text = run(["nvidia-smi", "--query-gpu=index,mig.mode.current", "--format=csv,noheader"])
    modes = parse_modes(text) if code == 0 else {}
    code, listed = run(["nvidia-smi", "-L"])
    parts = parse_parts(listed) if code == 0 else {}
    if not modes or set(modes) != set(parts):
        raise MigError(
            "nvidia-smi does not say how GPUs are divided: {0}".format(" ".join(text.split())),
            "run nvidia-smi on the node",
        )
    return {i: parts[i] or ([""] if modes[i] == "Enabled" else []) for i in modes}


def plan(seen: dict[int, list[str]], want: dict[int, list[str]]) -> dict[int, list[str]]:
    """The GPUs that are to be divided otherwise, and how.

    Raises:
        MigError: a GPU that is declared is not there.
    """
    absent = sorted(set(want) - set(seen))
    if absent:
        raise MigError(
            "GPU {0} is declared and not there".format(absent[0]), "look at nvidia-smi -L"
        )
    return {i: parts for i, parts in want.items() if seen[i] != parts}


def said(index: int, parts: list[str]) -> str:
    """A change in words."""
    if not parts:
        return "make GPU {0} whole".format(index)
    return "divide GPU {0} into {1}".format(index, ", ".join(parts))


def divide(run: Run, index: int, seen: list[str], parts: list[str]) -> None:
    """Bring one GPU to what is wanted.

    Raises:
        MigError: it is in use, or refuses.
    """
    gpu = str(index)
    code, apps = run(["nvidia-smi", "-i", gpu, "--query-compute-apps=pid", "--format=csv,noheader"])
    if code != 0 or apps.strip():
        raise MigError(
            "GPU {0} is in use by {1}".format(gpu, ", ".join(apps.split()) or "something"),
            "drain the node first: what runs on a GPU would be killed",
        )
    if any(seen):
        # Nothing to remove is an error to nvidia-smi, so what counts is the look at the end.
        run(["nvidia-smi", "mig", "-i", gpu, "-dci"])
        run(["nvidia-smi", "mig", "-i", gpu, "-dgi"])
    if bool(parts) != bool(seen):
        _must(run, ["nvidia-smi", "-i", gpu, "-mig", "1" if parts else "0"], gpu)
    if parts:
        _must(run, ["nvidia-smi", "mig", "-i", gpu, "-cgi", ",".join(parts), "-C"], gpu)


def _must(run: Run, argv: list[str], gpu: str) -> None:
    code, text = run(argv)
    if code != 0:
        raise MigError(
            "{0} fails: {1}".format(" ".join(argv), " ".join(text.split())),
            "look at nvidia-smi mig -i {0} -lgip for what this GPU offers".format(gpu),
        )


def bring(run: Run, want: dict[int, list[str]]) -> list[str]:
    """Divide what is not as wanted, look again, and say what was done.

    Raises:
        MigError: it cannot be done, or did not take.
    """
    seen = look(run)
    todo = plan(seen, want)
    for index, parts in sorted(todo.items()):
        divide(run, index, seen[index], parts)
    left = plan(look(run), want) if todo else {}
    if left:
        index = min(left)
        raise MigError(
            "it did not take: {0} is still to do".format(said(index, left[index])),
            "older GPUs change their mode only at a reset: restart the node",
        )
    return [said(index, parts) for index, parts in sorted(todo.items())]


def main() -> int:
    """Divide GPUs as the file says."""
    try:
        with open(sys.argv[1], encoding="utf-8") as stream:
            body = json.load(stream)
        for change in bring(command, wanted(int(body["count"]), body["layout"])):
            print(change)
    except MigError as error:
        print("{0}. Next: {1}.".format(*error.args), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

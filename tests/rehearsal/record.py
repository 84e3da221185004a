"""Reads what a run wrote down: what its plan announced, and what it changed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from provision.engine.recorder import INTERNAL
from provision.engine.runs import list_runs


class Entry(NamedTuple):
    """One change: phase and task, and the change in words."""

    phase: str
    task: str
    change: str


def first_up(rack: str) -> Path:
    """The folder of the run that brought this rack up."""
    return next(run.path for run in list_runs(rack) if run.record().verb == "up")


def events(run: Path) -> list[dict[str, Any]]:
    """The journal of a run."""
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for line in lines if "kind" in (event := json.loads(line))]


def announced(plan: dict[str, Any], kind: str | None = None) -> dict[str, set[Entry]]:
    """What a plan says, by node; `kind` chooses between `change` and `depends`."""
    return {
        node["node"]: {
            Entry(item["phase"], item["task"], change)
            for item in node["items"]
            for change in item["changes"]
            if kind in (None, item["kind"])
        }
        for node in plan["nodes"]
    }


def changed(run: Path) -> dict[str, set[Entry]]:
    """What a run did, by node, without the engine's own tasks."""
    found: dict[str, set[Entry]] = {}
    for event in _tasks(run):
        own = found.setdefault(event["node"], set())
        if event["status"] == "changed":
            own |= {Entry(event["phase"], event["task"], change) for change in event["changes"]}
    return found


def tasks(run: Path, *, check: bool) -> Counter[str]:
    """How many tasks of the roles a run had on each node, in check mode or not."""
    return Counter(event["node"] for event in _tasks(run, check=check))


def _tasks(run: Path, *, check: bool = False) -> list[dict[str, Any]]:
    return [
        event
        for event in events(run)
        if event["kind"] == "task.end"
        and bool(event["check"]) is check
        and event["phase"] not in INTERNAL
    ]

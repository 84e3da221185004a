"""Run folders: where each run keeps what it was asked, what it did and what it found.

The folder is the truth about a run. It is private (0700), and its name sorts by time.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.names import suggest
from provision.core.paths import state_home
from provision.core.problems import fail

SCHEMA = "holdfast.run/1"


@dataclass(frozen=True)
class RunRecord:
    """What a run was asked to do; written once, before anything is contacted.

    `inputs` maps what the run reads to its sha256, `nodes` names the nodes it is for,
    `started` is Unix seconds.
    """

    run: str
    verb: str
    rack: str
    inventory: str
    nodes: tuple[str, ...]
    inputs: dict[str, str]
    command: tuple[str, ...]
    controller: str
    pid: int
    started: float
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The record as run.json holds it."""
        return {"schema": SCHEMA, **asdict(self)}

    @staticmethod
    def from_json(body: dict[str, Any]) -> RunRecord:
        """The record that `to_json` wrote.

        Raises:
            ValueError: it is of another schema, or something is missing.
        """
        if body.get("schema") != SCHEMA:
            raise ValueError(f"unknown run schema {body.get('schema')!r}")
        known = {k: body[k] for k in RunRecord.__dataclass_fields__ if k in body}
        missing = set(RunRecord.__dataclass_fields__) - set(known) - {"versions"}
        if missing:
            raise ValueError(f"run.json lacks {', '.join(sorted(missing))}")
        known["nodes"] = tuple(known["nodes"])
        known["command"] = tuple(known["command"])
        return RunRecord(**known)


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def run(self) -> str:
        """The run's id, which is the folder's name."""
        return self.path.name

    @property
    def record_file(self) -> Path:
        """What the run was asked to do."""
        return self.path / "run.json"

    @property
    def journal(self) -> Path:
        """What happened, as events; this is what a resume reads."""
        return self.path / "events.jsonl"

    @property
    def ansible(self) -> Path:
        """Configuration, logs and events of the ansible processes."""
        return self.path / "ansible"

    @property
    def known_hosts(self) -> Path:
        """The host keys of the inventory, as ssh reads them."""
        return self.path / "known_hosts"

    @property
    def controls(self) -> Path:
        """The rendered controls of the rack's nodes."""
        return self.path / "controls"

    @property
    def audit(self) -> Path:
        """The audit as it is brought to nodes, and what each of them is told."""
        return self.path / "audit"

    @property
    def plan(self) -> Path:
        """What was found to change."""
        return self.path / "plan.json"

    @property
    def verdict(self) -> Path:
        """The findings of the run's last judgement."""
        return self.path / "verdict.json"

    def record(self) -> RunRecord:
        """What the run was asked to do.

        Raises:
            HoldfastError: run.json is missing or damaged.
        """
        try:
            return RunRecord.from_json(json.loads(self.record_file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise fail(
                "run-damaged",
                f"the run {self.run} cannot be read: {error}",
                hint="start a new `holdfast up`; it looks at everything",
                where=str(self.record_file),
            ) from error


def runs_home() -> Path:
    """The folder that holds all run folders."""
    return state_home() / "runs"


def new_run(record: RunRecord) -> RunFolder:
    """Make the folder of a new run and write its record.

    Raises:
        OSError: the state folder cannot be written.
    """
    folder = RunFolder(runs_home() / record.run)
    folder.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.path.mkdir(mode=0o700)
    write_whole(folder.record_file, json.dumps(record.to_json(), indent=1) + "\n", mode=0o600)
    return folder


def new_run_id(now: float | None = None) -> str:
    """A run id that sorts by time: ``20261123T091500Z-3f9a1c``."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    return f"{stamp}-{secrets.token_hex(3)}"


def list_runs(rack: str | None = None, verb: str | None = None) -> list[RunFolder]:
    """All runs, oldest first; only those of `rack` and `verb` where given.

    A folder whose run.json is damaged is left out when one of them is given.
    """
    home = runs_home()
    found: list[tuple[float, str, RunFolder]] = []
    for path in home.iterdir() if home.is_dir() else ():
        folder = RunFolder(path)
        body = _body_of(folder)
        if body is None or not all(
            want is None or body.get(key) == want for key, want in (("rack", rack), ("verb", verb))
        ):
            continue
        started = body.get("started")
        found.append((started if isinstance(started, float) else 0.0, folder.run, folder))
    return [folder for _, _, folder in sorted(found, key=lambda row: row[:2])]


def find_run(name: str, rack: str | None = None) -> RunFolder:
    """The run with this id, with this unique beginning or ending of it, or the ``last`` `up`.

    Raises:
        HoldfastError: there is no such run, or more than one is meant (exit code 2).
    """
    runs = list_runs(rack)
    ups = list_runs(rack, "up") if name == "last" else []
    if ups:
        return ups[-1]
    if name == "last":
        message = f"no `up`{f' of rack {rack}' if rack else ''} is recorded on this machine"
        hint = f"runs are kept in {runs_home()}; without a run, `up` starts a new one"
        raise fail("run-unknown", message, hint=hint, exit_code=ExitCode.USAGE)
    meant = [r for r in runs if r.run == name] or [
        r for r in runs if r.run.startswith(name) or r.run.endswith(name)
    ]
    if len(meant) == 1:
        return meant[0]
    if meant:
        several = ", ".join(r.run for r in meant)
        message = f"{name!r} may mean any of these runs: {several}"
        raise fail("run-ambiguous", message, exit_code=ExitCode.USAGE)
    of_rack = f" of rack {rack}" if rack else ""
    hint = suggest(name, [r.run for r in runs[-5:]]) if runs else f"{runs_home()} has none"
    message = f"there is no run {name!r}{of_rack}"
    raise fail("run-unknown", message, hint=hint, exit_code=ExitCode.USAGE)


def controller_name() -> str:
    """Who and where we are, as locks name it: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _body_of(folder: RunFolder) -> dict[str, Any] | None:
    """The run's record as plain data; None when there is none, {} when it is damaged."""
    try:
        body = json.loads(folder.record_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}

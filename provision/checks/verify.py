"""Runs the checks over the nodes of a rack and gives a finding for every node and every check.

Which findings there must be is known before anything runs, from the declaration. What gives no
result is `unknown`: a check that vanished proves nothing.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import provision
from provision.checks.declaration import Expected, expected_of
from provision.checks.declare import ATTRIBUTE, Check
from provision.checks.target import Job, Target
from provision.core.events import Event, EventSink
from provision.core.files import write_whole
from provision.policy.judge import selection_of, targets_of
from provision.policy.load import Policy
from provision.policy.resolve import NONE, resolve
from provision.policy.resolve import Target as PolicyTarget
from provision.rack.model import Node, Rack
from provision.rack.ssh import SshSettings
from provision.supply.lock import StackLock, lock_sha256
from provision.verdict.model import Finding, Severity, Status

LOOK_S = 120
"""Seconds that a look at one node may take, without the time to read its model."""
_READ_BYTES_PER_S = 50_000_000
_START_S = 60


@dataclass(frozen=True)
class Examination:
    """What verifying a rack gave: findings, and what is known of each node beside them."""

    findings: tuple[Finding, ...]
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)

    @property
    def rehearsal(self) -> bool:
        """Whether any node says that it is a rehearsal."""
        return any("rehearsal" in f.get("ID", "") for f in self.facts.values())


def verify(
    rack: Rack, lock: StackLock, *, ssh: SshSettings, events: EventSink, workdir: Path
) -> list[Finding]:
    """The findings of `examine`."""
    return list(examine(rack, lock, ssh=ssh, events=events, workdir=workdir).findings)


def examine(
    rack: Rack,
    lock: StackLock,
    *,
    ssh: SshSettings,
    events: EventSink,
    workdir: Path,
    suite: Sequence[Path] | None = None,
    policy: Policy | None = None,
) -> Examination:
    """Look at every node of `rack` and judge what is seen.

    Args:
        rack: the nodes, and what is declared for them.
        lock: the artefacts that they must hold.
        ssh: how to reach them.
        events: is told about the start, every finding and the end.
        workdir: an existing folder that keeps job, log and raw results.
        suite: files with checks; those of this package when None.
        policy: what the profile that the inventory asks for is made of.

    Raises:
        OSError: the stack lock cannot be read, or `workdir` not be written.
    """
    files = list(suite) if suite is not None else suite_files()
    checks = load_checks(files)
    digest = lock_sha256(rack.stack)
    controls = _controls(rack, policy, workdir / "controls") if policy else {}
    targets = [
        _target(rack, n, expected_of(rack, lock, n, digest, controls.get(n.name)), ssh)
        for n in rack.nodes
    ]
    events.emit(Event("verify.start", data={"nodes": len(targets), "checks": len(checks)}))
    log = workdir / "checks.log"
    results = workdir / "findings.jsonl"
    ended = _run(files, targets, workdir, results, log)
    lines = _read(results)
    whole = complete(lines, checks, [t.expected for t in targets], f"{ended}; see {log}")
    for finding in whole.findings:
        data = {"check": finding.check, "status": finding.status.value}
        events.emit(Event("verify.finding", node=finding.node, data=data))
    events.emit(Event("verify.end", data={"findings": len(whole.findings)}))
    return whole


def suite_files() -> list[Path]:
    """The files of this package that hold checks."""
    return sorted(Path(__file__).parent.glob("test_*.py"))


def load_checks(files: Iterable[Path]) -> tuple[Check, ...]:
    """The checks that the files declare, in their order.

    Raises:
        ValueError: two checks have the same id.
    """
    found: dict[str, Check] = {}
    for file in files:
        for _, function in inspect.getmembers(_module(file), inspect.isfunction):
            check = getattr(function, ATTRIBUTE, None)
            if not isinstance(check, Check) or function.__module__ != _name(file):
                continue
            if check.id in found:
                raise ValueError(f"{file}: the check {check.id!r} is declared twice")
            found[check.id] = check
    return tuple(found.values())


def _name(file: Path) -> str:
    inside = file.parent == Path(__file__).parent
    return f"provision.checks.{file.stem}" if inside else f"holdfast_suite_{file.stem}"


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_name(file), file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _controls(rack: Rack, policy: Policy, folder: Path) -> dict[str, dict[str, str]]:
    """Write the resolved controls once for each target; the files by node and release."""
    if rack.profile == NONE:
        return {}
    folder.mkdir(mode=0o700, exist_ok=True)
    selection = selection_of(rack)
    files: dict[PolicyTarget, str] = {}
    for node in rack.nodes:
        for target in targets_of(node):
            if target not in files:
                path = folder / f"{len(files) + 1:02d}-{target.release}-{target.kind}.json"
                body = resolve(policy, selection, target).rendered()
                write_whole(path, json.dumps(body) + "\n", mode=0o600)
                files[target] = str(path)
    return {n.name: {t.release: files[t] for t in targets_of(n)} for n in rack.nodes}


def _target(rack: Rack, node: Node, expected: Expected, ssh: SshSettings) -> Target:
    size = sum(f.size for f in expected.serving.files) if expected.serving else 0
    return Target(
        hostspec=f"ssh://[{node.address}]" if ":" in node.address else f"ssh://{node.address}",
        arguments=tuple(ssh.arguments(rack, node)),
        expected=expected,
        timeout=(LOOK_S + size // _READ_BYTES_PER_S) * node.patience,
        patience=node.patience,
    )


def _run(
    files: Sequence[Path], targets: Sequence[Target], workdir: Path, results: Path, log: Path
) -> str:
    """Run pytest; say how it ended. Whatever it does, it is over when this returns."""
    results.unlink(missing_ok=True)
    job = workdir / "checks.json"
    settings = workdir / "pytest.ini"
    write_whole(
        job, Job(targets=tuple(targets), results=str(results)).model_dump_json(), mode=0o600
    )
    write_whole(settings, "[pytest]\n")
    argv = [
        sys.executable, "-m", "pytest", "-q", "-c", str(settings), "--rootdir", str(workdir),
        "-p", "provision.checks.plugin", "-p", "no:cacheprovider", "--import-mode=importlib",
        # Messages are evidence: they must be the check's own words, not pytest's.
        "--assert=plain", "--tb=short", "--holdfast-job", str(job), *map(str, files),
    ]  # fmt: skip
    limit = _START_S + max((t.timeout for t in targets), default=0) * (1 + len(targets) // 48)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=_environment(),
            cwd=workdir,
            # Its ssh processes end with it, also after Ctrl-C.
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            return f"the checks did not end within {limit} s"
        finally:
            _end(process)
    return f"pytest ended with {status}"


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    home = str(Path(provision.__file__).parent.parent)
    path = [home, *filter(None, [kept.get("PYTHONPATH")])]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        # Only our own plugin: what else is installed must not change what a check means.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM if process.poll() is not None else signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _read(results: Path) -> list[dict[str, Any]]:
    if not results.exists():
        return []
    found = []
    for line in results.read_text(encoding="utf-8").splitlines():
        try:
            told = json.loads(line)
        except ValueError:  # cut short; what is missing becomes unknown
            continue
        if isinstance(told, dict):
            found.append(told)
    return found


def complete(
    lines: Iterable[dict[str, Any]],
    checks: Sequence[Check],
    nodes: Sequence[Expected],
    ended: str,
) -> Examination:
    """A finding for every check on every node, from what the plugin wrote.

    A pair without a result is unknown, a pair with several has the worst, and everything about a
    node that cannot be reached is unknown.
    """
    told = list(lines)
    gone = {str(x["node"]): str(x["reason"]) for x in told if x.get("kind") == "unreachable"}
    facts = {str(x["node"]): dict(x["release"]) for x in told if x.get("kind") == "facts"}
    found: dict[tuple[str, str], Finding] = {}
    for line in told:
        if line.get("kind") != "finding":
            continue
        finding = _finding({k: v for k, v in line.items() if k != "kind"})
        pair = (finding.node, finding.check)
        found[pair] = max(found.get(pair, finding), finding, key=_badness)
    whole = []
    for node in nodes:
        for check in checks:
            finding = found.get((node.node, check.id)) or _unknown(
                check, node, f"the check gave no result: {ended}"
            )
            if node.node in gone:
                why = f"the node cannot be reached: {gone[node.node]}"
                finding = replace(_unknown(check, node, why), seconds=finding.seconds)
            whole.append(finding)
    return Examination(tuple(whole), facts, gone)


_ORDER = (Status.NOT_APPLICABLE, Status.PASS, Status.WAIVED, Status.UNKNOWN, Status.FAIL)


def _badness(finding: Finding) -> int:
    return _ORDER.index(finding.status)


def _finding(told: dict[str, Any]) -> Finding:
    return Finding(
        **{**told, "status": Status(told["status"]), "severity": Severity(told["severity"])}
    )


def _unknown(check: Check, node: Expected, why: str) -> Finding:
    return Finding(
        node=node.node,
        check=check.id,
        title=check.title,
        status=Status.UNKNOWN,
        expected=check.expectation(node),
        seen=why,
        severity=check.severity,
        action="make the node reachable, then run `holdfast verify` again",
        clears=check.clears,
    )

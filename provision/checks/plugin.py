"""Our pytest plugin: runs checks over nodes and turns outcomes into findings, one JSON line each.

Loaded by `verify` with ``-p provision.checks.plugin``; the job file says which nodes there are
and what is declared for them. All nodes are looked at in parallel before the first test runs;
the tests then only judge. Every line is appended whole, so that a run cut short leaves the
findings it had.
"""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Generator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import testinfra

from provision.checks import shipping
from provision.checks.declaration import CONTAINER, HIDDEN, MANIFESTS, UNIT, Expected
from provision.checks.declare import ATTRIBUTE, Check, CouldNotLook, NotApplicable
from provision.checks.hardened import declared
from provision.checks.hardened.registry import asked
from provision.checks.shipping import Answer, Run, Sight, Unreachable
from provision.checks.target import Job, Target
from provision.core.files import append_line
from provision.verdict.model import Finding, Status

AT_ONCE = 48
"""Nodes that are looked at together."""
_EVIDENCE = 2000
_NOTES = pytest.StashKey["Notes"]()


class Notes:
    """What one check saw and whether it looked at the node."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.looked = False
        self.started = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the job."""
    parser.addoption("--holdfast-job", required=True, help="the job file that `verify` wrote")


def pytest_configure(config: pytest.Config) -> None:
    """Read the job and register the part of the plugin that holds state."""
    job = Job.model_validate_json(Path(config.getoption("--holdfast-job")).read_text())
    config.pluginmanager.register(Session(job), "holdfast-checks")


class Session:
    """One run of checks over nodes."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.results = Path(job.results)
        self.targets = {t.expected.node: t for t in job.targets}
        self.sights: dict[str, Future[Sight]] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give every check every node."""
        if hasattr(metafunc.function, ATTRIBUTE):
            if "holdfast_node" not in metafunc.fixturenames:
                metafunc.fixturenames.append("holdfast_node")
            names = list(self.targets)
            metafunc.parametrize("holdfast_node", names, scope="session", indirect=True)

    @pytest.fixture(scope="session")
    def holdfast_node(self, request: pytest.FixtureRequest) -> str:
        """The name of the node that the check is about."""
        return str(request.param)

    @pytest.fixture
    def expected(self, holdfast_node: str) -> Expected:
        """What is declared for the node."""
        return self.targets[holdfast_node].expected

    @pytest.fixture
    def seen(self, request: pytest.FixtureRequest) -> Any:
        """Records evidence."""
        return _notes(request.node).seen.append

    @pytest.fixture
    def look(self, request: pytest.FixtureRequest, holdfast_node: str) -> Any:
        """Shows what a probe saw of the node."""
        check = _check(request.node)

        def show(area: str, part: str) -> Any:
            if check is None or area not in check.looks:
                raise CouldNotLook(f"the check reads {area!r} but does not say so in `looks`")
            _notes(request.node).looked = True
            return self.sights[holdfast_node].result().part(area, part)

        return show

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Start looking at every node that a check will ask about."""
        wanted: dict[str, set[str]] = {}
        for item in session.items:
            check, name = _check(item), _node(item)
            if check is None or name is None:
                continue
            if check.why_not(self.targets[name].expected) is None:
                wanted.setdefault(name, set()).update(check.looks)
        gate = threading.Semaphore(AT_ONCE)
        for name, areas in wanted.items():
            future: Future[Sight] = Future()
            self.sights[name] = future
            work = (self.targets[name], sorted(areas), future, gate)
            # Daemons: a node that never answers must not keep the interpreter from ending.
            threading.Thread(target=_look_at, args=work, daemon=True).start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Ask the declaration before the check's own code runs."""
        check, name = _check(item), _node(item)
        if check is not None and name is not None:
            reason = check.why_not(self.targets[name].expected)
            if reason is not None:
                raise NotApplicable(reason)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, Any]:
        """Turn the outcome into a finding."""
        report: Any = yield
        check, name = _check(item), _node(item)
        if check is None or name is None or (call.when != "call" and call.excinfo is None):
            return report
        notes = _notes(item)
        error = call.excinfo.value if call.excinfo else None
        status, said = judge(error, notes)
        target = self.targets[name]
        why = said if status is Status.NOT_APPLICABLE else ""
        finding = Finding(
            node=name,
            check=check.id,
            title=check.title,
            status=status,
            expected=check.expectation(target.expected),
            seen="" if why else clip(said),
            severity=check.severity,
            action="" if status in (Status.PASS, Status.NOT_APPLICABLE) else check.action,
            clears="" if status in (Status.PASS, Status.NOT_APPLICABLE) else check.clears,
            reason=why,
            seconds=round(call.duration, 4),
        )
        append_line(self.results, json.dumps({"kind": "finding", **finding.to_json()}))
        return report

    def pytest_sessionfinish(self) -> None:
        """Say which nodes were not reached, and what is known of the others."""
        for name, future in self.sights.items():
            if not future.done():
                continue
            sight = future.result()
            if sight.unreachable is not None:
                gone = {"kind": "unreachable", "node": name, "reason": sight.unreachable}
                append_line(self.results, json.dumps(gone))
            release = sight.areas.get("packages", {}).get("release", {}).get("value")
            if isinstance(release, dict):
                known = {"kind": "facts", "node": name, "release": release}
                append_line(self.results, json.dumps(known))


def judge(error: BaseException | None, notes: Notes) -> tuple[Status, str]:
    """The status that an outcome stands for, and the evidence or the reason."""
    evidence = "; ".join(notes.seen)
    if error is None:
        if not evidence:
            return Status.UNKNOWN, "the check passed without recording anything that it saw"
        return Status.PASS, evidence
    said = str(error).strip()
    if isinstance(error, NotApplicable):
        if notes.looked:
            return Status.UNKNOWN, f"called not applicable after looking at the node: {said}"
        return Status.NOT_APPLICABLE, said
    if isinstance(error, CouldNotLook):
        return Status.UNKNOWN, said
    if isinstance(error, AssertionError):
        return Status.FAIL, said or evidence or "the assertion does not hold"
    if isinstance(error, pytest.skip.Exception):
        return Status.UNKNOWN, f"the check skipped itself: {said}"
    return Status.UNKNOWN, f"the check broke: {type(error).__name__}: {said}"


def clip(text: str) -> str:
    """Evidence as safe text: printable, and not longer than a reader bears."""
    plain = "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    return plain if len(plain) <= _EVIDENCE else plain[: _EVIDENCE - 1] + "…"


def over(target: Target) -> Run:
    """Runs commands on a node through testinfra."""
    extra = shlex.join(target.arguments)
    host = testinfra.get_host(target.hostspec, ssh_extra_args=extra, controlpersist=0)

    def run(command: str) -> Answer:
        try:
            done = host.run(command)
        except RuntimeError as error:  # testinfra says so when ssh itself ends with 255
            said = getattr(error.args[0] if error.args else None, "stderr", "") or str(error)
            raise Unreachable(_last_line(said)) from error
        except OSError as error:
            raise Unreachable(str(error)) from error
        return Answer(done.rc, done.stdout, done.stderr)

    return run


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "ssh ended without a word"


def _look_at(
    target: Target, areas: list[str], future: Future[Sight], gate: threading.Semaphore
) -> None:
    with gate:
        try:
            told = asks(target.expected)
            sight = shipping.look(over(target), areas, told, target.timeout, target.patience)
            future.set_result(sight)
        except BaseException as error:
            future.set_exception(error)
            raise


def asks(expected: Expected) -> dict[str, Any]:
    """What each probe is told to look at; names and paths, never a value to compare with."""
    told: dict[str, Any] = {
        "packages": {"verify": sorted({p.name for p in expected.packages if p.roles})}
    }
    if expected.serving is not None:
        told["model_store"] = {"directory": expected.serving.directory}
        told["inference"] = {
            "unit": UNIT,
            "container": CONTAINER,
            "secrets": list(HIDDEN),
            "manifest": f"{MANIFESTS}/{expected.serving.model}.sha256",
        }
    return told | asked(declared.releases(expected))


def _check(item: Any) -> Check | None:
    found = getattr(getattr(item, "function", None), ATTRIBUTE, None)
    return found if isinstance(found, Check) else None


def _node(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("holdfast_node") if callspec else None


def _notes(item: Any) -> Notes:
    notes: Notes = item.stash.setdefault(_NOTES, Notes())
    return notes

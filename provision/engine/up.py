"""Brings a rack to what its inventory says: preflight, plan, waves, verdict.

Nothing is changed before every node was looked at. What was done is in the journal at the end
of each phase, so that a run that was killed is continued and not repeated.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from provision.core.events import Event, ListSink, Tee
from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.paths import playbook
from provision.core.problems import HoldfastError, Problem, fail
from provision.engine import daytwo, waves
from provision.engine import plan as plans
from provision.engine.apply import (
    Applier,
    Holding,
    NodeResult,
    emit_node_end,
    only_hosts,
    phases_of,
)
from provision.engine.journal import RunState
from provision.engine.plan import Plan
from provision.engine.preflight import Preflight, asked_of, preflight
from provision.engine.recorder import Recorder
from provision.engine.restart import Restarter
from provision.engine.session import Session
from provision.rack.model import Rack
from provision.supply.model import StackLock
from provision.verdict.model import Verdict

Judge = daytwo.Judge
"""Gives the verdict on a rack: rack, run, a folder to work in, ssh settings, events."""


@dataclass(frozen=True)
class Judges:
    """Who gives the verdict at the end, and who on nodes whose GPU unit changed."""

    judge: Judge
    gate: Judge | None


@dataclass
class Report:
    """What a run came to. `reason` is a short word for machines, `problems` what to show."""

    run: str
    folder: Path
    exit_code: ExitCode = ExitCode.NOT_DONE
    reason: str = "internal"
    preflight: Preflight | None = None
    plan: Plan | None = None
    results: dict[str, NodeResult] = field(default_factory=dict)
    verdict: Verdict | None = None
    problems: list[Problem] = field(default_factory=list)

    def ended(self, code: ExitCode, reason: str) -> Report:
        """The report with its end."""
        self.exit_code, self.reason = code, reason
        return self


def make_plan(session: Session, lock: StackLock) -> Report:
    """Preflight and plan; changes nothing.

    Raises:
        HoldfastError: ansible did not run at all.
        KeyboardInterrupt: it was interrupted.
    """
    report = Report(session.record.run, session.folder.path)
    rack = session.request.rack
    if not _preflight(session, lock, report, budget=0):
        return _ended(session, report.ended(ExitCode.NOT_DONE, "refused"))
    _plan(session, rack, lock, report)
    assert report.plan is not None
    report.problems += _stops(report.plan)
    if report.plan.stopped:
        return _ended(session, report.ended(ExitCode.NOT_DONE, "plan-stopped"))
    return _ended(session, report.ended(ExitCode.OK, "ok"))


def up(
    session: Session,
    lock: StackLock,
    judge: Judge,
    show: Callable[[Plan], None] | None = None,
    gate: Judge | None = None,
) -> Report:
    """Everything from preflight to the verdict.

    Args:
        session: the opened run.
        lock: the rack's stack lock.
        judge: gives the verdict at the end.
        show: is called with the plan before anything is changed.
        gate: verifies nodes whose GPU unit changed before the next ones begin; `checks.gate` when
            None.

    Raises:
        HoldfastError: ansible did not run at all.
    """
    report = Report(session.record.run, session.folder.path)
    try:
        return _ended(session, _up(session, lock, Judges(judge, gate), show, report))
    except KeyboardInterrupt:
        return _interrupted(session, report)
    except HoldfastError as error:
        report.problems += error.problems
        _give_back(session, report)
        return _ended(session, report.ended(error.exit_code, error.problems[0].code))
    except OSError as error:
        with contextlib.suppress(OSError, HoldfastError):
            _give_back(session, report)
        raise _unwritable(session, error) from error


def _up(
    session: Session,
    lock: StackLock,
    judges: Judges,
    show: Callable[[Plan], None] | None,
    report: Report,
) -> Report:
    rack = session.request.rack
    before = session.before
    _await_restarts(session, before)
    budget = rack.waves.failure_budget
    if not _preflight(session, lock, report, budget):
        return report.ended(ExitCode.NOT_DONE, "refused")
    kept = _take_or_make_plan(session, lock, before, report)
    assert report.plan is not None
    if show is not None:
        show(report.plan.left(session.record.run, before) if kept else report.plan)
    report.problems += _stops(report.plan)
    for stopped in report.plan.stopped:
        stop = stopped.stop
        assert stop is not None
        _note(session, report, stopped.node, NodeResult(False, stop.phase, stop.message))
    if waves.over_budget(_failed(report), budget):
        return report.ended(ExitCode.NOT_DONE, "plan-stopped")
    if not _apply(session, report, before, judges.gate or daytwo.gate_of(session, lock)):
        return report.ended(ExitCode.NOT_DONE, "failed")
    session.stage("verify")
    verdict = judges.judge(
        rack, session.record.run, session.folder.path / "checks", session.shared_ssh, session.sink
    )
    report.verdict = verdict
    session.stage("verify", "ok", verdict=verdict.status.value)
    if _failed(report):
        return report.ended(ExitCode.NOT_DONE, "failed")
    reason = "findings" if verdict.exit_code is ExitCode.FINDINGS else "ok"
    return report.ended(verdict.exit_code, reason)


def _await_restarts(session: Session, before: RunState) -> None:
    """Wait for nodes that the killed run had just restarted."""
    due = {n: s.boot_before for n, s in before.nodes.items() if s.restart_due and s.boot_before}
    here = {node.name for node in session.request.rack.nodes}
    waiting = {n: mark for n, mark in due.items() if n in here}
    if waiting:
        _restarter(session).answering(waiting)


def _preflight(session: Session, lock: StackLock, report: Report, budget: int) -> bool:
    """Look at all nodes; whether the run may go on."""
    request = session.request
    session.stage("preflight")
    asked = asked_of(lock, session.record.run, request.takeover, request.rack.origin)
    found = preflight(request.rack, session.ansible, session.ssh, session.sink, asked)
    report.preflight = found
    refused = found.refused
    for finding in found.findings:
        data = {"check": finding.check, "status": finding.status.value, "seen": finding.seen}
        session.sink.emit(Event("preflight.finding", finding.node, data=data))
    report.problems += found.problems()
    ok = not waves.over_budget(len(refused), budget) and len(refused) < len(request.rack.nodes)
    session.stage("preflight", "ok" if ok else "refused", refused=list(refused))
    for node in refused:
        _note(session, report, node, NodeResult(False, "preflight", "refused by preflight"))
    return ok


def _take_or_make_plan(session: Session, lock: StackLock, before: RunState, report: Report) -> bool:
    """On a resume the plan of the run stands, unless it lacks a node that is there now.

    Returns whether it does.
    """
    left_out = set(report.results)
    rack = session.request.rack
    kept = _kept_plan(session) if before.stage_done("plan") else None
    wanted = {node.name for node in rack.nodes} - left_out
    if kept is not None and wanted <= {p.node for p in kept.nodes}:
        report.plan = Plan(tuple(p for p in kept.nodes if p.node in wanted))
        return True
    chosen = tuple(node for node in rack.nodes if node.name not in left_out)
    _plan(session, rack.model_copy(update={"nodes": chosen}), lock, report)
    return False


def _kept_plan(session: Session) -> Plan | None:
    try:
        return Plan.from_json(json.loads(session.folder.plan.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _plan(session: Session, rack: Rack, lock: StackLock, report: Report) -> None:
    """Run the phases in check mode and keep what they would change.

    Raises:
        HoldfastError: ansible did not run at all.
        KeyboardInterrupt: it was interrupted.
    """
    session.stage("plan")
    kept = ListSink()
    recorder = Recorder(Tee([session.sink, kept]), check=True)
    names = [node.name for node in rack.nodes]
    site, only = playbook("site"), session.request.phases
    told = only_hosts(phases_of(site), only)
    outcome = session.ansible.run(
        "plan", site, recorder.take, limit=names, variables=told, check=True
    )
    recorder.finish()
    if outcome.interrupted:
        raise KeyboardInterrupt
    if not outcome.finished:
        raise fail(
            "ansible",
            f"ansible-playbook ended with {outcome.status} before the plan was finished:\n"
            + outcome.last_words(),
            hint=f"the whole log is {outcome.log}",
        )
    due = report.preflight.restarts() if report.preflight and not only else {}
    report.plan = plans.build(names, kept.seen, due)
    if report.preflight is not None and not only:
        report.plan = daytwo.with_units(report.plan, rack, lock, report.preflight)
    text = json.dumps(report.plan.to_json(), indent=1, ensure_ascii=False)
    write_whole(session.folder.plan, text + "\n", mode=0o600)
    status = "stopped" if report.plan.stopped else "ok"
    session.stage("plan", status, counts=report.plan.counts())


def _apply(session: Session, report: Report, before: RunState, gate: Judge) -> bool:
    """Apply the plan wave by wave; whether the failure budget held."""
    assert report.plan is not None
    rack = session.request.rack
    budget = rack.waves.failure_budget
    holding = Holding(
        session.record, session.request.takeover, resume=session.request.resume is not None
    )
    applier = Applier(
        session.ansible, _restarter(session), session.sink, holding, session.request.phases
    )
    here = {node.name for node in rack.nodes}
    changing = [n for n in report.plan.changing if n in here and n not in report.results]
    for name in sorted(here - set(changing) - set(report.results)):
        _note(session, report, name, NodeResult(True, None, "nothing to change"))
    session.stage("apply")
    declared = rack.waves
    for wave in waves.ordered(changing, report.plan.units, declared.sizes, declared.unit_sizes):
        todo = _todo(wave.nodes, applier.wanted, before)
        for node in wave.nodes:
            if node not in todo:
                _note(session, report, node, NodeResult(True, None, "finished before"))
        if not todo:
            continue
        data = {"wave": wave.number, "nodes": list(todo), "unit": wave.unit}
        session.sink.emit(Event("wave.start", data=data, durable=True))
        if wave.unit:
            results = daytwo.unit_wave(session, applier, gate, wave.number).run(todo)
        else:
            results = applier.wave(todo)
        _settle(session, report, results)
        _unlock_failed(session, applier, results)
        session.sink.emit(Event("wave.end", data={"wave": wave.number, "failed": _failed(report)}))
        if waves.over_budget(_failed(report), budget):
            _stopped_by_budget(session, report, budget, changing)
            session.stage("apply", "failed")
            return False
    session.stage("apply", "ok" if not _failed(report) else "failed")
    return True


def _todo(
    nodes: tuple[str, ...], phases: tuple[str, ...], before: RunState
) -> dict[str, list[str]]:
    """The phases that each node still needs; a node that the run finished is left out."""
    todo = {}
    for node in nodes:
        state = before.nodes.get(node)
        if state is not None and state.status == "ok":
            continue
        done = state.finished if state is not None else set()
        todo[node] = [phase for phase in phases if phase not in done]
    return todo


def _note(session: Session, report: Report, node: str, result: NodeResult) -> None:
    report.results[node] = result
    emit_node_end(session.sink, node, result)


def _settle(session: Session, report: Report, results: Mapping[str, NodeResult]) -> None:
    for node, result in results.items():
        _note(session, report, node, result)
        if not result.ok:
            where = f"{result.phase}: " if result.phase else ""
            # Modules end what they say with the step that mends it.
            what, _, advice = (result.message or "failed").partition(" Next: ")
            advice = advice.rstrip(".")
            report.problems.append(
                Problem(
                    "unreachable" if result.unreachable else "phase-failed",
                    f"{where}{what}",
                    where=node,
                    hint=f"{advice or 'mend it'}; then `{_resume(session)}`; "
                    f"the log is in {session.folder.ansible}",
                )
            )


def _stops(plan: Plan) -> list[Problem]:
    return [
        Problem(
            "plan-stopped",
            f"check mode could not look further than {p.stop.phase}: {p.stop.task}: "
            f"{p.stop.message}",
            where=p.node,
            hint="mend this first; a plan that could not look at everything is not applied",
        )
        for p in plan.stopped
        if p.stop is not None
    ]


def _stopped_by_budget(session: Session, report: Report, budget: int, changing: list[str]) -> None:
    failed = [n for n, r in report.results.items() if not r.ok]
    untouched = [n for n in changing if n not in report.results]
    left = f"; not touched yet: {', '.join(untouched)}" if untouched else ""
    if len(failed) == 1 and budget == 0 and report.problems:
        # That one node's own message says it all.
        last = report.problems[-1]
        report.problems[-1] = replace(last, message=f"{last.message.rstrip('.')}{left}")
        return
    report.problems.append(
        Problem(
            "budget",
            f"{len(failed)} nodes failed and {budget} are tolerated, so the run stopped after "
            f"this wave: {', '.join(failed)}{left}",
            hint=f"mend them, then continue with `{_resume(session)}`",
        )
    )


def _unlock_failed(session: Session, applier: Applier, results: Mapping[str, NodeResult]) -> None:
    """Give back nodes that failed on the way, so that only this run's end holds nobody up."""
    state = session.state()
    held = [n for n, r in results.items() if not r.ok and state.node(n).locked]
    applier.unlock([n for n in held if not results[n].unreachable])


def _give_back(session: Session, report: Report) -> dict[str, str]:
    """Give back every node that the run still holds; returns why not, by node."""
    held = [name for name, node in session.state().nodes.items() if node.locked]
    if not held:
        return {}
    holding = Holding(session.record, session.request.takeover)
    applier = Applier(session.ansible, _restarter(session), session.sink, holding)
    left = applier.unlock(held)
    for node, why in left.items():
        report.problems.append(
            Problem(
                "still-held",
                f"the node's lock was not given back: {why}",
                where=node,
                hint=f"`{_resume(session)}` continues; --break-lock {report.run} replaces it",
            )
        )
    return left


def _interrupted(session: Session, report: Report) -> Report:
    report.problems.append(
        Problem("interrupted", "interrupted", hint=f"continue with `{_resume(session)}`")
    )
    with contextlib.suppress(KeyboardInterrupt):
        _give_back(session, report)
    return _ended(session, report.ended(ExitCode.INTERRUPTED, "interrupted"))


def _unwritable(session: Session, error: OSError) -> HoldfastError:
    """A run that cannot be journalled must not go on: nobody could tell what it did."""
    return fail(
        "controller",
        f"this machine stopped the run: {error}",
        where=str(error.filename or session.folder.path),
        hint=f"mend it here (df -h {session.folder.path}), then `{_resume(session)}`",
    )


def _resume(session: Session) -> str:
    """The command that goes on where this run ended; a run of some phases is just run again."""
    rack = session.request.rack.path
    if session.request.phases:
        return f"holdfast audit install {rack}"
    return f"holdfast up {rack} --resume {session.record.run}"


def _ended(session: Session, report: Report) -> Report:
    data = {"exit_code": int(report.exit_code), "reason": report.reason}
    session.sink.emit(Event("run.end", data=data, durable=True))
    return report


def _failed(report: Report) -> int:
    return sum(not result.ok for result in report.results.values())


def _restarter(session: Session) -> Restarter:
    return Restarter(session.request.rack, session.ansible, session.ssh, session.sink)

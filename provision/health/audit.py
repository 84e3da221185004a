"""One audit: let the probes look, judge what was seen, make the result."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from provision.health import VERSION, children, site
from provision.health.case import Case, why
from provision.health.checks.all import load_checks
from provision.health.children import Probe
from provision.health.expect import Expected
from provision.health.limits import Limits
from provision.health.probes.ask import Ask, Failed, Progress
from provision.health.sight import ProbeRun, Sight
from provision.health.state import State, alone, boottime, born, load, save
from provision.health.words import (
    FAIL,
    NOT_APPLICABLE,
    PASS,
    SEVERITIES,
    STATUSES,
    UNKNOWN,
    Check,
    NotMeant,
    Outcome,
    Unseen,
    worst,
)

SCHEMA = f"holdfast.health/{VERSION}"
GATING = (FAIL, UNKNOWN)


@dataclass
class Options:
    """How an audit runs.

    Args:
        root: the tree that is looked at; anything but / is a recorded or mounted one.
        library: an NVML library other than the system's.
        journal: a file with lines of the kernel's journal, below `root`, instead of the journal.
        state: where samples are kept; nothing is kept when None.
        only: prefixes of the ids of the checks to judge; all when empty.
        site: a folder of a site's own checks.
        patience: the factor by which every deadline is stretched.
        under_load: put the GPUs under load first, and judge that too.
    """

    root: Path = Path("/")
    library: str = ""
    journal: str = ""
    state: Path | None = None
    only: tuple[str, ...] = ()
    site: Path | None = None
    patience: float = 1.0
    under_load: bool = False


@dataclass
class Finding:
    """One check's result, as the result document shows it."""

    check: str
    title: str
    status: str
    severity: str
    expected: str
    seen: str
    action: str
    advice: str
    clears: str
    reason: str = ""
    parts: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Result:
    """What an audit found."""

    node: str
    boot: str
    started: float
    ended: float
    findings: list[Finding]
    probes: list[ProbeRun]
    notes: list[str]
    left_behind: list[dict[str, Any]]
    declared: bool
    versions: dict[str, str]
    cost: dict[str, float]
    gpus: list[dict[str, str]] = field(default_factory=list)

    @property
    def status(self) -> str:
        """The worst of all findings; only ones that do not apply, or none, is unknown."""
        return worst([f.status for f in self.findings])

    def to_json(self) -> dict[str, Any]:
        """The result as plain data, as `data/result.schema.json` describes it."""
        counts = dict.fromkeys(STATUSES, 0)
        for finding in self.findings:
            counts[finding.status] += 1
        return {
            "schema": SCHEMA,
            "node": self.node,
            "boot": self.boot,
            "status": self.status,
            "counts": counts,
            "started": self.started,
            "ended": self.ended,
            "declared": self.declared,
            "under_load": any(
                f.check.startswith("load.") and f.status in (PASS, FAIL) for f in self.findings
            ),
            "versions": self.versions,
            "gpus": self.gpus,
            "cost": self.cost,
            "notes": self.notes,
            "left_behind": self.left_behind,
            "probes": [asdict(p) for p in self.probes],
            "findings": [asdict(f) for f in self.findings],
        }


def audit(
    checks: Sequence[Check], probes: Sequence[Probe], expected: Expected, options: Options
) -> Result:
    """Run one audit.

    Raises:
        Busy: another audit of the same state folder is running, or another one under load.
        NotIdle: the node was to be put under load, and is in use.
        Mistake: the declaration's limits cannot be used.
        OSError: the state folder cannot be written.
    """
    limits = Limits([*checks, *load_checks()], expected)
    meant = [*checks, *(load_checks() if options.under_load else ())]
    chosen = [c for c in meant if not options.only or c.id.startswith(options.only)]
    with alone(options.state):
        return _audit(chosen, probes, expected, options, limits)


def _audit(
    checks: Sequence[Check],
    probes: Sequence[Probe],
    expected: Expected,
    options: Options,
    limits: Limits,
) -> Result:
    started, cpu = time.time(), _cpu()
    boot = boot_id(options.root)
    state = load(options.state, boot)
    needed = {n.split(".", 1)[0] for c in checks for n in c.needs}
    look = _Looker(expected, options, state)
    loaded = _under_load(look, needed, limits)
    wanted = [p for p in probes if needed & set(p.parts)]
    sight = look(wanted)
    sight.add(loaded)
    case = Case(sight, expected, limits, state)
    findings = [judge(check, case) for check in checks]
    findings += [
        Finding(**f) for f in site.run(options.site, options.only, sight, options.patience)
    ]
    _keep(options, state, sight, checks)
    ended = time.time()
    return Result(
        node=expected.node or platform.node(),
        boot=boot,
        started=started,
        ended=ended,
        findings=findings,
        probes=sight.runs,
        notes=[state.note] if state.note else [],
        left_behind=state.left_behind,
        declared=bool(expected.declared),
        versions=_versions(sight),
        cost={"cpu_s": round(_cpu() - cpu, 3), "memory_kib": _memory()},
        gpus=_gpus(sight),
    )


@dataclass
class _Looker:
    """Lets probes look, so many at a time; `numbers` is what `Ask` calls so."""

    expected: Expected
    options: Options
    state: State

    def __call__(
        self, probes: Sequence[Probe], numbers: dict[str, float] | None = None, parallel: int = 3
    ) -> Sight:
        expected, options, state = self.expected, self.options, self.state
        held = {str(b["probe"]): b for b in state.left_behind}
        patient = [
            Probe(p.name, p.parts, p.look, p.deadline * options.patience,
                  p.step * options.patience, p.resumes)
            for p in probes if p.name not in held
        ]  # fmt: skip

        def told(probe: Probe) -> dict[str, Any]:
            return {
                "root": options.root,
                "declared": expected.declared,
                "library": options.library,
                "journal": options.journal,
                "boot": state.boot,
                "patience": options.patience,
                "kept": state.log if probe.name == "log" else {},
                "numbers": numbers or {},
            }

        sight = children.run(patient, told, parallel=parallel)
        sight.owners = {part: p.name for p in probes for part in p.parts}
        for probe in probes:
            if probe.name in held:
                reason = (
                    f"the process {held[probe.name]['pid']} of an earlier audit still hangs in:"
                    f" {held[probe.name]['doing']}"
                )
                sight.runs.append(ProbeRun(probe.name, "hang", 0.0, reason))
        for run in sight.runs:
            if run.left_behind:
                behind = {"probe": run.name, "pid": run.pid, "born": born(run.pid)}
                state.left_behind.append({**behind, "since": time.time(), "doing": run.reason})
        return sight


def _under_load(look: _Looker, needed: set[str], limits: Limits) -> Sight:
    """What programs say that put the GPUs under load, where that was asked for."""
    if not look.options.under_load:
        return Sight()
    from provision.health import under_load
    from provision.health.probes.load import PROBES

    slurm = under_load.by_slurm if "slurm" in look.expected.declared else None
    with under_load.alone(look.options.root):
        found = under_load.seen(look, [p for p in PROBES if needed & set(p.parts)], limits, slurm)
    look.state.now = boottime()  # minutes have passed, in which counters grew
    return found


def judge(check: Check, case: Case) -> Finding:
    """One check's finding. Whatever the check does, there is a finding."""
    try:
        outcome = check.judge(case)
    except NotMeant as error:
        outcome = Outcome(NOT_APPLICABLE, "", reason=str(error))
    except Unseen as error:
        outcome = Outcome(UNKNOWN, why(error), reason=why(error))
    except Exception as error:  # a check that breaks must be seen, not believed
        broke = f"the check broke: {type(error).__name__}: {error}"
        outcome = Outcome(UNKNOWN, broke, reason=broke, action="inspect")
    well = outcome.status not in GATING
    advice = outcome.advice or check.advice
    if outcome.status == UNKNOWN:
        advice = "find out why it could not be seen, then audit again"
    return Finding(
        check=check.id,
        title=check.title,
        status=outcome.status,
        severity=outcome.severity or check.severity,
        expected=outcome.expected or check.title,
        seen=outcome.seen,
        action="none" if well else (outcome.action or _action(check, outcome)),
        advice="" if well else advice,
        clears="" if well else check.clears,
        reason=outcome.reason,
        parts=[asdict(p) for p in outcome.parts],
    )


def _action(check: Check, outcome: Outcome) -> str:
    return "inspect" if outcome.status == UNKNOWN else check.action


def _keep(options: Options, state: State, sight: Sight, checks: Sequence[Check]) -> None:
    if "log.events" in sight.values:
        state.log = sight.values["log.events"]
    if checks:
        save(options.state, state)


def boot_id(root: Path) -> str:
    """The id of the running boot."""
    ask = Ask(tell=lambda _: None, progress=Progress(), root=root)
    try:
        return ask.text("/proc/sys/kernel/random/boot_id")
    except Failed:
        return ""


def _versions(sight: Sight) -> dict[str, str]:
    found = {"audit": VERSION, "python": platform.python_version()}
    for key in ("driver", "library", "cuda"):
        if f"nvml.{key}" in sight.values:
            found[key] = str(sight.values[f"nvml.{key}"])
    return found


def _gpus(sight: Sight) -> list[dict[str, str]]:
    """Who the GPUs are that NVML shows, so that a history can follow a board to another slot."""
    known = ("uuid", "serial", "name")
    return [
        {"bus": bus, **{k: str(sight.values.get(f"gpu.{bus}.{k}") or "") for k in known}}
        for bus in sorted(str(g["bus"]) for g in sight.values.get("nvml.gpus", ()) if not g["code"])
    ]


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _memory() -> float:
    """The largest memory of this process or of one of its children, in KiB."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return float(max(resource.getrusage(w).ru_maxrss for w in whose))


def by_gravity(finding: Finding) -> tuple[int, int, str]:
    """Sorts findings: failing first, then unknown, the graver first."""
    order = {FAIL: 0, UNKNOWN: 1}
    return (order.get(finding.status, 2), -SEVERITIES.index(finding.severity), finding.check)

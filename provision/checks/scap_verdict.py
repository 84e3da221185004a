"""OpenSCAP's half of the verdict: scans held against what is accepted, as findings.

The other half are the checks that read a node's state by our own probes. The two share nothing, so
a control that is wrong and its check that is wrong with it are still found.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Literal

from provision.checks import openscap
from provision.checks.openscap import Order, Scanned, Writes
from provision.checks.scap_content import NoContent
from provision.checks.scap_memory import Remembered, recall, remember
from provision.checks.scap_results import RuleResult
from provision.core.events import Event, EventSink
from provision.core.paths import data_dir
from provision.core.problems import fail
from provision.policy import baseline as baselines
from provision.policy.baseline import Baseline, Breach, Content, Judged
from provision.policy.judge import selection_of, target_of
from provision.policy.load import Policy
from provision.policy.model import RELEASES, Release
from provision.policy.resolve import NONE, Resolution, resolve
from provision.policy.tailoring import tailor
from provision.rack.model import Node, Rack
from provision.rack.ssh import SshSettings
from provision.verdict.model import Finding, Severity, Status, worst

Mode = Literal["full", "quick", "none"]
"""How nodes are scanned: by all rules, without those that read every file, or not at all."""
CHECK = "openscap.scan"
"""The finding that a scan was made and proves enough; each rule that breaks has one of its own."""
LEAST_SHARE = 0.6
"""The share of the selected rules that must apply where no baseline says how many."""

LAST = "openscap.last_full_scan"
"""The finding of a quick scan that tells how old the last full one is."""
_LAST_TITLE = "The rules that read every file were judged lately"
_TITLE = "OpenSCAP judges the node as its baseline says"
_EXPECTED = "every rule of the profile has the result that is accepted for it"


@dataclass(frozen=True)
class NodeView:
    """All that is known of a node's scan, for reports.

    `scanned` has the results that are judged: those of a quick scan have the last full scan's for
    what was left out. `before` is the full scan before this one, which proves something for `days`
    days; `record` is the command that makes this scan a baseline.
    """

    scanned: Scanned
    resolution: Resolution | None = None
    judged: Judged | None = None
    baseline: Baseline | None = None
    before: Remembered | None = None
    days: int = 7
    record: str = ""


@dataclass(frozen=True)
class ScapVerdict:
    """Findings of all nodes, and what they rest on."""

    findings: tuple[Finding, ...] = ()
    nodes: Mapping[str, NodeView] = field(default_factory=dict)


def judge_by_openscap(
    rack: Rack,
    policy: Policy,
    *,
    ssh: SshSettings,
    folder: Path,
    events: EventSink,
    mode: Mode = "full",
    writes: Writes = "all",
    run: str = "",
) -> ScapVerdict:
    """Scan the nodes of `rack` and hold each rule against what is accepted.

    Args:
        rack: the nodes, the profile that is declared for them, and the site's own baselines.
        policy: what the profile is made of.
        ssh: how to reach the nodes.
        folder: where OpenSCAP's own reports are kept, a folder for each node.
        events: is told of the start, of every node and of the end.
        mode: ``quick`` leaves out the rules that read every file of a node, ``none`` scans nothing;
            what is left out is judged by the last full scan, while that proves something.
        writes: whether OpenSCAP writes a page and an asset report of its own beside its results.
        run: the id of the run that this belongs to.

    Raises:
        HoldfastError: a baseline cannot be read (exit code 2).
        OSError: `folder` cannot be written.
    """
    if rack.profile == NONE:
        return ScapVerdict(tuple(_not_asked(node) for node in rack.nodes))
    profile = policy.profiles[rack.profile]
    resolutions: dict[str, Resolution] = {}

    def resolved(node: Node, major: str) -> Resolution:
        release = _release(major)
        if release not in profile.benchmark:
            raise NoContent(f"the profile {profile.id} says nothing of release {major or '?'}")
        resolutions[node.name] = resolve(policy, selection_of(rack), target_of(node, release))
        return resolutions[node.name]

    def ask(node: Node, major: str) -> Order:
        made = tailor(profile, resolved(node, major), evaluate_waived=True)
        left_out = openscap.EXPENSIVE if mode == "quick" else ()
        return Order(made.profile, made.text, left_out, writes)

    events.emit(Event("openscap.start", data={"nodes": len(rack.nodes), "profile": profile.id}))
    scans = openscap.scan_nodes(rack, ask, ssh=ssh, folder=folder) if mode != "none" else {}
    now = time.time()
    views: dict[str, NodeView] = {}
    findings: list[Finding] = []
    for node in rack.nodes:
        last = recall(rack, node)
        scanned = scans.get(node.name)
        if scanned is None and last is not None and last.scanned.release:
            with contextlib.suppress(NoContent):
                resolved(node, last.scanned.release)
        record = f"holdfast profile baseline {rack.path} --run {run} --node {node.name} --into "
        record += str(rack.baselines[0]) if rack.baselines else "FOLDER"
        resolution = resolutions.get(node.name)
        found = _with_last(node, scanned, _usable(last, rack, resolution, now))
        view = _view(found, resolution, [*rack.baselines, ours()])
        view = replace(view, before=last, days=rack.full_scan_days, record=record)
        views[node.name] = view
        made = [*_findings(view), *_schedule(view, mode, now)]
        findings += made
        if mode == "full" and scanned is not None and scanned.scan is not None:
            remember(rack, node, scanned, run, now)
        data = {"status": worst(made).value, "seconds": view.scanned.seconds}
        events.emit(Event("openscap.node", node=node.name, data=data))
    events.emit(Event("openscap.end", data={"findings": len(findings)}))
    return ScapVerdict(tuple(findings), views)


def _usable(
    last: Remembered | None, rack: Rack, resolution: Resolution | None, now: float
) -> Remembered | None:
    """The last full scan, where it is young enough and was by the profile that is asked for."""
    if last is None or resolution is None or not last.stands(rack.full_scan_days, now):
        return None
    was = last.scanned.scan.profile if last.scanned.scan is not None else ""
    return last if was == f"{resolution.profile}_{resolution.target.release}" else None


def _with_last(node: Node, scanned: Scanned | None, usable: Remembered | None) -> Scanned:
    """What is judged: this scan, with the last full one's results for what it left out."""
    if scanned is None:
        if usable is None:
            return Scanned(
                node.name, problem="it was not scanned, and no full scan proves anything"
            )
        return usable.scanned
    if usable is None or usable.scanned.scan is None or scanned.scan is None:
        return scanned
    if usable.scanned.scan.version != scanned.scan.version:
        return scanned
    old = usable.scanned.scan.rules
    more = {rule: old[rule] for rule in scanned.left_out if rule in old}
    merged = replace(scanned.scan, rules={**scanned.scan.rules, **more})
    rest = tuple(rule for rule in scanned.left_out if rule not in more)
    return replace(scanned, scan=merged, left_out=rest)


def _schedule(view: NodeView, mode: Mode, now: float) -> list[Finding]:
    """Whether the last full scan is young enough, where this one was not full."""
    if mode == "full":
        return []
    last = view.before
    good = last is not None and last.stands(view.days, now)
    return [
        Finding(
            view.scanned.node, LAST, _LAST_TITLE,
            Status.PASS if good else Status.UNKNOWN,
            expected=f"a scan by all rules within {view.days} days",
            seen=last.words(now) if last is not None else "no full scan of it is known here",
            severity=Severity.HIGH,
            action="" if good else "holdfast verify INVENTORY --scan full",
            clears="" if good else "OpenSCAP judged every rule",
        )
    ]  # fmt: skip


def ours() -> Path:
    """The folder of the baselines that ship with Holdfast."""
    return data_dir("profiles") / "baselines"


def _release(major: str) -> Release | None:
    return next((release for release in RELEASES if release == f"el{major}"), None)


def find_baseline(places: Sequence[Path], resolution: Resolution) -> Baseline | None:
    """The baseline for a resolved profile; the first place that has one counts.

    Raises:
        HoldfastError: it cannot be read (exit code 2).
    """
    target = resolution.target
    name = baselines.file_name(resolution.profile, target.release, target.kind)
    path = next((place / name for place in places if (place / name).is_file()), None)
    return baselines.read(path) if path is not None else None


def _other_content(baseline: Baseline, scanned: Scanned) -> Breach | None:
    """What a scan by other content than the baseline's proves: nothing yet."""
    was = f"{baseline.content.file} {baseline.content.version}"
    now = f"{scanned.content} {scanned.scan.version if scanned.scan else ''}"
    if was == now:
        return None
    words = (
        f"its baseline was recorded with {was}, and now {now} judges: what its rules say of a node "
        "that is as it should be is not known"
    )
    return Breach("", was, now, words, unseen=True)


def reasons_of(resolution: Resolution) -> dict[str, str]:
    """Rule to why it need not pass on the target, for rules of controls that are not applied."""
    release = resolution.target.release
    found: dict[str, str] = {}
    for control in resolution.not_automated:
        for rule in control.rules(release):
            found[rule] = control.not_automated or ""
    for item in resolution.not_applicable:
        for rule in item.control.rules(release):
            found[rule] = item.reason
    return found


def _view(scanned: Scanned, resolution: Resolution | None, places: Sequence[Path]) -> NodeView:
    if scanned.scan is None or resolution is None:
        return NodeView(scanned, resolution)
    baseline = find_baseline(places, resolution)
    waived = {
        rule: f"{e.source}: {e.reason} ({e.owner}, until {e.expires.isoformat()})"
        for rule, e in resolution.exempt_rules().items()
        if rule in scanned.scan.rules
    }
    selected = scanned.scan.selected
    judged = baselines.gate(
        baseline,
        {name: r.result for name, r in scanned.scan.rules.items()},
        selected=selected.keys(),
        waived=waived,
        excused=_excused(resolution),
        left_out=scanned.left_out,
        floor=int(max(len(selected), len(_applied(resolution))) * LEAST_SHARE),
        why_none=_none_of(resolution),
    )
    other = _other_content(baseline, scanned) if baseline is not None else None
    if other is not None:
        # A rule whose check changed may fail on a node that is as good as before.
        unseen = (replace(breach, unseen=True) for breach in judged.breaches)
        judged = replace(judged, breaches=(other, *unseen))
    return NodeView(scanned, resolution, judged, baseline)


def judge_scan(
    scanned: Scanned, resolution: Resolution, places: Sequence[Path], *, record: str = ""
) -> tuple[NodeView, tuple[Finding, ...]]:
    """Hold one scan against the baseline in the first of `places` that has it.

    Args:
        scanned: the scan, or why there is none.
        resolution: what the profile comes to for what was scanned.
        places: folders of baselines.
        record: the command that makes this scan a baseline.

    Raises:
        HoldfastError: the baseline cannot be read (exit code 2).
    """
    view = replace(_view(scanned, resolution, places), record=record)
    return view, tuple(_findings(view))


def _none_of(resolution: Resolution) -> str:
    target = resolution.target
    name = baselines.file_name(resolution.profile, target.release, target.kind)
    return f"there is no baseline {name}"


def _applied(resolution: Resolution) -> set[str]:
    """The rules of all controls that are applied: asked for, whatever a result holds."""
    release = resolution.target.release
    return {rule for item in resolution.applied for rule in item.control.rules(release)}


def _excused(resolution: Resolution) -> dict[str, str]:
    """Rule to why the node's kind cannot have it; that follows from the declaration alone."""
    release = resolution.target.release
    return {
        rule: item.reason
        for item in resolution.not_applicable
        for rule in item.control.rules(release)
    }


def _not_asked(node: Node) -> Finding:
    return Finding(
        node.name, CHECK, _TITLE, Status.NOT_APPLICABLE, expected=_EXPECTED,
        severity=Severity.HIGH, reason="the inventory declares holdfast_profile: none",
    )  # fmt: skip


def _findings(view: NodeView) -> list[Finding]:
    """The finding of the scan, then one for each rule that is not as accepted."""
    scanned, judged = view.scanned, view.judged
    if scanned.scan is None or judged is None:
        return [
            Finding(
                scanned.node, CHECK, _TITLE, Status.UNKNOWN, expected=_EXPECTED,
                seen=scanned.problem or "there is no result", severity=Severity.HIGH,
                action="put right what is said here, then run `holdfast verify` again",
                clears="OpenSCAP ran, and its result could be read", seconds=scanned.seconds,
            )
        ]  # fmt: skip
    broken = [b for b in judged.breaches if b.rule]
    whole = [b for b in judged.breaches if not b.rule]
    status = Status.PASS
    if judged.breaches:
        status = Status.UNKNOWN if all(b.unseen for b in judged.breaches) else Status.FAIL
    said = [words(view), *(b.words for b in whole), *judged.notes]
    if broken:
        said.append(f"{len(broken)} rules are not as accepted")
    first = Finding(
        scanned.node, CHECK, _TITLE, status, expected=_EXPECTED, seen="; ".join(said),
        severity=Severity.HIGH,
        action=_next_step(view) if judged.breaches else "",
        clears="no rule is worse than accepted" if judged.breaches else "",
        seconds=scanned.seconds,
    )  # fmt: skip
    return [first, *(_of_breach(view, breach) for breach in broken)]


def _next_step(view: NodeView) -> str:
    baseline = view.baseline
    if baseline is not None and _other_content(baseline, view.scanned) is not None:
        return f"look at the rules named below, then record what this content says: {view.record}"
    if baseline is None:
        return f"look at the rules named below; once they are as they should be: {view.record}"
    return "look at the rules named below, one by one"


_SEVERITIES = {"high": Severity.HIGH, "medium": Severity.MEDIUM, "low": Severity.LOW}


def _of_breach(view: NodeView, breach: Breach) -> Finding:
    scan = view.scanned.scan
    rule = scan.rules.get(breach.rule) if scan else None
    rule = rule or RuleResult(breach.rule, breach.now)
    controls = _controls_of(view, breach.rule)
    by = f"control {', '.join(controls)}" if controls else "no control answers it"
    return Finding(
        view.scanned.node,
        f"openscap.{breach.rule}",
        rule.title or breach.rule,
        Status.UNKNOWN if breach.unseen else Status.FAIL,
        expected=f"pass ({by})" if breach.was in ("none", "") else f"{breach.was} ({by})",
        seen="; ".join([f"{breach.now}: {breach.words}", *rule.messages]),
        severity=_SEVERITIES.get(rule.severity, Severity.MEDIUM),
        action=f"holdfast profile explain {controls[0]}" if controls else "see OpenSCAP's report",
        clears="OpenSCAP gives it the result that is accepted",
    )


def _controls_of(view: NodeView, rule: str) -> list[str]:
    resolution = view.resolution
    if resolution is None:
        return []
    every = [item.control for item in resolution.applied]
    every += [item.control for item in resolution.waived]
    every += [item.control for item in resolution.not_applicable]
    every += [*resolution.not_automated, *resolution.provided]
    return [c.id for c in every if rule in c.rules(resolution.target.release)]


def words(view: NodeView) -> str:
    """A scan in one line: what judged, and how many rules apply of how many."""
    scan, judged = view.scanned.scan, view.judged
    if scan is None or judged is None:
        return view.scanned.problem
    counts = judged.counts
    parts = [f"{counts.get('pass', 0) + counts.get('fixed', 0)} pass"]
    parts += [f"{len(judged.waived)} waived"] if judged.waived else []
    parts += [f"{len(judged.accepted)} accepted as they are"] if judged.accepted else []
    parts += [f"{counts['notapplicable']} do not apply"] if counts.get("notapplicable") else []
    return (
        f"{view.scanned.content} {scan.version}, {scan.profile}: {judged.applicable} of "
        f"{sum(counts.values())} rules apply; {', '.join(parts)}"
    )


def record(view: NodeView, followed: str, more: Mapping[str, str], on: date) -> Baseline:
    """The baseline that a scan makes.

    Args:
        view: a whole scan of a node that is as it should be.
        followed: the profile of the content that the scan's tailoring extends.
        more: rule to reason, where the policy gives none for what is no pass.
        on: the day of the scan.

    Raises:
        HoldfastError: there is no whole scan, or a rule that is no pass has no reason.
    """
    scan, resolution = view.scanned.scan, view.resolution
    if scan is None or resolution is None:
        raise fail("no-scan", view.scanned.problem or "there is no scan", where=view.scanned.node)
    if view.scanned.left_out:
        raise fail("quick-scan", "rules were left out of this scan", where=view.scanned.node,
                   hint="a baseline comes of a whole scan")  # fmt: skip
    return baselines.record(
        {rule: r.result for rule, r in scan.selected.items()},
        {**reasons_of(resolution), **more},
        waived=resolution.exempt_rules(),
        profile=resolution.profile,
        release=resolution.target.release,
        kind=resolution.target.kind,
        content=Content(file=view.scanned.content, version=scan.version, profile=followed),
        on=on,
    )

"""From a rack to its verdict, and from a verdict to the files that a run keeps.

`verify` and `up` both end here, so that what they say about a rack is the same.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from provision import __version__
from provision.checks.audited import audited
from provision.checks.openscap import Writes
from provision.checks.scap_pages import rule_book
from provision.checks.scap_verdict import Mode, judge_by_openscap
from provision.checks.verify import Examination, examine
from provision.core.events import EventSink
from provision.core.files import write_whole
from provision.inference.smoke import smoke
from provision.policy.load import Policy
from provision.policy.resolve import NONE
from provision.rack.model import Node, Rack
from provision.rack.ssh import SshSettings, write_known_hosts
from provision.supply.lock import StackLock, lock_sha256
from provision.verdict import html, junit, schema
from provision.verdict.model import Finding, NodeSummary, Verdict
from provision.verdict.rules import RuleBook


@dataclass(frozen=True)
class Reports:
    """Where the forms of a verdict were written."""

    verdict: Path
    junit: Path
    html: Path


def judge(
    rack: Rack,
    lock: StackLock,
    *,
    run: str,
    events: EventSink,
    workdir: Path,
    ssh: SshSettings | None = None,
    policy: Policy | None = None,
    scan: Mode = "full",
    scan_writes: Writes = "all",
) -> Verdict:
    """Check every node of `rack`, ask every serving node a question, and give the verdict.

    Where the inventory asks for a profile, OpenSCAP judges the nodes as well; where it asks for
    the audit, that runs on the nodes and its findings are among the others.

    Args:
        rack: the nodes to judge, and what is declared for them.
        lock: the artefacts that they must hold.
        run: the id of the run that this belongs to.
        events: is told about every finding.
        workdir: where the parts of the work are kept; made when missing.
        ssh: how to reach the nodes; by the inventory's own keys when None.
        policy: what the profile that the inventory asks for is made of.
        scan: whether OpenSCAP judges by all rules, by the quick ones, or by none.
        scan_writes: whether it writes a page and an asset report of its own beside its results.

    Raises:
        HoldfastError: a baseline cannot be read (exit code 2).
        OSError: `workdir` cannot be written.
    """
    started = time.time()
    workdir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if ssh is None:
        known_hosts = workdir / "known_hosts"
        write_known_hosts(rack, known_hosts)
        ssh = SshSettings(known_hosts)
    examined = examine(rack, lock, ssh=ssh, events=events, workdir=workdir, policy=policy)
    findings = [*examined.findings, *smoke(rack, events)]
    findings += audited(rack, lock, policy or Policy(), ssh=ssh, events=events)
    rules = RuleBook()
    if policy is not None and rack.profile != NONE:
        place = workdir / "openscap"
        judged = judge_by_openscap(
            rack,
            policy,
            ssh=ssh,
            folder=place,
            events=events,
            mode=scan,
            writes=scan_writes,
            run=run,
        )
        findings += judged.findings
        rules = rule_book(judged, policy, workdir.parent)
    return verdict_of(
        rack,
        examined,
        findings,
        run=run,
        started=started,
        inputs={"inventory": rack.sha256, "stack lock": lock_sha256(rack.stack)},
        rules=rules,
    )


def judge_audit(
    rack: Rack,
    lock: StackLock,
    *,
    run: str,
    events: EventSink,
    ssh: SshSettings,
    policy: Policy,
) -> Verdict:
    """The verdict of the nodes' own audits alone; the arguments are those of `judge`.

    Raises:
        HoldfastError: the audit cannot be packed here.
    """
    started = time.time()
    return verdict_of(
        rack,
        Examination(()),
        audited(rack, lock, policy, ssh=ssh, events=events),
        run=run,
        started=started,
        inputs={"inventory": rack.sha256, "stack lock": lock_sha256(rack.stack)},
    )


def verdict_of(
    rack: Rack,
    examined: Examination,
    findings: list[Finding],
    *,
    run: str,
    started: float,
    inputs: dict[str, str],
    rules: RuleBook | None = None,
) -> Verdict:
    """The verdict that findings make; nodes stand in the order of the inventory."""
    order = {node.name: number for number, node in enumerate(rack.nodes)}
    return Verdict(
        kind="verify",
        rack=rack.name,
        run=run,
        nodes=tuple(_summary(n, examined.facts.get(n.name, {})) for n in rack.nodes),
        findings=tuple(sorted(findings, key=lambda f: (order[f.node], *f.check.split(".")[:1]))),
        started=started,
        ended=time.time(),
        inputs=inputs,
        rehearsal=examined.rehearsal,
        tool=f"holdfast {__version__}",
        rules=rules or RuleBook(),
    )


def _summary(node: Node, release: dict[str, str]) -> NodeSummary:
    facts = {"address": node.address}
    if release:
        facts["system"] = release.get("PRETTY_NAME", "")
        facts["kernel"] = f"{release.get('KERNEL', '')} {release.get('MACHINE', '')}".strip()
    if node.hardware is not None and node.hardware.gpus is not None:
        facts["GPUs"] = f"{node.hardware.gpus.count} x {node.hardware.gpus.model}"
    if node.inference is not None:
        facts["serves"] = f"{node.inference.model} on port {node.inference.port}"
    return NodeSummary(
        name=node.name,
        groups=node.groups,
        kind=node.kind,
        position=node.position.unit if node.position else None,
        height=node.position.height if node.position else 1,
        facts=facts,
    )


def write_reports(verdict: Verdict, folder: Path) -> Reports:
    """Write verdict.json, junit.xml and report.html into `folder`, each whole or not at all.

    Beside them a page of every rule for each node that was judged by a profile: rules/NODE.html.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = Reports(folder / "verdict.json", folder / "junit.xml", folder / "report.html")
    write_whole(made.verdict, schema.to_text(verdict))
    write_whole(made.junit, junit.render(verdict))
    write_whole(made.html, html.render(verdict))
    for page in verdict.rules.nodes:
        path = folder / html.rules_file(page.node)
        path.parent.mkdir(exist_ok=True)
        # What OpenSCAP wrote lies in the run's folder, and not in others that get the report.
        there = page.report and (folder / page.report).is_file()
        report = os.path.relpath(folder / page.report, path.parent) if there else ""
        write_whole(path, html.render_rules(verdict, page, report))
    return made

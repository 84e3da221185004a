"""Everything that is said of a tree before it becomes an image: the lint, OpenSCAP, our checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from provision.checks import openscap, scap_verdict
from provision.checks.scap_pages import rule_book
from provision.checks.scap_verdict import NodeView, ScapVerdict
from provision.image.definition import Definition
from provision.image.lint.judge import Linted, lint
from provision.image.lint.tree import Tree
from provision.image.sandbox import Sandbox
from provision.image.scan import own, scanner
from provision.image.scan.own import Own, Started
from provision.image.scan.scanner import TreeScan
from provision.policy.load import Policy
from provision.policy.resolve import Resolution
from provision.policy.tailoring import tailor
from provision.verdict.model import Finding, Severity, Status
from provision.verdict.rules import RuleBook

SCHEMA = "holdfast.image-scan/1"
AFTER_BOOT = "openscap.after_boot"
BASELINE = "openscap.baseline"
SHARE = "hardening.share"
"""The findings on a scan as a whole: what was left to the one after the first boot, whether it was
held against a baseline, and how much of the profile our own checks judged."""


@dataclass(frozen=True)
class Asked:
    """What a tree is judged by.

    `baselines` are folders, the first that has the profile's counts; `privileged` is the recorded
    list of `provision.image.lint.privileged`, None where there is none; `skip` maps lint checks
    that are left out to the reason.
    """

    definition: Definition
    policy: Policy
    resolution: Resolution
    baselines: Sequence[Path] = ()
    privileged: Sequence[str] | None = None
    canaries: Sequence[str] = ()
    skip: Mapping[str, str] = field(default_factory=dict)
    made: datetime | None = None
    """What the tailoring says for the time; now when None."""


@dataclass(frozen=True)
class Examined:
    """What was said of a tree."""

    image: str
    base: str
    findings: tuple[Finding, ...]
    scan: TreeScan
    view: NodeView
    own: Own
    linted: Linted
    rules: RuleBook

    @property
    def words(self) -> str:
        """Which content judged, in a line."""
        return scap_verdict.words(self.view)

    def to_json(self) -> dict[str, Any]:
        """As plain data: what each rule said, and how the gate takes it."""
        scanned = self.scan.scanned
        states = {state.rule: state for page in self.rules.nodes for state in page.rules}
        rules = {
            name: {
                "result": one.result,
                "severity": one.severity,
                "word": states[name].status.value if name in states else "",
            }
            for name, one in sorted(scanned.scan.selected.items() if scanned.scan else ())
        }
        return {
            "schema": SCHEMA,
            "image": self.image,
            "base": self.base,
            "problem": scanned.problem,
            "content_sha256": self.scan.digest,
            "scanner": self.scan.scanner,
            "rules": rules,
            "after_boot": dict(self.scan.after_boot),
            "own": {
                "controls": self.own.controls,
                "judged": self.own.judged,
                "left": dict(sorted(self.own.left.items())),
            },
            "paths": self.linted.paths,
            "privileged": list(self.linted.privileged),
            "scan": openscap.to_json(replace(scanned, seconds=0.0)),
        }


def examine(root: Path, sandbox: Sandbox, asked: Asked, keep: Path) -> Examined:
    """Judge the tree at `root`; what OpenSCAP wrote is kept in `keep`.

    Raises:
        HoldfastError: the sandbox failed, or what judges cannot be read.
    """
    definition, resolution = asked.definition, asked.resolution
    image = definition.name
    profile = asked.policy.profiles[definition.profile]
    made = tailor(profile, resolution, evaluate_waived=True, made=asked.made)

    def looked() -> tuple[Linted, Own]:
        linted = lint(
            root, sandbox, image=image, privileged=asked.privileged,
            canaries=asked.canaries, skip=asked.skip,
        )  # fmt: skip
        begun = started(root, definition)
        return linted, own.examine(root, sandbox, resolution, begun, image=image)

    # They share nothing but the tree, which neither writes. The scanner takes the longest, and
    # has a processor of its own where there are two.
    with ThreadPoolExecutor(max_workers=2) as pool:
        scanning = pool.submit(
            scanner.scan, root, sandbox, made, image=image, release=definition.el, keep=keep
        )
        looking = pool.submit(looked)
        (linted, found), scanned = looking.result(), scanning.result()
    places = [*asked.baselines, scap_verdict.ours()]
    record = f"holdfast profile baseline {image} --scan FOLDER --into FOLDER"
    view, judged = scap_verdict.judge_scan(scanned.scanned, resolution, places, record=record)
    findings = [
        *linted.findings,
        *(_of_a_tree(finding) for finding in judged),
        _after_boot(image, scanned),
        _baseline(view, record),
        *found.findings,
        _share(image, found),
    ]
    verdict = ScapVerdict(tuple(judged), {image: view})
    return Examined(
        image,
        definition.base,
        tuple(replace(finding, seconds=0.0) for finding in findings),
        scanned,
        view,
        found,
        linted,
        rule_book(verdict, asked.policy, keep),
    )


def started(root: Path, definition: Definition) -> Started:
    """What the image is started with, and how it is mounted: by its definition and its fstab."""
    mounts: dict[str, Sequence[str]] = {}
    for line in (Tree(root).text("/etc/fstab") or "").splitlines():
        words = line.split()
        if len(words) > 3 and not words[0].startswith("#"):
            mounts[words[1]] = words[3].split(",")
    for part in definition.partitions:
        mounts.setdefault(part.mount, part.options)
    return Started(definition.kernel.arguments, mounts)


def _of_a_tree(finding: Finding) -> Finding:
    """A finding of a scan, with the next step of whoever builds an image."""
    return replace(
        finding, action=finding.action.replace("holdfast verify", "holdfast image build")
    )


def _after_boot(image: str, found: TreeScan) -> Finding:
    kinds: dict[str, int] = {}
    for why in found.after_boot.values():
        kinds[why] = kinds.get(why, 0) + 1
    told = ", ".join(f"{why} ({count})" for why, count in sorted(kinds.items()))
    reason = f"{len(found.after_boot)} rules ask a running system: {told or 'none'}"
    return Finding(
        image,
        AFTER_BOOT,
        "Rules that only a running system can answer are left to the scan after the first boot",
        Status.NOT_APPLICABLE,
        severity=Severity.INFO,
        reason=reason,
    )


def _baseline(view: NodeView, record: str) -> Finding:
    """An image without a baseline is refused: what does not apply any more would not be seen."""
    found = view.baseline
    return Finding(
        view.scanned.node,
        BASELINE,
        "Each rule was held against what was recorded for it",
        Status.PASS if found is not None else Status.UNKNOWN,
        expected="a baseline of this profile and release for images",
        seen=f"recorded on {found.recorded}" if found is not None else "there is none",
        severity=Severity.HIGH,
        action="" if found is not None else f"look at every rule, then record them: {record}",
        clears="" if found is not None else "a baseline is there",
    )


def _share(image: str, found: Own) -> Finding:
    left = ", ".join(f"{name} ({why})" for name, why in sorted(found.left.items()))
    enough = found.controls == 0 or found.judged * 2 > found.controls
    return Finding(
        image,
        SHARE,
        "Most of the applied controls were judged by the tree itself",
        Status.PASS if enough else Status.UNKNOWN,
        expected="more than half of the applied controls",
        seen=found.share + (f"; only once it runs: {left}" if left else ""),
        severity=Severity.MEDIUM,
    )

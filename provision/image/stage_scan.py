"""Stage scan: everything that judges the sealed tree, and the gate that it has to pass.

A tree that does not pass leaves no output and ends the build: what is made beside it stays in the
cache, where nothing signs it. What was found is kept below the state folder and named. With
``scan.force`` the build goes on, and the reason stays in the verdict.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from provision import checks, policy
from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.paths import data_dir, state_home
from provision.core.problems import HoldfastError, Problem
from provision.core.shapes import Model
from provision.image import gate
from provision.image.definition import Definition
from provision.image.fitting import selection_of, target_of
from provision.image.gate import Gate
from provision.image.lint import privileged
from provision.image.scan.examining import Asked, Examined, examine
from provision.image.work import Given, Work
from provision.policy import baseline as baselines
from provision.policy.load import load_policy
from provision.policy.resolve import Resolution, objections, resolve, today
from provision.verdict import html

VERSION = 1
NEEDS = ("seal",)
READS = (
    "name",
    "date",
    "release",
    "base",
    "profile",
    "overlays",
    "waivers",
    "roles",
    "gpus",
    "partitions",
    "kernel",
)
TOOLS = ("modinfo", "rpm")

_CHECKS = Path(checks.__file__).parent
_POLICY = Path(policy.__file__).parent
SOURCES = (
    *sorted((_CHECKS / "hardened").glob("*.py")),
    *sorted((_CHECKS / "probes").glob("*.py")),
    *sorted(_CHECKS.glob("scap_*.py")),
    _POLICY / "baseline.py",
    _POLICY / "tailoring.py",
)
"""What of other rooms decides what is said of a tree."""

FORCE = "scan.force"
BASELINES = "scan.baselines"
PRIVILEGED = "scan.privileged"
CANARIES = "scan.canaries"
"""What the stage may be given beside the definition: the reason to go on although the gate does not
pass; folders of baselines before ours; the list of privileged programs, instead of ours; secrets of
the site of which no copy may be in the image."""


class Options(Model):
    """What the tree is judged by, as digests, and the day by which waivers are judged."""

    day: str
    controls: str
    baseline: str
    privileged: str
    canaries: str
    force: str = ""


def options(definition: Definition, given: Given) -> Options:
    """The stage's options.

    Raises:
        HoldfastError: a waiver or an overlay has expired or has no effect (exit code 1).
    """
    resolution = resolution_of(definition)
    place = _baseline(definition, given)
    return Options(
        day=today().isoformat(),
        controls=_sha256(json.dumps([resolution.rendered(), _exempt(resolution)], sort_keys=True)),
        baseline=_sha256(place.read_bytes()) if place is not None else "none",
        privileged=_sha256("\n".join(_privileged(definition, given) or ("none",))),
        canaries=_sha256("\n".join(given.extra.get(CANARIES, ()))),
        force=str(given.extra.get(FORCE, "")),
    )


def run(work: Work) -> None:
    """Judge the tree, and stop the build where it does not pass.

    Raises:
        HoldfastError: it does not (exit code 1), every rule and check by name.
    """
    judge(work, asked_of(work.definition, work.given))


def judge(work: Work, asked: Asked) -> None:
    """Judge the tree by what is asked, and stop the build where it does not pass.

    Raises:
        HoldfastError: it does not (exit code 1), every rule and check by name.
    """
    definition, sealed = work.definition, work.inputs["seal"]
    work.says("OpenSCAP and our own checks judge the tree")
    found = examine(sealed / "root", work.sandbox, asked, work.out)
    # What did not come to its end because of that is no finding.
    work.sandbox.running.check()
    verdict = gate.make(
        definition.name,
        gate.digest_of(sealed / "files.tsv"),
        found.findings,
        day=today(),
        at=float(work.epoch),
        rules=found.rules,
        words=found.words,
    )
    if work.options.force:
        verdict = gate.force(verdict, work.options.force)
    write(verdict, found, work.out)
    if verdict.forced is None:
        try:
            gate.demand(verdict)
        except HoldfastError as error:
            kept = keep_refused(verdict, work.out)
            message = f"the gate refused this tree; all of it: {kept}/report.html"
            hint = "mend what is named; to build it all the same: --force REASON"
            where = Problem("refused", message, where=definition.name, hint=hint)
            raise HoldfastError([*error.problems, where], ExitCode.FINDINGS) from error
    work.says(found.words)


def resolution_of(definition: Definition) -> Resolution:
    """What becomes of each control of the profile, today.

    Raises:
        HoldfastError: a waiver or an overlay has expired or has no effect (exit code 1).
    """
    known = load_policy()
    selection, target = selection_of(definition), target_of(definition)
    wrong = [
        Problem(one.code, one.message, value=one.value, hint=one.hint,
                where=f"{definition.name}: {'.'.join(map(str, one.at))}")
        for one in objections(known, selection, [target])
    ]  # fmt: skip
    if wrong:
        raise HoldfastError(wrong, ExitCode.FINDINGS)
    return resolve(known, selection, target)


def asked_of(definition: Definition, given: Given) -> Asked:
    """What a tree of a definition is judged by.

    Raises:
        HoldfastError: as `resolution_of`, or a list cannot be read (exit code 2).
    """
    return Asked(
        definition,
        load_policy(),
        resolution_of(definition),
        tuple(given.extra.get(BASELINES, ())),
        _privileged(definition, given),
        tuple(given.extra.get(CANARIES, ())),
        made=datetime.fromtimestamp(definition.epoch, UTC),
    )


def write(verdict: Gate, found: Examined, out: Path) -> None:
    """Write the verdict, what each rule said, and the report.

    Raises:
        OSError: the folder cannot be written.
    """
    write_whole(out / gate.FILE, verdict.to_text())
    body = {**found.to_json(), "files": verdict.files}
    write_whole(out / "results.json", json.dumps(body, indent=1, sort_keys=True) + "\n")
    write_whole(out / "report.html", html.render(verdict.verdict))
    for page in verdict.verdict.rules.nodes:
        place = out / html.rules_file(page.node)
        place.parent.mkdir(exist_ok=True)
        write_whole(place, html.render_rules(verdict.verdict, page))


def keep_refused(verdict: Gate, out: Path) -> Path:
    """Keep what was said of a tree that the gate refused; the newest of each tree.

    Raises:
        OSError: it cannot be written.
    """
    place = state_home() / "images/refused" / f"{verdict.image}-{verdict.files[:16]}"
    if place.exists():
        shutil.rmtree(place)
    shutil.copytree(out, place)
    return place


def privileged_place(definition: Definition) -> Path:
    """Where the list of privileged programs of an image of ours lies."""
    name = privileged.file_name(definition.name, definition.el, definition.base)
    return data_dir("images") / "privileged" / name


def _privileged(definition: Definition, given: Given) -> tuple[str, ...] | None:
    return privileged.read(given.extra.get(PRIVILEGED) or privileged_place(definition))


def _baseline(definition: Definition, given: Given) -> Path | None:
    name = baselines.file_name(definition.profile, definition.el, "image")
    places = [*given.extra.get(BASELINES, ()), data_dir("profiles") / "baselines"]
    return next((place / name for place in places if (place / name).is_file()), None)


def _exempt(resolution: Resolution) -> dict[str, str]:
    return {rule: json.dumps(one.to_json()) for rule, one in resolution.exempt_rules().items()}


def _sha256(content: str | bytes) -> str:
    raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()

"""`holdfast image scan`: OpenSCAP, our own checks and the lint, on an image that is there."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from provision.cli.image.judging import add_judged, judged_by
from provision.cli.image.looking import Looked, add_image, areas, looked_at, shown
from provision.cli.output import table, width_of
from provision.core.exitcodes import ExitCode
from provision.core.files import sha256_of, write_whole
from provision.core.problems import fail
from provision.image import gate, stage_scan
from provision.image.gate import Gate
from provision.image.scan.examining import Examined, examine
from provision.image.work import Given
from provision.policy.resolve import today
from provision.verdict import html, schema
from provision.verdict.model import Status, Verdict

SCHEMA = "holdfast.image-verdict/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    add_image(parser)
    add_judged(parser)
    parser.add_argument("--after-boot", metavar="VERDICT", type=Path,
                        help="a verdict after the first boot, for the same report")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", type=Path,
                        help="keep the verdict, the results and the report here")  # fmt: skip


def run(args: argparse.Namespace) -> ExitCode:
    """Judge it, and say what is wrong.

    Raises:
        HoldfastError: the arguments, the image or its definition are wrong (exit code 2).
    """
    after = _after(args.after_boot)
    with looked_at(args) as image:
        found, verdict = _judged(args, image)
        whole = gate.merged(verdict, after) if after is not None else verdict.verdict
        if args.out is not None:
            _keep(args.out, verdict, found, whole, image.scratch)
    document = {"schema": SCHEMA, "gate": verdict.to_json(), "results": found.to_json(),
                "verdict": json.loads(schema.to_text(whole))}  # fmt: skip
    shown(whole, as_json=args.json, document=document)
    if not args.json:
        headings = ("AREA", *(status.value.upper().replace("_", " ") for status in Status))
        for line in table(headings, areas(whole.findings), width_of()):
            print(line)
        print(f"{found.words or found.scan.scanned.problem}; {found.own.share}")
    return whole.exit_code if verdict.passed else ExitCode.FINDINGS


def _judged(args: argparse.Namespace, image: Looked) -> tuple[Examined, Gate]:
    if image.definition is None:
        raise fail("no-definition", "nothing says of which definition this image is",
                   where=str(args.image), hint="--of NAME|FILE",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    asked = stage_scan.asked_of(image.definition, Given(extra=judged_by(args)))
    found = examine(image.root, image.sandbox, asked, image.scratch)
    return found, gate.make(
        image.name,
        _digest(args.image),
        found.findings,
        day=today(),
        at=float(image.definition.epoch),
        rules=found.rules,
        words=found.words,
    )


def _digest(image: Path) -> str:
    """The sha256 of what was judged: of an artefact, or of the list of files beside a tree."""
    beside = next(
        (p for p in (image / "files.tsv", image.parent / "files.tsv") if p.is_file()), None
    )
    path = image if image.is_file() else beside
    if path is None:
        return ""
    return sha256_of(path)


def _after(path: Path | None) -> Verdict | None:
    if path is None:
        return None
    try:
        return schema.from_json(path.read_bytes(), str(path))
    except OSError as error:
        raise fail("no-file", f"{path} cannot be read: {error.strerror}", where="--after-boot",
                   exit_code=ExitCode.USAGE) from error  # fmt: skip


def _keep(out: Path, verdict: Gate, found: Examined, whole: Verdict, scratch: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    stage_scan.write(verdict, found, out)
    write_whole(out / "report.html", html.render(whole))
    packed = scratch / "results.xml.gz"
    if packed.is_file():
        shutil.copyfile(packed, out / packed.name)

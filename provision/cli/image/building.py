"""`holdfast image build NAME|FILE`: run the stages, say what was made and what was there."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from provision.cli.image.given import add_given, definition_of, given_of
from provision.cli.image.judging import add_judged, judged_by
from provision.cli.image.signing import add_signing, signing_of
from provision.cli.live import watching
from provision.cli.output import print_document, style, table, width_of
from provision.cli.running import require_places
from provision.core.exitcodes import ExitCode
from provision.image.build import Built, build, collect
from provision.image.progress import BuildShow
from provision.image.stage_scan import FORCE
from provision.image.stages import until

SCHEMA = "holdfast.image-build/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    add_given(parser)
    add_judged(parser)
    add_signing(parser)
    parser.add_argument("--out", metavar="DIR", type=Path,
                        help="copy what the last stage made into this folder")  # fmt: skip
    parser.add_argument("--force", metavar="REASON",
                        help="go on although the gate refuses the tree; the reason is signed"
                        )  # fmt: skip
    parser.add_argument("--until", metavar="STAGE", help="end after this stage")
    parser.add_argument("--events", metavar="FILE", type=Path, help="append events as JSON lines")


def run(args: argparse.Namespace) -> ExitCode:
    """Build it.

    Raises:
        HoldfastError: the definition is wrong (exit code 2), or a stage failed.
    """
    definition = definition_of(args)
    until(args.until)
    signing, judged = signing_of(args), judged_by(args)
    last = args.until or (None if signing else "sbom")
    require_places(events=args.events)
    environ = dict(os.environ)
    with watching(as_json=args.json, events=args.events, show=BuildShow()) as watch:
        given = given_of(args, definition, environ, watch.sink)
        forced = {FORCE: args.force} if args.force is not None else {}
        given = replace(given, extra={**given.extra, **signing, **judged, **forced})
        built = build(definition, given, watch.sink, until=last, environ=environ)
    copied = collect(built, args.out) if args.out else []
    if args.json:
        files = [os.fspath(path) for path in copied]
        print_document({"schema": SCHEMA, **built.to_json(), "copied": files})
    elif watch.shown != "events":
        _tell(built, args.out)
    return ExitCode.OK


def _tell(built: Built, out: Path | None) -> None:
    rows = [
        (one.name, "there already" if one.reused else "made", f"{one.seconds:.1f} s", one.id[:16])
        for one in built.stages
    ]
    for line in table(("STAGE", "WAS", "TOOK", "ID"), rows, width_of()):
        print(line)
    last = built.stages[-1]
    where = out if out is not None else last.out
    print(style(f"{built.definition.name}: {last.name} is done: {where}", "good"))

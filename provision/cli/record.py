"""`holdfast profile record` and `shares`: what was shown of a profile, and how much that is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.cli.baseline import day_of, judged_by, reasons_of, scan_of, usage
from provision.cli.output import print_document
from provision.core.exitcodes import ExitCode
from provision.core.names import suggest

if TYPE_CHECKING:
    from provision.policy.resolve import Resolution

RECORD_SCHEMA = "holdfast.record/1"
SHARES_SCHEMA = "holdfast.shares/1"


def configure(actions: Any) -> None:
    """Add the actions to those of `holdfast profile`."""
    made = actions.add_parser(
        "record",
        help="record which rules a profile turned from fail to pass",
        description="Write down what OpenSCAP said of each rule on an untouched node, and what it"
        " says since the profile was applied. Each rule that failed and does not pass needs a"
        " reason: the policy's own, that of the baseline, or one of --reasons.",
    )
    made.add_argument("inventory", metavar="INVENTORY", type=Path)
    made.add_argument(
        "--before",
        metavar="RUN|FILE",
        required=True,
        help="the run that judged the untouched node, or a table with the columns rule and result",
    )
    made.add_argument(
        "--after", metavar="RUN", required=True, help="the run that judged the hardened node"
    )
    made.add_argument("--node", metavar="NODE", help="the node; not needed where there is one")
    made.add_argument(
        "--reasons", metavar="FILE", type=Path, help="a YAML mapping of rules to reasons"
    )
    made.add_argument(
        "--into", metavar="DIR", type=Path, required=True, help="the folder of records"
    )
    shares = actions.add_parser(
        "shares",
        help="say how many failing rules a profile turns",
        description="Say for each profile, release and kind of node how many of the rules that"
        " fail on an untouched node pass once the profile is applied, as recorded runs have shown,"
        " and why each other one does not.",
    )
    shares.add_argument("name", metavar="PROFILE", nargs="?", help="only this profile")
    shares.add_argument("--release", choices=("10", "9"), help="only this major release")
    shares.add_argument("--all", action="store_true", help="name each rule that is left, and why")
    shares.add_argument(
        "--records", metavar="DIR", type=Path, help="the folder of records; ours when not given"
    )


def record(args: argparse.Namespace) -> ExitCode:
    """Write the record.

    Raises:
        HoldfastError: there is no such scan (exit code 2), or a rule has no reason (exit code 1).
    """
    from provision.core.paths import state_home
    from provision.policy import recorded

    runs = state_home() / "runs"
    after = scan_of(runs / args.after / "checks/openscap", args.node)
    profile, resolution = judged_by(args.inventory, after)
    if after.scan is None:
        raise usage("no-scan", after.problem or "there is no scan", args.after)
    before = _before(args.before, runs, after.node, after.scan.version)
    made = recorded.record(
        before,
        {rule: found.result for rule, found in after.scan.selected.items()},
        {**_known(resolution, args.into), **reasons_of(args.reasons, after)},
        profile=profile.id,
        release=resolution.target.release,
        kind=resolution.target.kind,
        content=after.content,
        version=after.scan.version,
        recorded=day_of(after),
        system=_system(runs / args.after / "verdict.json", after.node),
    )
    args.into.mkdir(parents=True, exist_ok=True)
    path = recorded.write(made, args.into)
    found = recorded.share([made])
    if args.json:
        print_document({"schema": RECORD_SCHEMA, "file": str(path), **found.to_json()})
    else:
        print(f"{path}: of the rules that failed, {found.words()} pass now")
    return ExitCode.OK


def _before(given: str, runs: Path, node: str, version: str) -> Mapping[str, str]:
    """What was said of the untouched node: by a run, or by a table."""
    path = Path(given)
    if path.is_file():
        return _table(path)
    found = scan_of(runs / given / "checks/openscap", node)
    if found.scan is None or found.left_out:
        raise usage("no-scan", found.problem or "rules were left out of this scan", given)
    if found.scan.version != version:
        words = f"it was judged by content {found.scan.version}, the other run by {version}"
        raise usage("other-content", words, given)
    return {rule: said.result for rule, said in found.scan.selected.items()}


def _table(path: Path) -> Mapping[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    columns = lines[0].split("\t") if lines else []
    if columns[:2] != ["rule", "result"]:
        raise usage("no-columns", "its first line is no `rule`, tab, `result`", str(path))
    rows = [line.split("\t") for line in lines[1:]]
    if any(len(row) < 2 for row in rows):
        raise usage("wrong-columns", "each line has a rule and its result", str(path))
    return {row[0]: row[1] for row in rows}


def _known(resolution: Resolution, into: Path) -> dict[str, str]:
    """The reasons that are written down already: in the policy, in the baseline, in the record."""
    from provision.checks import scap_verdict
    from provision.policy import baseline, recorded

    target = resolution.target
    found = dict(scap_verdict.reasons_of(resolution))
    place = into / recorded.file_name(resolution.profile, target.release, target.kind)
    if place.is_file():
        found |= {row.rule: row.reason for row in recorded.read(place).rows if row.reason}
    accepted = into.parent / "baselines" / \
        baseline.file_name(resolution.profile, target.release, target.kind)  # fmt: skip
    if accepted.is_file():
        found |= {rule: a.reason for rule, a in baseline.read(accepted).accepted.items()}
    exempt = resolution.exempt_rules()
    return found | {rule: f"Waived: {e.reason}" for rule, e in exempt.items()}


def _system(verdict: Path, node: str) -> str:
    """What the node said that it is, as the run's verdict has it."""
    try:
        nodes = json.loads(verdict.read_text(encoding="utf-8"))["nodes"]
        return str(next(n["facts"]["system"] for n in nodes if n["name"] == node))
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        raise usage("no-verdict", "it does not say what the node is", str(verdict)) from None


def shares(args: argparse.Namespace) -> ExitCode:
    """Print how much was shown.

    Raises:
        HoldfastError: a record has mistakes, or there is none (exit code 2).
    """
    from provision.policy import pages, recorded

    release = f"el{args.release}" if args.release else None
    found = recorded.find(args.name, release, args.records)
    if not found:
        names = sorted({one.profile for one in recorded.find(folder=args.records)})
        hint = suggest(args.name, names) if args.name else None
        raise usage("no-record", "no run of it was recorded", args.name or "profile shares", hint)
    every = recorded.shares(found)
    if args.json:
        print_document({"schema": SHARES_SCHEMA, "shares": [one.to_json() for one in every]})
        return ExitCode.OK
    print("\n".join(line for one in every for line in pages.shared(one, all_of_it=args.all)))
    return ExitCode.OK

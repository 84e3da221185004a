"""`holdfast profile baseline`: what OpenSCAP said of a node becomes what it has to say."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.cli.output import print_document
from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.problems import fail

if TYPE_CHECKING:
    from provision.checks.openscap import Scanned
    from provision.policy.model import Profile
    from provision.policy.resolve import Resolution

SCHEMA = "holdfast.baseline/1"


def configure(actions: Any) -> None:
    """Add the action to those of `holdfast profile`."""
    parser = actions.add_parser(
        "baseline",
        help="record what OpenSCAP said in a run as what is accepted",
        description="Write the baseline of a profile for a release and kind of node, out of what"
        " OpenSCAP said of a node in a run. Each rule that is no pass needs a reason: the policy's"
        " own (waived, not automated, not for this kind of node), one of the baseline that is"
        " already there, or one of --reasons. For images it is made of what `holdfast image scan"
        " --out` kept, or of what a build kept whose gate refused the tree.",
    )
    parser.add_argument(
        "inventory",
        metavar="INVENTORY|IMAGE",
        type=Path,
        help="the inventory, or with --scan an image by name or its definition",
    )
    of = parser.add_mutually_exclusive_group(required=True)
    of.add_argument("--run", metavar="RUN", help="the run, as `holdfast status` names it")
    of.add_argument("--scan", metavar="FOLDER", type=Path, help="a kept scan of an image")
    parser.add_argument("--node", metavar="NODE", help="the node; not needed where there is one")
    parser.add_argument(
        "--reasons", metavar="FILE", type=Path, help="a YAML mapping of rules to reasons"
    )
    parser.add_argument(
        "--into", metavar="DIR", type=Path, required=True, help="the folder of baselines"
    )


def run(args: argparse.Namespace) -> ExitCode:
    """Write the baseline.

    Raises:
        HoldfastError: the inventory is wrong, there is no such scan (exit code 2), or a rule has no
            reason (exit code 1).
    """
    from provision.checks import scap_verdict
    from provision.checks.scap_verdict import NodeView
    from provision.core.paths import state_home
    from provision.policy import baseline

    if args.scan is not None:
        scanned, day, profile, resolution = _of_image(str(args.inventory), args.scan)
    else:
        scanned = scan_of(state_home() / "runs" / args.run / "checks/openscap", args.node)
        day = day_of(scanned)
        profile, resolution = judged_by(args.inventory, scanned)
    release, kind = resolution.target.release, resolution.target.kind
    place = args.into / baseline.file_name(profile.id, release, kind)
    more = {rule: a.reason for rule, a in baseline.read(place).accepted.items()} \
        if place.is_file() else {}  # fmt: skip
    more |= reasons_of(args.reasons, scanned)
    followed = profile.benchmark[release].scap_profile
    made = scap_verdict.record(NodeView(scanned, resolution), followed, more, day)
    args.into.mkdir(parents=True, exist_ok=True)
    path = baseline.write(made, args.into)
    if args.json:
        counts = {"pass": len(made.passes), "accepted": len(made.accepted),
                  "notapplicable": len(made.notapplicable), "floor": made.floor}  # fmt: skip
        print_document({"schema": SCHEMA, "file": str(path), **counts})
    else:
        print(
            f"{path}: {made.floor} rules apply: {len(made.passes)} pass, {len(made.accepted)} are "
            f"accepted as they are; {len(made.notapplicable)} do not apply"
        )
    return ExitCode.OK


def _of_image(name: str, folder: Path) -> tuple[Scanned, date, Profile, Resolution]:
    """The kept scan of an image, its day, and what the image's profile comes to.

    Raises:
        HoldfastError: there is none, or the definition is wrong (exit code 2).
    """
    import json

    from provision.checks import openscap
    from provision.image.load import find, load
    from provision.image.stage_scan import resolution_of
    from provision.policy.load import load_policy

    try:
        body = json.loads((folder / "results.json").read_bytes())
        day = date.fromisoformat(json.loads((folder / "gate.json").read_bytes())["day"])
        scanned = openscap.from_json(body["scan"], folder)
        base = str(body["base"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise usage("no-scan", f"no scan of an image is kept here: {error}", str(folder)) from error
    if base not in ("el", "rehearsal"):
        raise usage("no-scan", f"no image is made of {base!r}", str(folder))
    definition = load(find(name)).definition.model_copy(update={"base": base})
    if definition.name != scanned.node:
        raise usage("other-image", f"this is a scan of {scanned.node!r}", str(folder))
    profile = load_policy().profiles[definition.profile]
    return scanned, day, profile, resolution_of(definition)


def judged_by(inventory: Path, scanned: Scanned) -> tuple[Profile, Resolution]:
    """The profile that an inventory declares for a node, and what it comes to there.

    Raises:
        HoldfastError: the inventory is wrong, or declares none for it (exit code 2).
    """
    from provision.cli.inputs import load_rack
    from provision.policy.judge import selection_of, target_of
    from provision.policy.resolve import resolve

    inputs = load_rack(inventory)
    profile = inputs.policy.profiles.get(inputs.rack.profile)
    benchmark = profile.benchmark if profile else {}
    release = next((r for r in benchmark if r == f"el{scanned.release}"), None)
    known = [node.name for node in inputs.rack.nodes]
    if profile is None or release is None or scanned.node not in known:
        raise usage(
            "other-rack",
            f"this inventory declares no profile for {scanned.node} of release {scanned.release}",
            str(inventory),
        )
    node = inputs.rack.node(scanned.node)
    target = target_of(node, release)
    return profile, resolve(inputs.policy, selection_of(inputs.rack), target)


def scan_of(folder: Path, wanted: str | None) -> Scanned:
    """The scan of a node that a run kept in `folder`; of the only one where none is named.

    Raises:
        HoldfastError: there is none, or several (exit code 2).
    """
    from provision.checks import openscap

    found = {path.parent.name: path for path in sorted(folder.glob("*/scan.json"))}
    if not found:
        raise usage("no-scan", "OpenSCAP judged nothing in this run", str(folder))
    if wanted is None and len(found) > 1:
        raise usage("which-node", f"it judged {len(found)} nodes; name one", str(folder),
                     f"--node {next(iter(found))}")  # fmt: skip
    name = wanted or next(iter(found))
    if name not in found:
        raise usage("unknown-node", f"it did not judge {name!r}", str(folder),
                     suggest(name, [*found]))  # fmt: skip
    try:
        return openscap.load(found[name])
    except (ValueError, KeyError, TypeError) as error:
        raise usage("no-scan", f"it cannot be read: {error}", str(found[name])) from error


def reasons_of(path: Path | None, scanned: Scanned) -> Mapping[str, str]:
    """What --reasons says, for rules that the scan has.

    Raises:
        HoldfastError: the file is wrong, or names another rule (exit code 2).
    """
    from provision.core.problems import HoldfastError
    from provision.core.yamlpos import load_yaml, shown

    if path is None:
        return {}
    document, problems = load_yaml(path, str(path))
    rules = scanned.scan.selected if scanned.scan else {}
    found: dict[str, str] = {}
    data = document.data if document is not None else None
    if document is not None and not isinstance(data, dict):
        problems = [document.problem("wrong-type", "this is a mapping of rules to reasons")]
    elif document is not None and isinstance(data, dict):
        for rule, reason in data.items():
            if rule not in rules:
                message = f"the scan has no rule {shown(rule)}"
                hint = suggest(str(rule), [*rules])
                problems.append(document.problem("unknown-rule", message, (rule,), key=True,
                                                 hint=hint))  # fmt: skip
            elif not isinstance(reason, str) or not reason.strip():
                message = f"a reason is words, not {shown(reason)}"
                problems.append(document.problem("wrong-type", message, (rule,)))
            else:
                found[rule] = " ".join(reason.split())
    if problems:
        raise HoldfastError(problems, ExitCode.USAGE)
    return found


def day_of(scanned: Scanned) -> date:
    """The day of a scan."""
    started = scanned.scan.started if scanned.scan else ""
    return datetime.fromisoformat(started).date()


def usage(code: str, message: str, where: str, hint: str | None = None) -> Exception:
    """What is wrong with what was asked for, to be raised (exit code 2)."""
    return fail(code, message, where=where, hint=hint, exit_code=ExitCode.USAGE)

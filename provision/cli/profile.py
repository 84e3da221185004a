"""`holdfast profile`: what the security profiles are, what a node gets, and why."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.cli import baseline, record, restore
from provision.cli.output import print_document
from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.problems import HoldfastError, Problem

if TYPE_CHECKING:
    from provision.policy.load import Policy
    from provision.policy.resolve import Resolution, Selection, Target
    from provision.rack.model import Node, Rack

LIST_SCHEMA = "holdfast.profile-list/1"
SHOW_SCHEMA = "holdfast.profile/1"
OVERLAY_SCHEMA = "holdfast.overlay/1"
CONTROL_SCHEMA = "holdfast.control/1"
TAILORING_SCHEMA = "holdfast.tailoring/1"

_INVENTORY = "take controls of the site, overlays and waivers from this inventory"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser(
        "list",
        help="list profiles and overlays",
        description="List profiles with the benchmarks that they follow, and overlays.",
    )
    show = actions.add_parser(
        "show",
        help="say what becomes of each control of a profile",
        description="Say what becomes of each control of a profile on a node: applied, waived, not"
        " applicable, or left to a person and why. With --coverage also what becomes of each rule"
        " of the SCAP profile. An overlay's name shows its deviations.",
    )
    show.add_argument("name", metavar="PROFILE|OVERLAY", help="as `holdfast profile list` has it")
    show.add_argument(
        "--coverage",
        metavar="DATASTREAM",
        type=Path,
        help="compare with a SCAP data stream, such as ssg-rhel10-ds.xml",
    )
    explain = actions.add_parser(
        "explain",
        help="say all about one control",
        description="Say what a control is for, what it sets, in which profiles it is, what it"
        " does to a host with GPUs, and whether it can be undone.",
    )
    explain.add_argument("control", metavar="CONTROL", help="the control's id, or a SCAP rule's")
    tailoring = actions.add_parser(
        "tailoring",
        help="print an XCCDF tailoring for OpenSCAP",
        description="Print an XCCDF 1.2 tailoring: the SCAP profile that a profile follows,"
        " without the rules that the inventory's waivers and overlays excuse.",
    )
    tailoring.add_argument("name", metavar="PROFILE", help="as `holdfast profile list` has it")
    tailoring.add_argument(
        "--datastream",
        metavar="DATASTREAM",
        type=Path,
        help="leave out rules that this SCAP data stream does not have",
    )
    for action in (show, tailoring):
        action.add_argument(
            "--release", choices=("10", "9"), default="10", help="major release of the node"
        )
        action.add_argument(
            "--kind",
            choices=("metal", "vm", "container", "image"),
            default=None,
            help="what the node is; metal when neither this nor --node says so",
        )
        action.add_argument(
            "--node", metavar="NODE", help="a node of the inventory, as which to be judged"
        )
    restore.configure(actions)
    baseline.configure(actions)
    record.configure(actions)
    for action in (listed, show, explain, tailoring):
        action.add_argument("--inventory", metavar="INVENTORY", type=Path, help=_INVENTORY)


def run(args: argparse.Namespace) -> ExitCode:
    """Print what was asked for.

    Raises:
        HoldfastError: a file has mistakes, or a name is unknown (exit code 2).
    """
    actions: dict[str, Callable[[argparse.Namespace], ExitCode]] = {
        "list": _list,
        "show": _show,
        "explain": _explain,
        "tailoring": _tailoring,
        "restore": restore.run,
        "baseline": baseline.run,
        "record": record.record,
        "shares": record.shares,
    }
    return actions[args.action](args)


@dataclass(frozen=True)
class _Asked:
    """All controls, and the rack whose overlays and waivers count."""

    policy: Policy
    rack: Rack | None = None


def _asked(args: argparse.Namespace) -> _Asked:
    from provision.policy.load import load_policy

    if args.inventory is None:
        return _Asked(load_policy())
    from provision.cli.inputs import load_rack

    inputs = load_rack(args.inventory)
    # An inventory that asks for no security has none read.
    policy = inputs.policy if inputs.policy.profiles else load_policy(inputs.rack.controls)
    return _Asked(policy, inputs.rack)


def _list(args: argparse.Namespace) -> ExitCode:
    from provision.policy import documents, pages

    policy = _asked(args).policy
    if args.json:
        print_document({"schema": LIST_SCHEMA, **documents.listing(policy)})
    else:
        print("\n".join(pages.listing(policy)))
    return ExitCode.OK


def _show(args: argparse.Namespace) -> ExitCode:
    from provision.policy import documents, pages, recorded
    from provision.policy.coverage import coverage
    from provision.policy.datastream import read_datastream

    asked = _asked(args)
    policy = asked.policy
    if args.name in policy.overlays:
        return _overlay(args, policy)
    profile = policy.profiles.get(args.name)
    if profile is None:
        raise _unknown("profile", args.name, [*policy.profiles, *policy.overlays])
    resolution = _resolution(asked, args)
    found, shares = None, []
    if args.coverage is not None:
        release = resolution.target.release
        followed = profile.benchmark[release]
        stream = read_datastream(args.coverage)
        runs = recorded.find(profile.id, release)
        turned = frozenset().union(*(one.turned for one in runs))
        held = frozenset().union(*(one.held for one in runs))
        found = coverage(policy, resolution, followed, stream, turned=turned, held=held)
        shares = recorded.shares(runs)
    if args.json:
        body = documents.resolved(profile, resolution)
        told = found.to_json() | {"shares": [s.to_json() for s in shares]} if found else None
        print_document({"schema": SHOW_SCHEMA, **body, "coverage": told})
        return ExitCode.OK
    print("\n".join(pages.resolved(profile, resolution)))
    if found is not None:
        print("\n".join(pages.covered(found, args.coverage.name)))
        print("\n".join(pages.turned(shares)))
    return ExitCode.OK


def _overlay(args: argparse.Namespace, policy: Policy) -> ExitCode:
    from provision.policy import documents, pages

    overlay = policy.overlays[args.name]
    if args.coverage is not None:
        message = f"{args.name} is an overlay; only a profile has a coverage"
        raise HoldfastError([Problem("usage", message, where="--coverage")], ExitCode.USAGE)
    if args.json:
        print_document({"schema": OVERLAY_SCHEMA, **documents.overlay(overlay)})
    else:
        print("\n".join(pages.overlay_page(policy, overlay)))
    return ExitCode.OK


def _explain(args: argparse.Namespace) -> ExitCode:
    from provision.policy import documents, pages
    from provision.policy.datastream import short

    policy = _asked(args).policy
    found = [policy.controls[args.control]] if args.control in policy.controls else []
    if not found:
        rule = short(args.control)
        found = [c for c in policy.controls.values() if any(rule in c.rules(r) for r in c.levels)]
    if not found:
        raise _unknown("control", args.control, policy.controls)
    if args.json:
        controls = [documents.control(policy, control) for control in found]
        print_document({"schema": CONTROL_SCHEMA, "asked": args.control, "controls": controls})
        return ExitCode.OK
    text = ["\n".join(pages.explained(policy, control)) for control in found]
    print("\n\n".join(text))
    return ExitCode.OK


def _tailoring(args: argparse.Namespace) -> ExitCode:
    from provision.policy.datastream import read_datastream
    from provision.policy.tailoring import tailor

    asked = _asked(args)
    profile = asked.policy.profiles.get(args.name)
    if profile is None:
        raise _unknown("profile", args.name, asked.policy.profiles)
    resolution = _resolution(asked, args)
    known = None
    if args.datastream is not None:
        followed = profile.benchmark[resolution.target.release]
        stream = read_datastream(args.datastream)
        known = frozenset(stream.with_profile(followed.scap_profile).rules)
    where = args.datastream.name if args.datastream is not None else None
    made = tailor(profile, resolution, benchmark=where, known=known)
    if args.json:
        print_document(
            {
                "schema": TAILORING_SCHEMA,
                "profile": made.profile,
                "unselected": list(made.unselected),
                "tailoring": made.text,
            }
        )
    else:
        print(made.text, end="")
    return ExitCode.OK


def _resolution(asked: _Asked, args: argparse.Namespace) -> Resolution:
    """What the profile comes to on the node that is asked about.

    Raises:
        HoldfastError: there is no such node, or the release has no benchmark (exit code 2).
    """
    from provision.policy.resolve import resolve

    return resolve(asked.policy, _selection(asked, args), _target(asked, args))


def _selection(asked: _Asked, args: argparse.Namespace) -> Selection:
    from provision.policy.resolve import Selection

    if asked.rack is None:
        return Selection(args.name)
    return Selection(args.name, asked.rack.overlays, asked.rack.waivers)


def _target(asked: _Asked, args: argparse.Namespace) -> Target:
    from provision.policy.model import Release
    from provision.policy.resolve import Target

    releases: dict[str, Release] = {"10": "el10", "9": "el9"}
    nodes = _nodes(asked, args)
    kinds: Any = [args.kind, *(node.kind for node in nodes if args.node), "metal"]
    kind = next(k for k in kinds if k is not None)
    lacks = tuple(nodes[0].lacks.reasons.items()) if args.node and kind == nodes[0].kind else ()
    return Target(releases[args.release], kind, _traits(nodes), lacks)


def _nodes(asked: _Asked, args: argparse.Namespace) -> list[Node]:
    """The node that is asked about; without one, all of the inventory."""
    if args.node is None:
        return list(asked.rack.nodes) if asked.rack is not None else []
    if asked.rack is None:
        problem = Problem("usage", "a node is one of an inventory", None, None, "add --inventory")
        raise HoldfastError([problem], ExitCode.USAGE)
    names = [node.name for node in asked.rack.nodes]
    if args.node not in names:
        raise _unknown("node", args.node, names)
    return [asked.rack.node(args.node)]


def _traits(nodes: list[Node]) -> frozenset[str]:
    """What any of `nodes` is or does; what every node does where there are none."""
    from provision.policy.judge import EVERY_NODE, traits_of

    return EVERY_NODE.union(*map(traits_of, nodes))


def _unknown(kind: str, name: str, known: Any) -> HoldfastError:
    message = f"there is no {kind} called {name!r}"
    hint = suggest(name, known)
    if not hint.startswith("did"):
        hint = "see `holdfast profile list`" if kind == "profile" else hint
        hint = "see `holdfast profile show PROFILE`" if kind == "control" else hint
    problem = Problem(f"unknown-{kind}", message, None, name, hint)
    return HoldfastError([problem], ExitCode.USAGE)

"""`holdfast rehearse`: a simulated rack on this machine, provisioned like a real one."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from provision.cli.output import folded, print_document, style, width_of
from provision.core.events import Event, EventSink, FileSink, NullSink, Tee
from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.problems import fail
from provision.policy.load import load_policy
from provision.rehearsal import rack
from provision.rehearsal.gpu import faults, models
from provision.rehearsal.rack import Rehearsal

_NODES = {"container": "simulated nodes", "vm": "virtual machines"}

_GRACE = 60
"""Seconds that an interrupted `up` has to release its nodes before they are taken down."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--nodes", type=_count, metavar="N", help="how many (default 2, and 1 for --kind vm)"
    )
    parser.add_argument(
        "--kind",
        choices=("container", "vm"),
        default="container",
        help="what nodes are: containers (default), or virtual machines, which have a kernel of "
        "their own: settings of the kernel, auditd, modules and mounts are real there",
    )
    parser.add_argument(
        "--gpus",
        metavar="MODEL",
        help=f"give the nodes simulated GPUs, and declare them: {', '.join(models.names())}",
    )
    parser.add_argument(
        "--profile",
        default="none",
        metavar="PROFILE",
        help="harden the nodes by this security profile, as `holdfast profile list` has it, and "
        "ask OpenSCAP about it (default none)",
    )
    parser.add_argument(
        "--release",
        choices=("9", "10"),
        help="the EL major release (default: this host's own for el, 10 for compat)",
    )
    parser.add_argument(
        "--base",
        choices=("auto", "el", "compat"),
        default="auto",
        help="what nodes are made of: el from this host's EL repositories, compat from Debian "
        "packages, auto whichever this host can build (default)",
    )
    parser.add_argument(
        "--engine-image",
        metavar="FILE",
        type=Path,
        help="an OCI archive of the inference engine to use instead of building one (default: what "
        "HOLDFAST_ENGINE_IMAGE names); needed for el, which has no package of it",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the rack running, and say how to use it"
    )
    parser.add_argument(
        "--start-only",
        action="store_true",
        help="start the nodes and provision nothing; implies --keep",
    )
    parser.add_argument("--down", metavar="NAME", help="take down a rack that was kept")
    parser.add_argument(
        "--fault",
        metavar="FAULT[:GPU]",
        help="put a fault into the simulated GPUs of a kept rack's node, GPU 0 unless another is "
        "named; none makes them whole again",
    )
    parser.add_argument("--on", metavar="RACK/NODE", help="the node that --fault is for")
    parser.add_argument("--events", metavar="FILE", type=Path, help="append events as JSON lines")


def run(args: argparse.Namespace) -> ExitCode:
    """Build, provision, verify, ask, report, take down."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, _as_interrupt)
    signal.signal(signal.SIGHUP, _as_interrupt)
    if args.down:
        return _take_down(args.down, args.json)
    if args.fault or args.on:
        return _break(args)
    _require_profile(args.profile)
    keep = args.keep or args.start_only
    events = _events(args)
    for name in rack.sweep():
        events.emit(Event("rehearsal.swept", data={"name": name}))
    built = rack.build(
        release=args.release,
        count=args.nodes or (1 if args.kind == "vm" else 2),
        events=events,
        keep=keep,
        base=args.base,
        engine_image=args.engine_image,
        kind=args.kind,
        profile=args.profile,
        gpus=args.gpus,
    )
    with rack.owned(built):
        if args.start_only:
            return _kept(built, args.json)
        code = _provision(built, args)
        if args.json:
            return code
        if keep:
            _kept(built, as_json=False)
        print(f"\nrehearsed in {time.monotonic() - started:.0f} s on {_NODES[built.kind]} "
              f"({built.made_of}; not hardware)")  # fmt: skip
    return code


def _take_down(name: str, as_json: bool) -> ExitCode:
    """Take down a rack, also one that somebody removed a part of."""
    found = rack.load(name)
    gone = [one.name for one in found.nodes if not one.folder.is_dir()]
    found.take_down()
    if as_json:
        document = {"schema": "holdfast.rehearsal/1", "name": name, "down": True, "gone": gone}
        print_document(document)
        return ExitCode.OK
    print(f"{name} is down; nothing of it is left")
    if gone:
        print(f"gone before, with all their files: {', '.join(gone)}")
    return ExitCode.OK


def _break(args: argparse.Namespace) -> ExitCode:
    """Put a fault into a node's simulated GPUs."""
    name, _, of = (args.on or "").partition("/")
    fault, _, gpu = (args.fault or "").partition(":")
    if not (name and of and fault) or not (gpu or "0").isdigit():
        raise fail("usage", "--fault FAULT[:GPU] and --on RACK/NODE go together",
                   hint="as in --fault gpu-lost:3 --on hf-1a2b3c/n1",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    rack.break_gpus(rack.load(name), of, fault, int(gpu or 0))
    says = "whole again" if fault == "none" else faults.named(fault).says
    if args.json:
        print_document({"schema": "holdfast.rehearsal/1", "name": name, "node": of,
                        "fault": fault, "gpu": int(gpu or 0), "says": says})  # fmt: skip
    else:
        print(f"{args.on}: {says}")
    return ExitCode.OK


def _require_profile(name: str) -> None:
    known = ["none", *load_policy().profiles] if name != "none" else [name]
    if name not in known:
        raise fail("unknown-profile", f"there is no profile {name!r}",
                   hint=suggest(name, known), exit_code=ExitCode.USAGE)  # fmt: skip


def _provision(built: Rehearsal, args: argparse.Namespace) -> ExitCode:
    """Run `holdfast up` inside the rack's network, as an administrator would."""
    words = ["up", os.fspath(built.inventory)]
    if args.json:
        words.append("--json")
    if args.events:
        words += ["--events", os.fspath(args.events)]
    child = subprocess.Popen(built.holdfast(*words))
    try:
        code = child.wait()
    except KeyboardInterrupt:
        # A terminal sends Ctrl-C to the child as well; a SIGTERM reaches only this process.
        child.send_signal(signal.SIGINT)
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            child.terminate()
            child.wait()
        raise
    return ExitCode(code) if code in set(ExitCode) else ExitCode.NOT_DONE


def _kept(built: Rehearsal, as_json: bool) -> ExitCode:
    inside = shlex.join(built.inside())
    document: dict[str, Any] = {
        "schema": "holdfast.rehearsal/1",
        "name": built.name,
        "inventory": os.fspath(built.inventory),
        "inside": built.inside(),
        "made_of": built.made_of,
        "nodes": {node.name: node.address for node in built.nodes},
    }
    if as_json:
        print_document(document)
        return ExitCode.OK
    command = Path(sys.argv[0]).name if sys.argv[0].endswith("holdfast") else "holdfast"
    print(f"\n{style(built.name, 'bold')} is running and stays: {len(built.nodes)} nodes")
    print(f"  use it    {inside} {command} verify {built.inventory}")
    print(f"  log in    {inside} ssh -i {built.folder}/secrets/login rack@{built.nodes[0].address}")
    print(f"  end it    {command} rehearse --down {built.name}")
    return ExitCode.OK


class _Lines:
    """Prints the rehearsal's own steps as lines on standard error."""

    def emit(self, event: Event) -> None:
        """Print the start and the end of a step."""
        if event.kind == "rehearsal.swept":
            _say(f"took down {event.data['name']}, whose owner had died")
        if event.kind == "rehearsal.machine":
            _say(f"machines are {event.data['says']}")
        if event.kind == "rehearsal.limit":
            _say(event.data["says"])
        if event.kind == "rehearsal.base":
            why = f", because {event.data['why']}" if event.data["why"] else ""
            _say(f"nodes of release {event.data['release']}: {event.data['made_of']}{why}")
        if event.kind != "rehearsal.step":
            return
        if event.data["state"] == "start":
            self._since = event.at
            _say(f"· {event.data['says']} …")
        else:
            took = event.at - self._since
            _say(f"✔ {event.data['says']}: {took:.1f} s")

    _since = 0.0


def _say(text: str) -> None:
    for line in folded(text, width_of(sys.stderr), "  "):
        print(line, file=sys.stderr, flush=True)


def _events(args: argparse.Namespace) -> EventSink:
    sinks: list[EventSink] = [NullSink() if args.json else _Lines()]
    if args.events:
        sinks.append(FileSink(args.events))
    return Tee(sinks)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 50:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of nodes from 1 to 50")
    return int(text)


def _as_interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt

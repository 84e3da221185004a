"""`holdfast image boot IMAGE`: whether an image's disks start, twice, and say that all is well."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from provision import __version__
from provision.cli.image.looking import shown
from provision.cli.running import terminating
from provision.core.exitcodes import ExitCode
from provision.core.problems import fail
from provision.image.booting import boot, disks_of, findings
from provision.image.qemu import WAIT_S
from provision.verdict.model import Finding, NodeSummary, Verdict


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's arguments."""
    parser.add_argument("image", metavar="FOLDER|DISK", type=Path,
                        help="an image's folder, or a raw or qcow2 disk")  # fmt: skip
    parser.add_argument("--secure-boot", metavar="KEYS", type=Path,
                        help="a folder of keys; firmware starts only what they signed"
                        )  # fmt: skip
    parser.add_argument("--wait", metavar="SECONDS", type=float, default=WAIT_S,
                        help="how long one start may take (default: %(default).0f)")  # fmt: skip
    parser.add_argument("--serial", metavar="DIR", type=Path,
                        help="keep what came over the serial port in this folder")  # fmt: skip


def run(args: argparse.Namespace) -> ExitCode:
    """Start each disk twice.

    Raises:
        HoldfastError: there is nothing to start (exit code 2), or a tool is missing (exit code 3).
    """
    if not args.image.exists():
        raise _usage(f"there is no {args.image}", "IMAGE")
    if not args.wait > 0:
        raise _usage("a start takes more than no time", "--wait")
    begin = time.time()
    found: list[Finding] = []
    nodes: list[NodeSummary] = []
    for disk in disks_of(args.image):
        with terminating():
            booted = boot(disk, keys=args.secure_boot, wait_s=args.wait, keep=args.serial,
                          says=lambda text: None if args.json else print(text, flush=True)
                          )  # fmt: skip
        found += findings(disk.name, booted)
        kernel = str(booted.first.said.get("kernel", ""))
        facts = {"runs": booted.runs} | ({"kernel": kernel} if kernel else {})
        nodes.append(NodeSummary(disk.name, kind="vm", facts=facts))
    verdict = Verdict("image-boot", args.image.name, "", tuple(nodes), tuple(found), begin,
                      time.time(), tool=__version__)  # fmt: skip
    shown(verdict, as_json=args.json)
    return verdict.exit_code


def _usage(message: str, where: str) -> Exception:
    return fail("usage", message, where=where, exit_code=ExitCode.USAGE)

"""`holdfast image`: golden images, from their definition to a signed artefact."""

from __future__ import annotations

import argparse

from provision.cli.actions import Action, add_actions, run_action
from provision.core.exitcodes import ExitCode

ACTIONS: dict[str, Action] = {
    "list": Action(
        "provision.cli.image.listing",
        "list the definitions of images, each judged",
        "List the definitions of images that ship with Holdfast, or those given; every mistake in"
        " them is said with its place. Nothing is built.",
    ),
    "build": Action(
        "provision.cli.image.building",
        "build an image from its definition",
        "Build an image, stage by stage, as an ordinary user. What a stage makes is kept by what"
        " it was made from, so that only what changed is made again, and a build that was killed"
        " goes on where it was. After the first stage there is no network.",
    ),
    "lint": Action(
        "provision.cli.image.lint",
        "say what must not be in an image",
        "Look for what must not be in an image: identity, secrets, leftovers, and what would not"
        " start. A check that could not look fails like one that found something.",
    ),
    "scan": Action(
        "provision.cli.image.scan",
        "judge an image by its profile",
        "Judge an image by its profile without starting it: OpenSCAP, our own checks, and the"
        " lint. Rules that only a running system can answer are named and left to the scan after"
        " the first boot.",
    ),
    "boot": Action(
        "provision.cli.image.booting",
        "say whether an image's disks start",
        "Start a copy of each disk of an image twice in a virtual machine with UEFI, without a"
        " network. A start counts when the system itself says that it is there and turns the"
        " machine off; a unit that failed is named. With keys for Secure Boot, firmware starts only"
        " what they signed.",
    ),
    "key": Action(
        "provision.cli.image.key",
        "make a key to sign images with, or keys for Secure Boot",
        "Make a key to sign images with, and its public key; or, for Secure Boot, the three keys"
        " that UEFI knows. Nothing is ever written over.",
    ),
    "verify": Action(
        "provision.cli.image.verifying",
        "say whether a folder is the image that was signed",
        "Compare every byte of an image with what was signed, offline. Each file that differs, is"
        " missing or was added is named.",
    ),
    "publish": Action(
        "provision.cli.image.publishing",
        "let a channel name an image",
        "Verify an image, copy it into a store, and let a channel name it. An image whose"
        " signature does not verify, or whose gate did not pass, is refused.",
    ),
    "rollback": Action(
        "provision.cli.image.rollback",
        "let a channel name the image that it named before",
        "Let a channel name an image that it named before, after verifying it once more.",
    ),
    "diff": Action(
        "provision.cli.image.diff",
        "say what differs between two images",
        "Compare two images by their documents, without unpacking them: packages, files, modes,"
        " owners, capabilities, units, kernel arguments, rules, sizes.",
    ),
    "drift": Action(
        "provision.cli.image.drifting",
        "say where nodes are no longer what their image was",
        "Compare nodes with the image that each came from, file by file, and give the command that"
        " takes each difference back. What a node changes by itself is left out, with a reason."
        " What could not be looked at is unknown, and counts like drift.",
    ),
    "netboot": Action(
        "provision.cli.image.netbooting",
        "write what servers need so that nodes start an image from the network",
        "Write a folder for any HTTP server, a configuration for dnsmasq and a script for iPXE, so"
        " that the nodes of an inventory start an image from the network. The image is verified"
        " first. Nothing is served and nothing is contacted.",
    ),
    "kickstart": Action(
        "provision.cli.image.kickstart",
        "write an image's definition for the installer",
        "Write the kickstart of an image: its partitions, packages and kernel arguments for"
        " Enterprise Linux's own installer. What it installs answers SSH with a key and has no"
        " passwords; `holdfast up` does the rest. Nothing is contacted.",
    ),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    add_actions(parser, ACTIONS)


def run(args: argparse.Namespace) -> ExitCode:
    """Do what the action says."""
    return run_action(args, ACTIONS)

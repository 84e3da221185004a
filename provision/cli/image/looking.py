"""What `image lint` and `image scan` share: an artefact unpacked, and whose image it is."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provision.cli.output import print_document, screen
from provision.core.exitcodes import ExitCode
from provision.core.problems import fail
from provision.image.definition import Definition
from provision.image.lint.tree import Tree
from provision.image.load import find, load, ours
from provision.image.opened import opened
from provision.image.sandbox import Sandbox
from provision.verdict import terminal
from provision.verdict.model import Finding, Status, Verdict, count
from provision.verdict.schema import to_text

OF = "/etc/holdfast/image.json"
"""Where a built image says which it is."""


@dataclass(frozen=True)
class Looked:
    """An image that can be looked at. `definition` is None where nothing says whose it is."""

    root: Path
    sandbox: Sandbox
    scratch: Path
    definition: Definition | None

    @property
    def name(self) -> str:
        """What findings call it."""
        return self.definition.name if self.definition else "image"


def add_image(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add the arguments that say what is looked at."""
    parser.add_argument(
        "image",
        metavar="IMAGE|DIR",
        type=Path,
        nargs="?" if optional else None,
        help="a disk image, a tar archive, an OCI layout, or the folder of a tree",
    )
    parser.add_argument(
        "--of",
        metavar="NAME|FILE",
        help="the definition that it is of; without this the image's own word",
    )
    parser.add_argument(
        "--base",
        choices=("el", "rehearsal"),
        help="what it was made of, where that is not what the definition says",
    )


@contextmanager
def looked_at(args: argparse.Namespace) -> Iterator[Looked]:
    """The image, unpacked for the time of the look.

    Raises:
        HoldfastError: it is none, or the definition is wrong (exit code 2).
    """
    if not args.image.exists():
        raise fail("no-file", f"there is no {args.image}", where="IMAGE",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    definition = load(find(args.of)).definition if args.of else None
    place = Path(tempfile.mkdtemp(prefix="holdfast-image-", dir=_place()))
    sandbox = Sandbox(writable=(place,))
    try:
        unpacked, keep = place / "image", place / "keep"
        unpacked.mkdir()
        keep.mkdir()
        root = opened(args.image.resolve(), sandbox, unpacked)
        found = definition or _says(root)
        if found is not None and args.base:
            found = found.model_copy(update={"base": args.base})
        yield Looked(root, sandbox, keep, found)
    finally:
        sandbox.remove(place)


def _place() -> str:
    # Not in /tmp, which may be memory: an image has gigabytes.
    return os.environ.get("TMPDIR") or str(Path("/", "var", "tmp"))


def _says(root: Path) -> Definition | None:
    """The definition of ours that the image names."""
    try:
        name = json.loads(Tree(root).read(OF) or b"{}").get("name", "")
    except (ValueError, AttributeError, OSError):
        return None
    known = ours()
    return load(known[name]).definition if name in known else None


def shown(verdict: Verdict, *, as_json: bool, document: dict[str, object] | None = None) -> None:
    """Print a verdict: one document, or what is wrong and a table."""
    if as_json:
        print_document(document or json.loads(to_text(verdict)))
        return
    print(terminal.render(verdict, **screen()._asdict()), end="")


def areas(findings: Iterable[Finding]) -> list[tuple[str, ...]]:
    """A row for each area: how many findings it has, and of which status."""
    by_area: dict[str, list[Finding]] = {}
    for finding in findings:
        by_area.setdefault(finding.check.partition(".")[0], []).append(finding)
    return [
        (area, *(str(count(found)[status.value]) for status in Status))
        for area, found in by_area.items()
    ]

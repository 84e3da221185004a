"""Stage label: the SELinux label of every path of the sealed tree, by the tree's own policy.

Its output: ``labels.tsv``, and ``policy.json``, which says by which policy. A tree without a policy
gets no labels, and ``policy.json`` says so.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from provision.core.files import write_whole
from provision.core.problems import fail
from provision.core.shapes import Model
from provision.image.definition import Definition
from provision.image.filelist import read_files
from provision.image.labels import Matcher, Text, written
from provision.image.work import Given, Work

VERSION = 1
NEEDS = ("seal",)
READS: tuple[str, ...] = ()
TOOLS: tuple[str, ...] = ()

_CONTEXTS = ("file_contexts", "file_contexts.homedirs", "file_contexts.local")
_ALIASES = ("file_contexts.subs", "file_contexts.subs_dist")
_TYPE = re.compile(r"^SELINUXTYPE=(\w+)", re.MULTILINE)
LATER = "/etc/holdfast/image.json"
"""What seal writes after it listed the tree."""


class Options(Model):
    """None."""


def options(definition: Definition, given: Given) -> Options:
    """The stage's options: it has none."""
    del definition, given
    return Options()


def run(work: Work) -> None:
    """Label every path.

    Raises:
        HoldfastError: the policy that the tree names is not in it, or cannot be read.
    """
    root = work.inputs["seal"] / "root"
    entries = read_files(work.inputs["seal"] / "files.tsv")
    found = _policy(work, root)
    if found is None:
        says = "the tree has no SELinux policy, so that its files get no labels"
        work.says(says)
        _write(work, [], {"policy": None, "says": says})
        return
    policy, matcher = found
    kinds = {path: entry.type for path, entry in entries.items()} | {LATER: "f"}
    labelled = [(path, matcher.label(path, kind)) for path, kind in sorted(kinds.items())]
    labels = [(path, label) for path, label in labelled if label is not None]
    without = len(labelled) - len(labels)
    says = f"{len(labels)} paths by {matcher.count} lines of {policy}; {without} get none"
    work.says(says)
    _write(work, labels, {"policy": policy, "lines": matcher.count, "labelled": len(labels),
                          "without": without, "says": says})  # fmt: skip


def _write(work: Work, labels: list[tuple[str, str]], about: dict[str, object]) -> None:
    write_whole(work.out / "labels.tsv", written(labels))
    write_whole(work.out / "policy.json", json.dumps(about, indent=2, sort_keys=True) + "\n")


def _policy(work: Work, root: Path) -> tuple[str, Matcher] | None:
    """The name of the tree's policy and what it says, or None where it has none at all."""
    home = root / "etc/selinux"
    config = _text(work, home / "config")
    named = _TYPE.search(config or "")
    if named is None:
        if any(home.glob("*/contexts/files/file_contexts")):
            raise fail("no-policy", "the tree has SELinux policies and names none of them",
                       where="/etc/selinux/config")  # fmt: skip
        return None
    folder = home / named[1] / "contexts/files"
    contexts = _texts(work, folder, _CONTEXTS)
    if not contexts or not contexts[0].name.endswith("/file_contexts"):
        raise fail("no-policy", f"/etc/selinux/config names the policy {named[1]}, which the tree"
                   " does not have", where="/etc/selinux/config",
                   hint=f"add the package selinux-policy-{named[1]}")  # fmt: skip
    return named[1], Matcher(contexts, _texts(work, folder, _ALIASES))


def _texts(work: Work, folder: Path, names: tuple[str, ...]) -> list[Text]:
    read = [(folder / name, _text(work, folder / name)) for name in names]
    return [Text(str(path), text) for path, text in read if text is not None]


def _text(work: Work, path: Path) -> str | None:
    if not path.is_file() or path.is_symlink():
        return None
    return work.sandbox.run(["cat", path])

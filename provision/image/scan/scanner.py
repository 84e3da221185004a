"""Runs OpenSCAP on a tree, inside the sandbox.

The tree's own scanner and content judge it where it has them: those the stack lock pins. Else it
is this machine's. Which of them, and its content's digest, stand in the result.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from provision.checks import scap_content, scap_results
from provision.checks.openscap import Scanned
from provision.checks.scap_content import NoContent
from provision.core.plainxml import NotPlain
from provision.core.problems import HoldfastError
from provision.image.lint.tree import Tree
from provision.image.sandbox import Bind, Sandbox, Word
from provision.image.scan import running
from provision.image.scan.copies import copied
from provision.policy.model import Release
from provision.policy.tailoring import Tailoring

LIMIT_S = 1800
"""How long a scan of a tree may take."""
PROGRAM = "oscap"
OSCAP = "/usr/bin/oscap"
_SEEN = "/mnt"
_APART = f"""
mount --rbind "$1" {_SEEN}
shift
while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
shift
mount -t tmpfs -o mode=1777 tmpfs /tmp
exec "$@"
"""
"""This machine's scanner writes into /tmp, whatever TMPDIR says; the tree may lie below it."""
_INSIDE = str(PurePosixPath("/", "tmp"))
"""Where a root has the sandbox's own scratch folder."""
_WORK = "work"
_FOUND = (0, 2)
"""How OpenSCAP ends when it judged every rule: without one that fails, and with."""


@dataclass(frozen=True)
class TreeScan:
    """A scan of a tree: what it said of rules that a tree can answer, and the others with why."""

    scanned: Scanned
    after_boot: Mapping[str, str]
    digest: str = ""
    scanner: str = ""


def scan(
    root: Path, sandbox: Sandbox, tailoring: Tailoring, *, image: str, release: Release, keep: Path
) -> TreeScan:
    """Scan the tree at `root`; what goes wrong is said in the result, and nothing is raised for it.

    Args:
        root: the tree.
        sandbox: where the scanner runs.
        tailoring: what it is told to evaluate, waived rules among it.
        image: what the result calls the tree.
        release: the release that the image declares; a tree of another is not judged.
        keep: a folder for what OpenSCAP wrote.
    """
    begin = time.monotonic()
    work = keep / _WORK
    work.mkdir(parents=True)
    try:
        found = _scan(root, sandbox, tailoring, release, keep)
    except (NoContent, NotPlain) as error:
        found = TreeScan(Scanned(image, problem=str(error)), {})
    except OSError as error:
        found = TreeScan(Scanned(image, problem=f"there is no result: {error}"), {})
    except HoldfastError as error:
        told = "; ".join(" ".join(problem.message.split()) for problem in error.problems)
        found = TreeScan(Scanned(image, problem=f"OpenSCAP did not judge it: {told}"), {})
    finally:
        sandbox.remove(work)
    seconds = round(time.monotonic() - begin, 2)
    return replace(found, scanned=replace(found.scanned, node=image, seconds=seconds))


def _scan(
    root: Path, sandbox: Sandbox, tailoring: Tailoring, release: Release, keep: Path
) -> TreeScan:
    tree, work = Tree(root), keep / _WORK
    said = os_release(tree)
    major = said.get("VERSION_ID", "").partition(".")[0]
    if f"el{major}" != release:
        raise NoContent(f"the tree says that it is release {major or '?'}, and not {release}")
    stream, chosen = _stream(tree, said)
    # A copy: what is judged, digested and read is one file, whatever the tree holds.
    shutil.copyfile(stream, work / "content.xml")
    (work / "tailoring.xml").write_text(tailoring.text, encoding="utf-8")
    with ThreadPoolExecutor(max_workers=1) as pool:
        reading = pool.submit(running.read, work / "content.xml")
        try:
            scanner = _run(tree, sandbox, tailoring.profile, work)
        finally:
            # What is wrong with the content says more than what the scanner makes of it.
            content = reading.result()
    scan = scap_results.read(work / "results.xml")
    if not tailoring.profile.endswith(f"_profile_{scan.profile}"):
        raise NoContent(f"the result is of the profile {scan.profile!r}, not of what was asked")
    if scan.version != content.version:
        raise NoContent(f"the result is by content {scan.version}, not {content.version}")
    apart = {r: content.running[r] for r in scan.selected if r in content.running}
    kept = {rule: one for rule, one in scan.rules.items() if rule not in content.running}
    _pack(work / "results.xml", keep / "results.xml.gz")
    digest = hashlib.sha256((work / "content.xml").read_bytes()).hexdigest()
    scanned = Scanned(
        "",
        replace(scan, rules=kept, started="", ended=""),
        content=stream.name,
        chosen=chosen,
        release=major,
        files={"results.xml.gz": keep / "results.xml.gz"},
    )
    return TreeScan(scanned, apart, digest, scanner)


def _pack(source: Path, target: Path) -> None:
    # Without a name and a time in its head, so that two builds differ in nothing but the results.
    with (
        source.open("rb") as plain,
        target.open("wb") as stream,
        gzip.GzipFile(filename="", mode="wb", compresslevel=3, fileobj=stream, mtime=0) as packed,
    ):
        shutil.copyfileobj(plain, packed)


def os_release(tree: Tree) -> dict[str, str]:
    """What the tree says it is."""
    lines = (tree.text("/etc/os-release") or "").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name: value.strip().strip("\"'") for name, value in pairs}


def _stream(tree: Tree, release: dict[str, str]) -> tuple[Path, str]:
    """The data stream for the tree, and why it is this one.

    Raises:
        NoContent: neither the tree nor this machine has one.
    """
    places = {"the image's": Path(f"{tree.root}"), "this machine's": Path("/")}
    problem: NoContent | None = None
    for whose, top in places.items():
        folder = Tree(top).resolve(str(scap_content.FOLDER))
        there = Path(f"{top}{folder}") if folder is not None else None
        names = [p.name for p in there.glob("*-ds.xml")] if there is not None else []
        try:
            choice = scap_content.choose(release, names)
        except NoContent as error:
            problem = problem or error
            continue
        real = Tree(top).resolve(str(choice.path))
        if real is not None:
            return Path(f"{str(top).rstrip('/')}{real}"), f"{choice.why}; {whose} own"
    raise problem or NoContent("no content is there")


def _run(tree: Tree, sandbox: Sandbox, profile: str, work: Path) -> str:
    """Run the scanner; returns whose it was and what version it says.

    Raises:
        HoldfastError: there is none, or it ended otherwise than after judging all rules.
    """
    own = tree.exists(OSCAP)
    inside = replace(sandbox, scratch=work)
    # Told that it looks at a root, it asks no running system. The tree's own scanner sees the tree
    # a second time, for it: of "/" itself it reads the rights of files, and never their text.
    env = {"OSCAP_PROBE_ROOT": _SEEN, "OSCAP_EVALUATION_TARGET": "image"}
    argv: list[Word] = ["timeout", "-k", "5", str(LIMIT_S), PROGRAM, "xccdf", "eval"]
    argv += ["--profile", profile, "--tailoring-file", "tailoring.xml", "--results", "results.xml"]
    argv.append("content.xml")
    root, place = (tree.root, _INSIDE) if own else (None, str(work.resolve()))
    said = inside.run([PROGRAM, "--version"], root=root)
    with copied(tree.root, sandbox) as binds:
        if own:
            seen = [Bind(tree.root, _SEEN)]
            seen += [replace(bind, target=f"{_SEEN}{bind.target}") for bind in binds]
            inside.run(argv, root=root, bind=seen, env=env, cwd=place, ok=_FOUND)
        else:
            pairs = [word for bind in binds for word in (bind.source, f"{_SEEN}{bind.target}")]
            before: list[Word] = ["/bin/sh", "-ec", _APART, "sh", tree.root.resolve()]
            inside.run([*before, *pairs, "--", *argv], env=env, cwd=place, ok=_FOUND)
    whose = "the image's" if own else "this machine's"
    return f"{whose}: {said.splitlines()[0].strip() if said.strip() else 'it says no version'}"

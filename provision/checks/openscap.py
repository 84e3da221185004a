"""Runs OpenSCAP on nodes with the content of their distribution, and keeps what it wrote.

This engine shares neither code nor data with what applied the controls, so it also catches a
control that is wrong. What it says is held against a baseline by `provision.policy.baseline`.
"""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
import subprocess
import tarfile
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from provision.checks import bounded, scap_content, scap_results
from provision.checks.bounded import Answer
from provision.checks.scap_content import NoContent
from provision.checks.scap_results import RuleResult, Scan
from provision.core.files import write_whole
from provision.core.plainxml import NotPlain
from provision.rack.model import Node, Rack
from provision.rack.ssh import SshSettings

AT_ONCE = 8
"""Scans at a time: each asks half a gigabyte of its node, and sends some megabytes here."""
SCAN_S = 1800
"""How long a scan of a node may take whose patience is 1."""
LOOK_S = 60
_MOST = 512 * 1024 * 1024
"""The most bytes that a node's answer may have, unpacked: an ARF of all rules has 40 MiB."""
_MOST_PACKED = 128 * 1024 * 1024
_MOST_LOOK = 1024 * 1024
_PIECE = 1 << 20
_FILES = ("results.xml", "arf.xml", "report.html", "oscap.log", "asked.log", "status.json")
_SCAN = ("benchmark", "version", "profile", "started", "ended", "scanner")
_ROOT = 'if [ "$(id -u)" = 0 ]; then s=; else s="sudo -n"; fi; exec $s /bin/sh -c '

EXPENSIVE = (
    "dir_perms_world_writable_root_owned",
    "dir_perms_world_writable_sticky_bits",
    "file_permissions_unauthorized_sgid",
    "file_permissions_unauthorized_suid",
    "file_permissions_unauthorized_world_writable",
    "file_permissions_ungroupowned",
    "no_files_unowned_by_user",
    "rpm_verify_hashes",
    "rpm_verify_ownership",
    "rpm_verify_permissions",
)
"""Rules that read every file of a node. They can have a schedule of their own."""


Writes = Literal["all", "results"]
"""What OpenSCAP writes: its page and asset report too, or the results alone.

It makes both of the results, in minutes on an emulated machine; the verdict reads neither.
"""


@dataclass(frozen=True)
class Order:
    """What a node is to be judged by.

    `profile` is the id that the tailoring gives its profile, or one of the content's own where
    `tailoring` is empty; `leave_out` are rules that this scan does without, and `writes` is what
    OpenSCAP leaves of it.
    """

    profile: str
    tailoring: str = ""
    leave_out: tuple[str, ...] = ()
    writes: Writes = "all"


@dataclass(frozen=True)
class Scanned:
    """What came of scanning a node: a scan, or why there is none.

    Without either, nothing was asked of it. `release` is its major release, `content` the file that
    judged it and `chosen` why that one.
    """

    node: str
    scan: Scan | None = None
    problem: str = ""
    content: str = ""
    chosen: str = ""
    release: str = ""
    left_out: tuple[str, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)
    seconds: float = 0.0


class _NotDone(Exception):
    """There is no result; the message says why."""


Ask = Callable[[Node, str], Order | None]
"""What a node of a major release is to be judged by; None when by nothing. May raise NoContent."""


def scan_nodes(
    rack: Rack,
    ask: Ask,
    *,
    ssh: SshSettings,
    folder: Path,
    limit_s: int = SCAN_S,
) -> dict[str, Scanned]:
    """Scan the nodes of `rack`, and keep what OpenSCAP wrote in ``folder/NODE/``.

    What goes wrong on a node is said in its result; nothing is raised for it.

    Raises:
        OSError: `folder` cannot be written.
    """

    def work(node: Node) -> Scanned:
        place = folder / node.name
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        begin = time.monotonic()
        argv = ["ssh", *ssh.arguments(rack, node), node.address]
        try:
            found = _scan(argv, node, ask, place, limit_s * node.patience)
        except (_NotDone, NoContent, NotPlain) as problem:
            found = Scanned(node.name, problem=str(problem))
        found = replace(found, seconds=round(time.monotonic() - begin, 2))
        write_whole(place / "scan.json", json.dumps(to_json(found), indent=1) + "\n", mode=0o600)
        return found

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return {one.node: one for one in pool.map(work, rack.nodes)}


def _scan(argv: Sequence[str], node: Node, ask: Ask, place: Path, limit_s: int) -> Scanned:
    asked = f"cat /etc/os-release; echo; ls -1 {scap_content.FOLDER}"
    look = _call(argv, asked, b"", LOOK_S * node.patience)
    release, present = _looked(look.out.decode(errors="replace"))
    if not release:
        raise _NotDone(_said("the node's os-release could not be read", look))
    major = release.get("VERSION_ID", "").partition(".")[0]
    order = ask(node, major)
    if order is None:
        return Scanned(node.name, release=major)
    choice = scap_content.choose(release, present)
    tailoring = order.tailoring.encode()
    script = (resources.files("provision.checks") / "oscap.sh").read_text(encoding="utf-8")
    words = [str(choice.path), order.profile, str(limit_s), str(len(tailoring)), order.writes]
    packed = place / "answer.tar.gz"
    command = _ROOT + shlex.join([script, "oscap", *words, *order.leave_out])
    done = _call(argv, command, tailoring, limit_s + LOOK_S * node.patience, packed)
    try:
        if done.returncode:
            raise _NotDone(_said("the scan did not run", done))
        files = _unpacked(packed, place)
    finally:
        packed.unlink(missing_ok=True)
    status = _ended(files["status.json"])
    # 0: no rule fails. 2: some do. Whatever else OpenSCAP ends with, it did not judge them all.
    if status not in (0, 2) or "results.xml" not in files:
        log = files["oscap.log"].read_text(errors="replace") if "oscap.log" in files else ""
        why = "did not end in time" if status == 124 else f"ended {status}"
        raise _NotDone(f"OpenSCAP {why}: {' '.join(log.split())[-400:] or 'it said nothing'}")
    if "asked.log" not in files:
        raise _NotDone("the node's answer does not say which rules asked systemd")
    doubts = files["asked.log"].read_text(errors="replace").splitlines()
    scan = scap_results.doubted(scap_results.read(files["results.xml"]), doubts)
    # A result of something else proves nothing of what was asked.
    if not order.profile.endswith(f"_profile_{scan.profile}"):
        raise _NotDone(f"the result is of the profile {scan.profile!r}, and not of what was asked")
    kept = {name: path for name, path in files.items() if name in ("report.html", "oscap.log")}
    for name in ("arf.xml", "results.xml"):
        if name in files:
            kept[f"{name}.gz"] = _gzipped(files[name])
    return Scanned(node.name, scan, content=choice.path.name, chosen=choice.why, release=major,
                   left_out=order.leave_out, files=kept)  # fmt: skip


def _call(
    argv: Sequence[str], command: str, stdin: bytes, limit_s: float, out: Path | None = None
) -> Answer:
    """Run a command on the node; `out` takes its standard output instead of memory."""
    most = _MOST_LOOK if out is None else _MOST_PACKED
    try:
        return bounded.call([*argv, command], stdin, limit_s=limit_s, most=most, into=out)
    except bounded.TooMuch as error:
        raise _NotDone(f"the node's answer has no end: {error}, and it was ended") from error
    except subprocess.TimeoutExpired as error:
        raise _NotDone(f"the node did not answer within {limit_s:.0f} s") from error
    except OSError as error:
        raise _NotDone(f"ssh could not be run, or its answer not be kept: {error}") from error


def _ended(path: Path) -> int:
    """How OpenSCAP ended, as the node says it."""
    try:
        status = json.loads(path.read_bytes())["status"]
    except (ValueError, TypeError, KeyError, RecursionError):
        status = None
    if type(status) is not int:
        raise _NotDone("the node's answer does not say how OpenSCAP ended")
    return status


def _said(what: str, done: Answer) -> str:
    words = " ".join(done.err.decode(errors="replace").split())[-300:]
    how = "the node cannot be reached" if done.returncode == 255 else f"status {done.returncode}"
    return f"{what} ({how}): {words or 'nothing was said'}"


def _looked(text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """os-release as a mapping, and the names of the content's files."""
    head, _, rest = text.partition("\n\n")
    pairs = (line.split("=", 1) for line in head.splitlines() if "=" in line)
    release = {name: value.strip().strip("\"'") for name, value in pairs}
    return release, tuple(line for line in rest.split() if line.endswith("-ds.xml"))


def _unpacked(packed: Path, place: Path) -> dict[str, Path]:
    """The files that came, by name; other names, other kinds and too much are refused."""
    found: dict[str, Path] = {}
    left = _MOST
    try:
        with gzip.open(packed) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
            for member in archive:
                if member.name not in _FILES or not member.isreg() or member.size > left:
                    raise _NotDone(f"the node's answer holds {member.name!r}, which it should not")
                left -= member.size
                stream = archive.extractfile(member)
                if stream is None:
                    continue
                target = place / member.name
                with target.open("wb") as out:
                    shutil.copyfileobj(stream, out)
                target.chmod(0o600)
                found[member.name] = target
            # The packed form's own checksum stands behind the archive's end.
            while left > 0 and (rest := plain.read(_PIECE)):
                left -= len(rest)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _NotDone(f"the node's answer was cut short: {error}") from error
    if "status.json" not in found:
        raise _NotDone("the node's answer says nothing of how OpenSCAP ended")
    return found


def _gzipped(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    with path.open("rb") as source, gzip.open(packed, "wb", compresslevel=3) as target:
        shutil.copyfileobj(source, target)
    packed.chmod(0o600)
    path.unlink()
    return packed


def to_json(found: Scanned) -> dict[str, object]:
    """A scan as plain data, with the rules that the profile selects."""
    scan = found.scan
    body: dict[str, object] = {
        "schema": "holdfast.scan/1",
        "node": found.node,
        "problem": found.problem,
        "content": found.content,
        "chosen": found.chosen,
        "release": found.release,
        "left_out": list(found.left_out),
        "files": {name: path.name for name, path in found.files.items()},
        "seconds": found.seconds,
    }
    if scan is not None:
        body |= {
            **{name: getattr(scan, name) for name in _SCAN},
            "rules": {
                name: {"result": r.result, "severity": r.severity, "messages": list(r.messages)}
                for name, r in sorted(scan.selected.items())
            },
        }
    return body


def load(path: Path) -> Scanned:
    """The scan that `scan_nodes` kept in a file.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be read.
    """
    return from_json(json.loads(path.read_text(encoding="utf-8")), path.parent)


def from_json(body: Any, place: Path) -> Scanned:
    """A scan as `to_json` wrote it; what OpenSCAP wrote lies in `place`.

    Raises:
        ValueError: it is none.
        KeyError: a part is missing.
    """
    if not isinstance(body, dict) or body.get("schema") != "holdfast.scan/1":
        raise ValueError("it is not the record of a scan")
    scan = None
    if "rules" in body:
        rules = {
            name: RuleResult(name, r["result"], r["severity"], messages=tuple(r["messages"]))
            for name, r in body["rules"].items()
        }
        told = {name: body[name] for name in _SCAN}
        scan = Scan(**told, rules=rules)
    return Scanned(
        body["node"],
        scan,
        problem=body["problem"],
        content=body["content"],
        chosen=body["chosen"],
        release=body["release"],
        left_out=tuple(body["left_out"]),
        files={name: place / file for name, file in body["files"].items()},
        seconds=body["seconds"],
    )

"""`holdfast stack`: show what a stack lock pins, and check a lock and the files it names."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from provision.cli.output import folded, print_document, rows_of, style, width_of
from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, fail
from provision.core.shown import short_digests
from provision.supply.artefacts import Checked, check_files
from provision.supply.lock import load_lock, lock_sha256
from provision.supply.model import Rpm, StackLock
from provision.verdict.model import Status

_GLYPHS = {Status.PASS: ("✔", "good"), Status.FAIL: ("✘", "bad"), Status.UNKNOWN: ("?", "warn")}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `show` and `check`."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = verbs.add_parser(
        "show",
        help="list what is pinned, with licence and reason",
        description="List what a stack lock pins: RPMs by role, images, models and wheels.",
    )
    show.add_argument(
        "source", metavar="LOCK|INVENTORY", type=Path, help="a stack lock, or an inventory with one"
    )
    check = verbs.add_parser(
        "check",
        help="check a lock, and with --files the bytes of what it names",
        description="Check that a stack lock is valid and that its parts fit each other.",
    )
    check.add_argument("lock", metavar="LOCK", type=Path, help="the stack lock")
    check.add_argument(
        "--files",
        metavar="DIR",
        type=Path,
        help="compare every file below DIR with the lock; one that is missing is unknown (exit 1)",
    )


def run(args: argparse.Namespace) -> ExitCode:
    """Show or check."""
    if args.action == "show":
        return _show(args.source, args.json)
    return _check(args.lock, args.files, args.json)


def read_lock(path: Path) -> StackLock:
    """The lock at `path`.

    Raises:
        HoldfastError: with all its problems and exit code 2.
    """
    lock, problems = load_lock(path)
    if lock is None:
        raise HoldfastError(problems, ExitCode.USAGE)
    return lock


def _show(source: Path, as_json: bool) -> ExitCode:
    path, lock = _find_lock(source)
    if as_json:
        body = lock.model_dump(mode="json", by_alias=True, exclude_unset=True)
        document = {
            "schema": "holdfast.stack-show/1",
            "lock": str(path),
            "sha256": lock_sha256(path),
            "stack": body,
        }
        print_document(document)
        return ExitCode.OK
    print("\n".join(_page(lock, path)))
    return ExitCode.OK


def _find_lock(source: Path) -> tuple[Path, StackLock]:
    if source.suffix == ".json":
        return source, read_lock(source)
    from provision.cli.inputs import load_rack

    inputs = load_rack(source)
    return inputs.lock_path, inputs.lock


def _page(lock: StackLock, path: Path) -> Iterator[str]:
    first, *more = folded(f"{lock.name}  made {lock.created}  {path}", width_of(), "  ")
    yield style(lock.name, "bold") + first.removeprefix(lock.name)
    yield from more
    yield f"sha256 {lock_sha256(path)}"
    yield from _section(
        "origins",
        ("ORIGIN", "KIND", "ADDRESS", "WHY"),
        ((n, o.kind, o.address, o.reason) for n, o in lock.origins.items()),
    )
    yield from _section(
        "signing keys", ("KEY", "FINGERPRINT"), ((n, k.fingerprint) for n, k in lock.keys.items())
    )
    for role, rpms in _by_role(lock).items():
        yield from _section(
            f"rpms: {role}",
            ("PACKAGE", "EL", "KEY", "LICENCE", "CLASS", "WHY"),
            ((r.nevra, r.el, r.key, r.licence, r.licence_class, r.reason) for r in rpms),
        )
    yield from _section(
        "images",
        ("IMAGE", "ARCH", "DIGEST", "LICENCE", "CLASS", "WHY"),
        (
            (i.name, i.arch, short_digests(i.digest), i.licence, i.licence_class, i.reason)
            for i in lock.images
        ),
    )
    yield from _section(
        "models",
        ("MODEL", "FORMAT", "SIZE", "FILES", "LICENCE", "CLASS", "WHY"),
        (
            (
                m.name,
                m.format,
                size_text(m.size),
                str(len(m.files)),
                m.licence,
                m.licence_class,
                m.reason,
            )
            for m in lock.models
        ),
    )
    yield from _section(
        "wheels",
        ("WHEEL", "VERSION", "LICENCE", "CLASS", "WHY"),
        ((w.name, w.version, w.licence, w.licence_class, w.reason) for w in lock.wheels),
    )


def _by_role(lock: StackLock) -> dict[str, list[Rpm]]:
    """RPMs by the roles and units that ask for them, in order of first use; then dependencies."""
    units = {(nevra, u.el): f"GPU unit {u.name}" for u in lock.gpu for nevra in u.packages}
    found: dict[str, list[Rpm]] = {}
    rest: list[Rpm] = []
    for rpm in lock.rpms:
        unit = units.get((rpm.nevra, rpm.el))
        for name in (*rpm.roles, *([unit] if unit else [])):
            found.setdefault(name, []).append(rpm)
        if not rpm.roles and not unit:
            rest.append(rpm)
    return {**found, **({"dependencies only": rest} if rest else {})}


def _section(title: str, headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    found = list(rows)
    if not found:
        return []
    head, *lines = rows_of(headings, found, width_of())
    return [
        "",
        style(f"{title} ({len(found)})", "bold"),
        *(style(line, "dim") for line in head),
        *(line for row in lines for line in row),
    ]


def size_text(size: int) -> str:
    """A number of bytes in binary units: ``4.6 GiB``."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def _check(path: Path, files: Path | None, as_json: bool) -> ExitCode:
    lock = read_lock(path)
    if files is not None and not files.is_dir():
        hint = "give the folder that holds what the lock names"
        raise fail("no-folder", f"{files} is not a folder", hint=hint, exit_code=ExitCode.USAGE)
    checked = list(check_files(lock, files)) if files is not None else []
    status = _worst(checked)
    if as_json:
        print_document(_document(path, lock, files, checked, status))
    else:
        print("\n".join(_verdict_lines(path, lock, files, checked)))
    return ExitCode.FINDINGS if status.gates else ExitCode.OK


def _worst(checked: Iterable[Checked]) -> Status:
    statuses = {c.status for c in checked}
    return next((s for s in (Status.FAIL, Status.UNKNOWN) if s in statuses), Status.PASS)


def _document(
    path: Path, lock: StackLock, files: Path | None, checked: list[Checked], status: Status
) -> dict[str, Any]:
    return {
        "schema": "holdfast.stack-check/1",
        "lock": str(path),
        "sha256": lock_sha256(path),
        "name": lock.name,
        "status": status.value,
        "files_looked_at": files is not None,
        "artefacts": [
            {
                "kind": c.pinned.kind,
                "name": c.pinned.name,
                "path": c.pinned.path,
                "status": c.status.value,
                "expected": f"sha256 {c.pinned.sha256}",
                "seen": c.seen,
                "action": c.action,
            }
            for c in checked
        ],
    }


def _verdict_lines(
    path: Path, lock: StackLock, files: Path | None, checked: list[Checked]
) -> Iterator[str]:
    for c in checked:
        if c.status is not Status.PASS:
            glyph, name = _GLYPHS[c.status]
            word = style(f"{glyph} {c.status.value}", name)
            yield f"{word}  {c.pinned.kind} {c.pinned.path}: {c.seen}"
            if c.action:
                yield f"    {c.action}"
    kinds = {"rpm": lock.rpms, "image": lock.images, "model": lock.models, "wheel": lock.wheels}
    pins = ", ".join(f"{len(all_)} {kind}{'s' * (len(all_) != 1)}" for kind, all_ in kinds.items())
    yield f"{style('✔ valid', 'good')}  {path}: {pins}"
    if files is None:
        yield "no file was looked at; --files DIR compares their bytes with the lock"
        return
    counts = {s: sum(c.status is s for c in checked) for s in _GLYPHS}
    words = ", ".join(f"{n} {s.value}" for s, n in counts.items())
    glyph, name = _GLYPHS[_worst(checked)]
    yield f"{style(glyph, name)} {len(checked)} files below {files}: {words}"

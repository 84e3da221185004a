"""`holdfast doctor`: what this controller needs, what it lacks, and what to install.

Looks at this machine only. A thing that could not be looked at counts as missing.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from importlib import metadata, resources
from pathlib import Path

from provision.cli.output import folded, print_document, rows_of, style, width_of
from provision.core.exitcodes import ExitCode

NEEDS = "system_needs.tsv"

ENDS_OF_LIFE = {
    "2.19": date(2026, 11, 30),
    "2.20": date(2027, 5, 31),
    "2.21": date(2027, 11, 30),
    "2.22": date(2028, 5, 31),
}
"""When ansible-core's own maintainers stop mending each release (last day of that month)."""


@dataclass(frozen=True)
class Need:
    """One thing that this controller needs.

    `when` is ``always``, ``rehearsal`` or ``image``; `state` is ``ok``, ``old`` (works, act soon)
    or ``missing``; `mend` says what to do.
    """

    name: str
    when: str
    state: str
    seen: str
    why: str
    mend: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the doctor's options."""
    parser.add_argument(
        "--no-rehearsal",
        action="store_true",
        help="leave out what only rehearsals and builds of images need; a controller of real racks"
        " needs none of it",
    )


def run(args: argparse.Namespace) -> ExitCode:
    """Look and report; exit 1 when something is missing."""
    family = distribution_family()
    needs = [n for n in look(family) if n.when == "always" or not args.no_rehearsal]
    missing = [n for n in needs if n.state == "missing"]
    if args.json:
        print_document(
            {
                "schema": "holdfast.doctor/1",
                "distribution": family,
                "status": "missing" if missing else "ok",
                "needs": [asdict(n) for n in needs],
            }
        )
    else:
        print("\n".join(_page(needs)))
    return ExitCode.FINDINGS if missing else ExitCode.OK


def look(family: str, which: Callable[[str], str | None] | None = None) -> Iterator[Need]:
    """Everything this controller needs, as it is now.

    Args:
        family: ``debian``, ``el`` or ``other``; decides which package is named.
        which: finds a command's path; looks along PATH and the folders of root when None.
    """
    yield _python()
    yield _ansible()
    for name, why in _PACKAGES.items():
        yield _package(name, why)
    find = which or _which
    for command, when, debian, el, why in system_needs():
        if when == "tests":
            continue  # whoever uses Holdfast needs none of it
        package = {"debian": debian, "el": el}.get(family, command)
        path = find(command)
        if package == "-" and path is None:
            continue  # this distribution does not have it and does not need it
        mend = "" if path else f"{_INSTALL.get(family, 'install')} {package}"
        yield Need(command, when, "ok" if path else "missing", path or "not on PATH", why, mend)
    yield _root()
    yield _filesystem("overlay", "gives each simulated node its own copy of one base")
    yield _namespaces()
    yield _owners()


def system_needs() -> Iterator[tuple[str, str, str, str, str]]:
    """The rows of the table of system packages: command, when, Debian, EL, why."""
    text = resources.files("provision.cli").joinpath(NEEDS).read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            command, when, debian, el, why = line.split("\t")
            yield command, when, debian, el, why


def distribution_family() -> str:
    """Which family's package names to give: ``debian``, ``el`` or ``other``."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return "other"
    names = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    if names & {"debian", "ubuntu"}:
        return "debian"
    return "el" if names & {"rhel", "fedora", "centos"} else "other"


_INSTALL = {"debian": "apt-get install", "el": "dnf install"}
_PACKAGES = {
    "pytest-testinfra": "checks the nodes",
    "pydantic": "judges the inventory and the stack lock",
    "rich": "draws the live table",
}


def _which(command: str) -> str | None:
    return shutil.which(command, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def _python() -> Need:
    # An older one cannot have come this far: the package does not install there.
    return Need("python", "always", "ok", platform.python_version(), "runs Holdfast")


def _ansible(today: date | None = None) -> Need:
    why = "makes the changes on the nodes"
    try:
        seen = metadata.version("ansible-core")
    except metadata.PackageNotFoundError:
        return Need("ansible-core", "always", "missing", "not installed", why, _REINSTALL)
    end = ENDS_OF_LIFE.get(".".join(seen.split(".")[:2]))
    if end is None:
        mend = "use a release that this Holdfast was tested with: " + ", ".join(ENDS_OF_LIFE)
        return Need("ansible-core", "always", "old", f"{seen}, not known here", why, mend)
    seen += f", mended until {end:%B %Y}"
    if (end - (today or datetime.now(UTC).date())).days < 60:
        mend = "use Python 3.12 or newer, which gets a newer ansible-core"
        return Need("ansible-core", "always", "old", seen, why, mend)
    return Need("ansible-core", "always", "ok", seen, why)


_REINSTALL = "install holdfast again: it brings this"


def _package(name: str, why: str) -> Need:
    try:
        return Need(name, "always", "ok", metadata.version(name), why)
    except metadata.PackageNotFoundError:
        return Need(name, "always", "missing", "not installed", why, _REINSTALL)


def _root() -> Need:
    why = "starting nodes and making their network takes root"
    if os.geteuid() == 0:
        return Need("root", "rehearsal", "ok", "running as root", why)
    seen = f"running as user {os.geteuid()}"
    return Need("root", "rehearsal", "missing", seen, why, "rehearse as root")


def _filesystem(name: str, why: str) -> Need:
    try:
        known = Path("/proc/filesystems").read_text(encoding="ascii").split()
    except OSError as error:
        return Need(f"{name}fs", "rehearsal", "missing", f"cannot look: {error.strerror}", why)
    if name in known:
        return Need(f"{name}fs", "rehearsal", "ok", "in this kernel", why)
    return Need(f"{name}fs", "rehearsal", "missing", "not loaded", why, f"modprobe {name}")


def _namespaces() -> Need:
    why = "keeps the rack's network apart from this machine's"
    if Path("/proc/self/ns/net").exists():
        return Need("network namespaces", "rehearsal", "ok", "in this kernel", why)
    mend = "use a kernel with CONFIG_NET_NS"
    return Need("network namespaces", "rehearsal", "missing", "not in this kernel", why, mend)


def _owners() -> Need:
    """Whether this user may make the namespace that images are built in: by making one."""
    from provision.core.problems import HoldfastError
    from provision.image.sandbox import Sandbox

    name, why = "user namespaces", "give whoever builds an image files of many owners"
    try:
        Sandbox().run(["true"])
    except HoldfastError as error:
        first = error.problems[0]
        seen = first.message.splitlines()[-1]
        return Need(name, "image", "missing", seen, why, first.hint or "allow user namespaces")
    return Need(name, "image", "ok", "made and left", why)


_WHEN = {
    "always": "every controller",
    "rehearsal": "a rehearsal",
    "image": "whoever builds images",
}
_GLYPHS = {"ok": ("✔ ok", "good"), "old": ("! old", "warn"), "missing": ("✘ missing", "bad")}


def _page(needs: list[Need]) -> Iterator[str]:
    wide = max(len(text) for text, _ in _GLYPHS.values())
    columns = width_of()
    room = None if columns is None else columns - wide - 4
    below = " " * (wide + 4)
    for when, title in _WHEN.items():
        rows = [n for n in needs if n.when == when]
        if not rows:
            continue
        yield style(f"{title} needs", "bold")
        laid = rows_of(("", "", ""), ((n.name, n.seen, n.why) for n in rows), room)[1:]
        for need, (first, *more) in zip(rows, laid, strict=True):
            text, name = _GLYPHS[need.state]
            yield f"  {style(text.ljust(wide), name)}  {first}"
            yield from (below + line for line in more)
            if need.mend:
                yield from (below + line for line in folded(f"→ {need.mend}", room, "  "))
        yield ""
    missing = sum(n.state == "missing" for n in needs)
    yield style(f"{missing} missing", "bad") if missing else style("nothing is missing", "good")

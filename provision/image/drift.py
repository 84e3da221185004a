"""Where a node is no longer what its image was: `holdfast image drift`.

The node says what lies on it; here that is compared with the image's list of files. What could not
be looked at is unknown, never as it was.
"""

from __future__ import annotations

import shlex
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, takewhile

from provision.image.described import Described, units_of
from provision.image.difference import capabilities
from provision.image.filelist import CAPABILITY, TYPES, Entry
from provision.image.ignored import Ignored
from provision.image.onnode import UNREAD

KINDS: dict[str, str] = {
    "package-missing": "a package is not installed",
    "package-added": "a package was installed",
    "package-version": "a package has another version",
    "unit-enabled": "a unit was enabled",
    "unit-disabled": "a unit was disabled",
    "unit-masked": "a unit was masked",
    "kernel": "another kernel runs",
    "kernel-argument": "the kernel was started with other arguments",
    "missing": "a path is not there",
    "added": "a path is there that the image has not",
    "type": "a path is of another type",
    "content": "a file's content is another",
    "target": "a link leads elsewhere",
    "device": "a device has other numbers",
    "mode": "a mode is another",
    "owner": "an owner or group is another",
    "capability": "a file's capabilities are others",
    "attribute": "a file's extended attributes are others",
}
"""Every kind of drift, in the order in which they are told."""

_OWN_ARGUMENTS = ("BOOT_IMAGE=", "initrd=", "ip=", "holdfast.", "rd.live.", "systemd.machine_id=",
                  "BOOTIF=")  # fmt: skip
"""What boot programs add to the kernel's arguments by themselves."""


_VARIES = "it is another in a format of the image whose root is on no disk of the definition"


@dataclass(frozen=True)
class Drift:
    """One thing in which a node differs from its image, and the command that takes it back."""

    kind: str
    what: str
    expected: str
    seen: str
    restore: str
    package: str = ""

    def to_json(self) -> dict[str, str]:
        """As plain data."""
        return {"kind": self.kind, "what": self.what, "expected": self.expected, "seen": self.seen,
                "restore": self.restore, "package": self.package}  # fmt: skip


@dataclass(frozen=True)
class Unseen:
    """What could not be looked at, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Sight:
    """What a node said: its paths, what it could not read, what is mounted over others."""

    files: Mapping[str, Entry]
    errors: Mapping[str, str] = field(default_factory=dict)
    mounted: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] | None = None
    owns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The paths of the packages that the image has not, by NEVRA."""
    kernel: str = ""
    arguments: str | None = None
    own_kernel: bool = True
    """Whether the node started the kernel that it runs on; a container did not."""


@dataclass(frozen=True)
class Drifted:
    """What became of a node: every drift, what is unknown, what was ignored and why."""

    drifts: tuple[Drift, ...]
    unseen: tuple[Unseen, ...]
    ignored: Mapping[str, str]


def drift(image: Described, seen: Sight, ignored: Ignored) -> Drifted:
    """Compare a node with the image that it came from.

    Raises:
        HoldfastError: a document of the image cannot be read.
    """
    packages, folded, unseen = _packages(image, seen)
    compared = _Paths(image, seen, ignored, folded)
    drifts = [*packages, *_kernel(image, seen, unseen), *compared.drifts()]
    order = list(KINDS)
    drifts.sort(key=lambda one: (order.index(one.kind), one.what))
    unseen += compared.unseen
    return Drifted(tuple(drifts), tuple(unseen), compared.passed_over)


def _packages(image: Described, seen: Sight) -> tuple[list[Drift], frozenset[str], list[Unseen]]:
    """Packages that differ, and the paths that are told with them."""
    if seen.packages is None:
        return [], frozenset(), [Unseen("packages", "rpm's database could not be read")]
    wanted, there = image.packages, set(seen.packages)
    missing = {n: p for n, p in wanted.items() if n not in there}
    added: dict[str, list[str]] = {}
    for nevra in sorted(there - wanted.keys()):
        added.setdefault(_named(nevra), []).append(nevra)
    folded = {path for package in missing.values() for path in package.paths}
    folded |= {path for paths in seen.owns.values() for path in paths}
    drifts = []
    for nevra in missing:
        # Of a kernel, and of a public key, there may be several.
        others = added.get(_named(nevra))
        mend = f"dnf install -y {shlex.quote(nevra)}"
        if others:
            drifts.append(Drift("package-version", _named(nevra), nevra, others.pop(), mend))
        else:
            drifts.append(Drift("package-missing", nevra, "installed", "not there", mend))
    drifts += [
        Drift("package-added", nevra, "not there", "installed",
              f"dnf remove -y {shlex.quote(nevra)}")
        for others in added.values() for nevra in others
    ]  # fmt: skip
    return drifts, frozenset(folded), []


def _named(nevra: str) -> str:
    """Name and architecture of a NEVRA."""
    name = nevra.rpartition("-")[0].rpartition("-")[0]
    arch = nevra.rpartition(".")[2] if "." in nevra else ""
    return f"{name}.{arch}"


def _kernel(image: Described, seen: Sight, unseen: list[Unseen]) -> Iterator[Drift]:
    wanted = image.manifest.kernel
    if wanted is None or not seen.own_kernel:
        return
    restart = "systemctl reboot"
    if seen.kernel != wanted.version:
        yield Drift("kernel", "the kernel that runs", wanted.version, seen.kernel or "nothing",
                    restart)  # fmt: skip
    if seen.arguments is None:
        unseen.append(Unseen("kernel arguments", "/proc/cmdline could not be read"))
        return
    asked, given = wanted.arguments.split(), seen.arguments.split()
    for word in asked:
        if word not in given:
            yield Drift("kernel-argument", word, "given", "not given", restart)
    for word in given:
        if word not in asked and not word.startswith(_OWN_ARGUMENTS):
            yield Drift("kernel-argument", word, "not given", "given", restart)


class _Paths:
    """The comparison of paths; `unseen` and `passed_over` fill while `drifts` is read."""

    def __init__(
        self, image: Described, seen: Sight, ignored: Ignored, folded: frozenset[str]
    ) -> None:
        self.image, self.seen, self.ignored, self.folded = image, seen, ignored, folded
        self.unseen: list[Unseen] = []
        self.passed_over: dict[str, str] = {}
        self._owner: dict[str, str] | None = None
        self._every = sorted(image.files.keys() | seen.files.keys())
        self._units = {**units_of(image.files), **units_of(seen.files)}
        self._blind = {**seen.errors, **{p: f"{k} is mounted there" for p, k in
                                         seen.mounted.items()}}  # fmt: skip

    def drifts(self) -> Iterator[Drift]:
        """Every path that differs; of a folder that is missing or new, the folder alone."""
        wanted, there = self.image.files, self.seen.files
        told: set[str] = set()
        for path in self._every:
            one, other = wanted.get(path), there.get(path)
            if one == other or self._passes(path, one, other):
                continue
            if _parents(path) & told:
                told.add(path)
                continue
            for found in self._of(path, one, other):
                if found.kind in ("missing", "added", "type"):
                    told.add(path)
                yield found

    def _passes(self, path: str, one: Entry | None, other: Entry | None) -> bool:
        """Whether a rule passes over the difference, or a package's drift tells it."""
        if path in self.folded:
            return True
        alike = one is None or other is None or _access(one) == _access(other)
        if path in self.image.varying and alike:
            self.passed_over[path] = _VARIES
            return True
        rule = self.ignored.rule(path)
        if rule is None:
            return self._passes_as_folder(path, one, other)
        if rule.what == "all" or (rule.what == "added" and one is None) or (
            rule.what == "content" and alike
        ):  # fmt: skip
            self.passed_over[path] = rule.why
            return True
        return False

    def _passes_as_folder(self, path: str, one: Entry | None, other: Entry | None) -> bool:
        """Whether a folder is there, or is mounted over, for what is ignored below it alone."""
        below = self.ignored.rule(f"{path}/x/x")
        if below is not None and below.path == f"{path}/**" and (one is None or other is None):
            self.passed_over[path] = below.why
            return True
        if one is not None or other is None or other.type != "d":
            return False
        start = bisect_left(self._every, f"{path}/")
        inside = takewhile(lambda p: p.startswith(f"{path}/"), islice(self._every, start, None))
        leaves = [p for p in inside if self.seen.files[p].type != "d"]
        if leaves and all(self._passes(p, None, self.seen.files[p]) for p in leaves):
            self.passed_over[path] = "nothing is in it but what is ignored"
            return True
        return False

    def _of(self, path: str, one: Entry | None, other: Entry | None) -> Iterator[Drift]:
        if other is None:
            assert one is not None
            why = self._why_unseen(path)
            if why is not None:
                self.unseen.append(Unseen(path, why))
            else:
                yield self._gone(path, one)
        elif one is None:
            yield self._new(path, other)
        elif one.type != other.type:
            quoted = shlex.quote(path)
            yield self._drift("type", path, _type(one), _type(other),
                              f"rm -rf {quoted} && {self._bring(path, one)}")  # fmt: skip
        else:
            yield from self._changed(path, one, other)

    def _why_unseen(self, path: str) -> str | None:
        for place in (path, *sorted(_parents(path), reverse=True)):
            if place in self._blind:
                return self._blind[place]
        return None

    def _gone(self, path: str, one: Entry) -> Drift:
        unit = self._units.get(path)
        if unit is not None and one.type == "l":
            name = shlex.quote(path.rpartition("/")[2])
            word = "mask" if one.holds == "/dev/null" else "enable"
            return self._drift("unit-disabled", path, unit, "not any more",
                               f"systemctl {word} {name}")  # fmt: skip
        return self._drift("missing", path, _type(one), "not there", self._bring(path, one))

    def _new(self, path: str, other: Entry) -> Drift:
        unit = self._units.get(path)
        name = shlex.quote(path.rpartition("/")[2])
        if unit is not None and other.holds == "/dev/null":
            return self._drift("unit-masked", path, "not masked", unit, f"systemctl unmask {name}")
        if unit is not None:
            mend = f"systemctl disable {name}"
            return self._drift("unit-enabled", path, "not enabled", unit, mend)
        force = "-rf" if other.type == "d" else "-f"
        return self._drift(
            "added", path, "not there", _type(other), f"rm {force} {shlex.quote(path)}"
        )

    def _changed(self, path: str, one: Entry, other: Entry) -> Iterator[Drift]:
        quoted = shlex.quote(path)
        yield from self._held(path, one, other)
        # Changing an owner clears set-user-id and capabilities, so it comes first in a shell.
        if (one.uid, one.gid) != (other.uid, other.gid):
            mend = f"chown -h {one.uid}:{one.gid} {quoted}"
            if one.type == "f":
                mend += f" && chmod {one.permissions} {quoted}"
            yield self._drift("owner", path, f"{one.uid}:{one.gid}", f"{other.uid}:{other.gid}",
                              mend)  # fmt: skip
        if one.mode != other.mode and one.type != "l":
            yield self._drift("mode", path, one.permissions, other.permissions,
                              f"chmod {one.permissions} {quoted}")  # fmt: skip
        yield from self._attributes(path, one, other)

    def _held(self, path: str, one: Entry, other: Entry) -> Iterator[Drift]:
        if one.holds == other.holds:
            return
        rule = self.ignored.rule(path)
        if rule is not None and rule.what == "content":
            self.passed_over[path] = rule.why
            return
        if other.holds == UNREAD:
            self.unseen.append(Unseen(path, self.seen.errors.get(path, "it could not be read")))
        elif one.type == "f":
            yield self._drift("content", path, f"{one.size} bytes, sha256 {one.holds}",
                              f"{other.size} bytes, sha256 {other.holds}",
                              self._bring(path, one))  # fmt: skip
        else:
            kind = "target" if one.type == "l" else "device"
            yield self._drift(kind, path, one.holds, other.holds, self._bring(path, one))

    def _attributes(self, path: str, one: Entry, other: Entry) -> Iterator[Drift]:
        before, after = _named_attributes(one), _named_attributes(other)
        quoted = shlex.quote(path)
        for name in sorted(before.keys() | after.keys()):
            old, new = before.get(name, ""), after.get(name, "")
            if old == new:
                continue
            mend = f"setfattr -n {name} -v 0x{old} {quoted}"
            if not old:
                mend = f"setfattr -x {name} {quoted}"
            if name == CAPABILITY:
                # Every EL has setcap; setfattr comes with a package of its own.
                word = shlex.quote(capabilities(old)) if old else "-r"
                mend = f"setcap {word} {quoted}"
                yield self._drift("capability", path, capabilities(old) if old else "none",
                                  capabilities(new) if new else "none", mend)  # fmt: skip
            else:
                yield self._drift("attribute", path, f"{name} {old or 'not there'}",
                                  f"{name} {new or 'not there'}", mend)  # fmt: skip

    def _drift(self, kind: str, path: str, expected: str, seen: str, restore: str) -> Drift:
        return Drift(kind, path, expected, seen, restore, self._owners().get(path, ""))

    def _owners(self) -> dict[str, str]:
        """The package of every path that one owns."""
        if self._owner is None:
            self._owner = {
                path: package.name
                for package in self.image.packages.values()
                for path in package.paths
            }
        return self._owner

    def _bring(self, path: str, one: Entry) -> str:
        """The command that brings a path back as the image has it."""
        quoted = shlex.quote(path)
        if one.type == "l":
            return f"ln -sfn {shlex.quote(one.holds)} {quoted}"
        own = f" && chown {one.uid}:{one.gid} {quoted} && chmod {one.permissions} {quoted}"
        if one.type in "cbp":
            numbers = " ".join(["", *one.holds.split(":")]) if one.type != "p" else ""
            return f"mknod {quoted} {one.type}{numbers}{own}"
        archive = next((a.name for a in self.image.manifest.artefacts if a.format == "tar"), None)
        if archive is not None:
            inside = shlex.quote("." + path)
            return (
                "tar --extract --numeric-owner --preserve-permissions --xattrs"
                f" --xattrs-include='*' --directory / --file {archive.rpartition('/')[2]} {inside}"
            )
        package = self._owners().get(path)
        if package:
            return f"dnf reinstall -y {shlex.quote(package)}"
        if one.type == "d":
            return f"mkdir -p {quoted}{own}"
        return f"copy {quoted} from the image{own}"


def _access(entry: Entry) -> tuple[str, int, int, int, str]:
    return entry.type, entry.mode, entry.uid, entry.gid, entry.xattrs


def _named_attributes(entry: Entry) -> dict[str, str]:
    pairs: Iterable[tuple[str, str, str]] = (
        one.partition("=") for one in entry.xattrs.split(",") if "=" in one
    )
    return {name: value for name, _, value in pairs}


def _type(entry: Entry) -> str:
    word = TYPES[entry.type]
    return f"{word} to {entry.holds}" if entry.type == "l" else word


def _parents(path: str) -> set[str]:
    found = set()
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        found.add(path)
    return found - {"/"}

"""Reads what a SCAP data stream knows: its benchmarks, their profiles and rules.

The file is read piece by piece: a document type is refused before it can do anything, nothing is
looked up elsewhere, and size and depth are bounded. Evaluating is OpenSCAP's work, never ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers.expat import ExpatError

from provision.core import plainxml
from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.problems import HoldfastError, Position, Problem, fail

MAX_BYTES = 512 * 1024 * 1024
"""Largest data stream that is read; those of whole distributions have about 30 MB."""
MAX_DEPTH = 200
RULE = "xccdf_org.ssgproject.content_rule_"
"""What stands before a rule's id in the content that distributions ship."""

_XCCDF = "{http://checklists.nist.gov/xccdf/1.2}"
_CHECKS = (
    "http://oval.mitre.org/XMLSchema/oval-definitions-5",
    "http://open-scap.org/page/SCE",
)
"""The check systems that OpenSCAP can run."""


def short(rule: str) -> str:
    """A rule's id without the prefix that all of them have."""
    return rule.removeprefix(RULE)


@dataclass(frozen=True)
class ScapRule:
    """A rule: whether OpenSCAP can check it, and the groups that it lies in."""

    id: str
    title: str
    checked: bool
    selected: bool
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScapProfile:
    """A profile: what it selects, in the order in which it says so."""

    id: str
    title: str
    extends: str | None
    selects: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True)
class ScapBenchmark:
    """One benchmark of a data stream."""

    id: str
    version: str
    rules: Mapping[str, ScapRule] = field(default_factory=dict, repr=False)
    profiles: Mapping[str, ScapProfile] = field(default_factory=dict, repr=False)
    groups: Mapping[str, bool] = field(default_factory=dict, repr=False)

    def selected(self, profile: str) -> tuple[ScapRule, ...]:
        """The rules that `profile` evaluates, in the benchmark's order.

        Raises:
            KeyError: there is no such profile.
        """
        on = {rule.id: rule.selected for rule in self.rules.values()} | dict(self.groups)
        for one in self._chain(profile):
            on.update(one.selects)
        return tuple(
            rule
            for rule in self.rules.values()
            if on[rule.id] and all(on.get(group, True) for group in rule.groups)
        )

    def _chain(self, profile: str) -> list[ScapProfile]:
        """A profile and those that it extends, the first one extended by all."""
        found: list[ScapProfile] = []
        name: str | None = profile
        while name is not None and all(p.id != name for p in found):
            found.insert(0, self.profiles[name])
            name = found[0].extends
        return found


@dataclass(frozen=True)
class DataStream:
    """A SCAP data stream, or a benchmark that stands alone."""

    path: Path
    benchmarks: tuple[ScapBenchmark, ...]

    def with_profile(self, profile: str) -> ScapBenchmark:
        """The benchmark that has `profile`.

        Raises:
            HoldfastError: none has (exit code 2).
        """
        for benchmark in self.benchmarks:
            if profile in benchmark.profiles:
                return benchmark
        known = [name for benchmark in self.benchmarks for name in benchmark.profiles]
        raise fail(
            "unknown-scap-profile",
            f"the data stream has no profile {profile!r}",
            hint=suggest(profile, known),
            where=str(self.path),
            exit_code=ExitCode.USAGE,
        )


def read_datastream(path: Path) -> DataStream:
    """Read a data stream.

    Raises:
        HoldfastError: it cannot be read, or is none (exit code 2).
    """
    reader = _Reader(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _no(path, "too-large", f"larger than {MAX_BYTES} bytes")
        plainxml.read(path, reader)
    except OSError as error:
        raise _no(path, "unreadable-file", f"cannot be read: {error.strerror}") from None
    except plainxml.NotPlain as error:
        raise HoldfastError([_not_plain(path, error)], ExitCode.USAGE) from None
    if not reader.benchmarks:
        raise _no(path, "not-a-datastream", "it holds no XCCDF 1.2 benchmark")
    return DataStream(path, tuple(reader.benchmarks))


def _not_plain(path: Path, error: plainxml.NotPlain) -> Problem:
    cause = error.__cause__
    line, column = 1, 1
    if isinstance(cause, ExpatError):
        line, column = cause.lineno, cause.offset + 1
    return Problem("not-a-datastream", str(error), Position(str(path), line, column))


def _no(path: Path, code: str, message: str) -> HoldfastError:
    hint = "a data stream such as ssg-rhel10-ds.xml, from the package scap-security-guide"
    return fail(code, message, hint=hint, where=str(path), exit_code=ExitCode.USAGE)


class _Reader:
    """Takes the elements of one file. Everything outside of benchmarks is passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.benchmarks: list[ScapBenchmark] = []
        self.depth = 0
        self.inside: list[str] = []
        self.benchmark: dict[str, str] | None = None
        self.rules: dict[str, ScapRule] = {}
        self.profiles: dict[str, ScapProfile] = {}
        self.groups: dict[str, bool] = {}
        self.open_groups: list[str] = []
        self.rule: dict[str, str] | None = None
        self.profile: dict[str, str] | None = None
        self.selects: list[tuple[str, bool]] = []
        self.checked = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _no(self.path, "too-deep", f"nested deeper than {MAX_DEPTH} elements")
        if not tag.startswith(_XCCDF):
            return
        name = tag[len(_XCCDF) :]
        if name == "Benchmark" or self.benchmark is not None:
            self.inside.append(name)
            begin = getattr(self, f"_begin_{name.lower()}", None)
            if begin is not None:
                begin(attributes)

    def end(self, tag: str, text: str) -> None:
        """An element ends."""
        self.depth -= 1
        if not tag.startswith(_XCCDF) or self.benchmark is None:
            return
        name = self.inside.pop()
        if name == "title":
            self._title(" ".join(text.split()))
        elif name == "version" and self.inside == ["Benchmark"]:
            self.benchmark["version"] = text.strip()
        finish = getattr(self, f"_finish_{name.lower()}", None)
        if finish is not None:
            finish()

    def _begin_benchmark(self, attributes: dict[str, str]) -> None:
        self.benchmark = {"id": attributes.get("id", ""), "version": ""}
        self.rules, self.profiles, self.groups = {}, {}, {}

    def _finish_benchmark(self) -> None:
        assert self.benchmark is not None
        self.benchmarks.append(
            ScapBenchmark(
                self.benchmark["id"],
                self.benchmark["version"],
                self.rules,
                self.profiles,
                self.groups,
            )
        )
        self.benchmark = None

    def _begin_group(self, attributes: dict[str, str]) -> None:
        self.open_groups.append(attributes.get("id", ""))
        self.groups[self.open_groups[-1]] = attributes.get("selected", "true") in _TRUE

    def _finish_group(self) -> None:
        self.open_groups.pop()

    def _begin_profile(self, attributes: dict[str, str]) -> None:
        self.profile = {**attributes, "title": ""}
        self.selects = []

    def _finish_profile(self) -> None:
        assert self.profile is not None
        given = self.profile
        found = ScapProfile(
            given.get("id", ""), given["title"], given.get("extends"), tuple(self.selects)
        )
        self.profiles[found.id] = found
        self.profile = None

    def _begin_select(self, attributes: dict[str, str]) -> None:
        if self.profile is not None:
            on = attributes.get("selected", "true") in _TRUE
            self.selects.append((attributes.get("idref", ""), on))

    def _begin_rule(self, attributes: dict[str, str]) -> None:
        self.rule, self.checked = {**attributes, "title": ""}, False

    def _finish_rule(self) -> None:
        assert self.rule is not None
        given = self.rule
        unchecked = given.get("role") == "unchecked"
        found = ScapRule(
            given.get("id", ""),
            given["title"],
            self.checked and not unchecked,
            given.get("selected", "true") in _TRUE,
            tuple(self.open_groups),
        )
        self.rules[found.id] = found
        self.rule = None

    def _begin_check(self, attributes: dict[str, str]) -> None:
        if self.rule is not None and attributes.get("system") in _CHECKS:
            self.checked = True

    def _title(self, text: str) -> None:
        if self.inside[-1:] == ["Rule"] and self.rule is not None:
            self.rule["title"] = text
        elif self.inside[-1:] == ["Profile"] and self.profile is not None:
            self.profile["title"] = text


_TRUE = ("true", "1")

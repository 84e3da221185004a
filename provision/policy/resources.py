"""Desired state as typed resources: what a control wants of a node.

A type here has a file of the same name in the node's module, which reads, compares, writes and
undoes it. `wants` says of which thing the resource wants which value, so that two controls that
want different things are found before a node is touched.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from provision.core.judging import refuse
from provision.core.shapes import Listing, Model, Some
from provision.core.yamlpos import shown

Release = Literal["el9", "el10"]
RELEASES: tuple[Release, ...] = ("el10", "el9")

Want = tuple[tuple[str, ...], str]
"""A thing, by its type and names, and the value that it shall have."""

_MODE = re.compile(r"0[0-7]{3,4}")
_UNIT = re.compile(r"[A-Za-z0-9:_.@-]+\.(?:service|socket|timer|mount|path|target)")
_WORD = re.compile(r"\S+")
_FILE = re.compile(r"/\S(?:.*\S)?")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+:@-]*")
_KERNEL = re.compile(r"[A-Za-z0-9_][\w:@-]*(?:[./][\w:@-]+)*", re.ASCII)
_REPEAT = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]"
    r"|(?P<group>\)(?:[*+]|\{\d*,?\d*\}))|(?P<one>[*+]|\{\d*,\d*\})",
    re.DOTALL,
)
"""Repeats in a regular expression; what is escaped, or in a class, is none."""
_REPEATS = 4
"""So many may be in one: with each, what one line takes is multiplied by the line's length."""
_NOWHERE = ("/proc/", "/sys/", "/dev/", "/run/")
"""What is written there is gone at the next start, or was no file."""


def _scalar(value: Any) -> Any:
    # A number is what people write for `value: 0`; true and false would lose how they are spelt.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _mode(value: str) -> str:
    if not _MODE.fullmatch(value):
        raise refuse("bad-mode", f"{shown(value)} is not a mode", "in quotes, as in '0600'")
    return value


def _path(value: str) -> str:
    if not _FILE.fullmatch(value) or "\n" in value or "//" in value or "/../" in value + "/":
        raise refuse("bad-path", f"{shown(value)} is not an absolute path")
    return value


def _plain_path(value: str) -> str:
    if any(c in value for c in "*?["):
        raise refuse("bad-path", f"{shown(value)} holds a pattern; this names one file")
    return _path(value)


def _kept(value: str) -> str:
    if value.startswith(_NOWHERE):
        raise refuse("bad-path", f"{shown(value)} is in a folder whose files do not last")
    return value


def _name(value: str) -> str:
    # A leading dash would be an option of the program that gets it, a slash a way out of a folder.
    if not _NAME.fullmatch(value):
        raise refuse("bad-word", f"{shown(value)} is not a name")
    return value


def _kernel(value: str) -> str:
    if not _KERNEL.fullmatch(value):
        hint = "as in net.ipv4.conf.all.log_martians"
        raise refuse("bad-word", f"{shown(value)} is not the name of a setting", hint)
    return value


def _unit(value: str) -> str:
    if not _UNIT.fullmatch(value):
        hint = "with its suffix, as in sshd.service"
        raise refuse("bad-unit", f"{shown(value)} is not a unit's name", hint)
    return value


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise refuse("bad-word", f"{shown(value)} is not one word")
    return value


def _one_line(value: str) -> str:
    if "\n" in value or "\r" in value or "\0" in value:
        raise refuse("bad-line", "this is more than one line")
    return value


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        message = f"{shown(value)} is not a regular expression: {error}"
        raise refuse("bad-pattern", message) from None
    repeats = [found.lastgroup for found in _REPEAT.finditer(value)]
    if "group" in repeats:
        message = f"{shown(value)} repeats a group, which may take for ever on one line"
        hint = "repeat characters: `[a-z,]+` where you would write `([a-z]+,)+`"
        raise refuse("bad-pattern", message, hint)
    if repeats.count("one") > _REPEATS:
        message = f"{shown(value)} has more than {_REPEATS} repeats, which may take for ever"
        raise refuse("bad-pattern", message, "say no more of the line than what tells it")
    return value


Scalar = Annotated[
    str,
    BeforeValidator(_scalar),
    AfterValidator(_one_line),
    WithJsonSchema({"type": ["string", "integer"]}),
]
"""Text or a whole number; kept as text."""
Word = Annotated[str, AfterValidator(_word), Field(json_schema_extra={"pattern": r"^\S+$"})]
Name = Annotated[
    str,
    AfterValidator(_word),
    AfterValidator(_name),
    Field(json_schema_extra={"pattern": "^" + _NAME.pattern + "$"}),
]
Line = Annotated[str, AfterValidator(_one_line), Field(min_length=1)]
Pattern = Annotated[str, AfterValidator(_regex), Field(min_length=1)]
Mode = Annotated[str, AfterValidator(_mode), Field(json_schema_extra={"pattern": "^0[0-7]{3,4}$"})]
File = Annotated[
    str, AfterValidator(_plain_path), Field(json_schema_extra={"pattern": r"^/[^*?\[]+$"})
]
Kept = Annotated[File, AfterValidator(_kept)]
Glob = Annotated[str, AfterValidator(_path), Field(json_schema_extra={"pattern": "^/"})]
Unit = Annotated[
    str, AfterValidator(_unit), Field(json_schema_extra={"pattern": "^" + _UNIT.pattern + "$"})
]
Presence = Literal["present", "absent"]
_MADE = "Of a file that has to be made."
_RELOAD = "The unit that is told, after all writes, that this changed."


class Resource(Model, ABC):
    """What every resource may say: in which releases and profiles it is wanted; else in all."""

    type: str
    releases: Listing[Release] = Field(
        default=(), description="Only in these releases; in all of the control's when absent."
    )
    profiles: Listing[Word] = Field(
        default=(), description="Only in these profiles; in all of the control's when absent."
    )

    @abstractmethod
    def wants(self) -> Iterator[Want]:
        """Each thing that this resource decides, with the value that it wants."""

    @abstractmethod
    def words(self) -> str:
        """The resource in one line, for a person."""


class Sysctl(Resource):
    """A kernel setting, at once and after each boot."""

    type: Literal["sysctl"]
    name: Annotated[Word, AfterValidator(_kernel)] = Field(
        examples=["net.ipv4.conf.all.accept_redirects"]
    )
    value: Scalar

    def wants(self) -> Iterator[Want]:
        """Its value."""
        yield ("sysctl", self.name.replace("/", ".")), " ".join(self.value.split())

    def words(self) -> str:
        """As in a sysctl file."""
        return f"sysctl {self.name} = {self.value}"


class Sshd(Resource):
    """An option of the SSH server."""

    type: Literal["sshd"]
    option: Word = Field(examples=["PermitRootLogin"])
    value: Scalar
    main: Line | None = Field(
        default=None,
        description="What /etc/ssh/sshd_config says too, where some look only; ours holds.",
    )

    def wants(self) -> Iterator[Want]:
        """Its value; options are the same in any case."""
        yield ("sshd", self.option.lower()), self.value

    def words(self) -> str:
        """As in its configuration."""
        return f"sshd {self.option} {self.value}"


class Setting(Resource):
    """A key in a configuration file of somebody else."""

    type: Literal["setting"]
    path: Kept
    key: Line
    value: Scalar | None = None
    section: Line | None = None
    style: Literal["ini", "equals", "bare_equals", "space", "flag"] = "equals"
    state: Presence = "present"
    owner: Word | None = Field(default=None, description=_MADE)
    group: Word | None = Field(default=None, description=_MADE)
    mode: Mode | None = Field(default=None, description=_MADE)
    reload: Unit | None = Field(default=None, description=_RELOAD)

    @model_validator(mode="after")
    def _whole(self) -> Setting:
        if self.style == "ini" and self.section is None:
            raise refuse("bad-setting", "style ini has sections", "add `section:`")
        if self.style not in ("ini", "bare_equals") and self.section is not None:
            raise refuse("bad-setting", f"style {self.style} has no sections")
        if self.style == "flag" and self.value is not None:
            raise refuse("bad-setting", "style flag takes no value", "the key stands alone")
        if self.state == "present" and self.style != "flag" and self.value is None:
            raise refuse("bad-setting", "a setting that is present has a value", "add `value:`")
        return self

    def wants(self) -> Iterator[Want]:
        """The key's value, or its absence."""
        value = "" if self.value is None else f"={self.value}"
        key = ("setting", self.path, self.section or "", self.key)
        yield key, "absent" if self.state == "absent" else f"present{value}"

    def words(self) -> str:
        """Where, and as it stands there."""
        where = f"{self.path} [{self.section}]" if self.section else self.path
        if self.state == "absent":
            return f"{where}: no {self.key}"
        between = {"ini": " = ", "equals": " = ", "bare_equals": "="}.get(self.style, " ")
        return f"{where}: {self.key}{between}{self.value or ''}".rstrip()


class LineOf(Resource):
    """One whole line of a file; `match` finds the lines that it replaces."""

    type: Literal["line"]
    path: Kept
    line: Line | None = None
    match: Pattern | None = Field(
        default=None,
        description="A regular expression of the lines that it replaces: at most four repeats, none"
        " of a group.",
    )
    state: Presence = "present"
    owner: Word | None = Field(default=None, description=_MADE)
    group: Word | None = Field(default=None, description=_MADE)
    mode: Mode | None = Field(default=None, description=_MADE)
    reload: Unit | None = Field(default=None, description=_RELOAD)

    @model_validator(mode="after")
    def _whole(self) -> LineOf:
        if self.state == "present" and self.line is None:
            raise refuse("bad-line", "a line that is present has a `line`", "add `line:`")
        if self.line is None and self.match is None:
            raise refuse("bad-line", "nothing says which line", "add `line:` or `match:`")
        fits = self.line is None or self.match is None or re.search(self.match, self.line)
        if not fits:
            # The module would replace its own line in every run.
            raise refuse("bad-pattern", "`match` does not find the line that it puts there")
        return self

    def wants(self) -> Iterator[Want]:
        """The line in place of what `match` finds."""
        value = self.line or ""
        yield ("line", self.path, self.match or value), f"{self.state} {value}"

    def words(self) -> str:
        """Where, and the line."""
        if self.state == "absent":
            return f"{self.path}: no line {self.line or self.match}"
        return f"{self.path}: {self.line}"


class Content(Resource):
    """A file that is wholly ours."""

    type: Literal["content"]
    path: Kept
    text: str
    owner: Word = "root"
    group: Word = "root"
    mode: Mode = "0644"
    reload: Unit | None = Field(default=None, description=_RELOAD)

    def wants(self) -> Iterator[Want]:
        """Its text, owner, group and mode."""
        yield ("content", self.path), self.text
        yield ("owner", self.path), self.owner
        yield ("group", self.path), self.group
        yield ("mode", self.path), self.mode

    def words(self) -> str:
        """Where, and how much."""
        lines = len(self.text.splitlines())
        return f"{self.path}: {lines} line{'' if lines == 1 else 's'} of ours, {self.mode}"


class FileOf(Resource):
    """Owner, group and most permissive mode of files that exist, or that files are absent."""

    type: Literal["file"]
    path: Glob
    owner: Word | None = None
    group: Word | None = None
    mode: Mode | None = Field(default=None, description="The most that the mode may give.")
    state: Presence = "present"
    recurse: bool = False
    kind: Literal["file", "dir", "any"] = Field(
        default="any", description="Which of the things that `path` finds are meant."
    )

    @model_validator(mode="after")
    def _whole(self) -> FileOf:
        given = (self.owner, self.group, self.mode)
        if self.state == "present" and given == (None, None, None):
            raise refuse("bad-file", "nothing is wanted of this file", "add `owner:` or `mode:`")
        if self.state == "absent" and given != (None, None, None):
            raise refuse("bad-file", "what is absent has no owner, group or mode")
        return self

    def wants(self) -> Iterator[Want]:
        """Owner, group and mode, each for itself."""
        suffix = (self.kind,) if self.recurse or self.kind != "any" else ()
        for what in ("owner", "group", "mode"):
            value = getattr(self, what)
            if value is not None:
                yield (what, self.path, *suffix), value
        yield ("exists", self.path, *suffix), self.state

    def words(self) -> str:
        """Where, and what is wanted."""
        if self.state == "absent":
            return f"{self.path}: absent"
        owner = ":".join(filter(None, (self.owner or "", self.group or "")))
        mode = f"at most {self.mode}" if self.mode else ""
        below = " and below" if self.recurse else ""
        return f"{self.path}{below}: {', '.join(filter(None, (owner, mode)))}"


class Package(Resource):
    """A package that is installed or is not."""

    type: Literal["package"]
    name: Name
    state: Presence = "present"

    def wants(self) -> Iterator[Want]:
        """Its state."""
        yield ("package", self.name), self.state

    def words(self) -> str:
        """Name and state."""
        return f"package {self.name} {'installed' if self.state == 'present' else 'absent'}"


class Service(Resource):
    """A unit; enabled means that it also runs."""

    type: Literal["service"]
    name: Unit
    state: Literal["enabled", "disabled", "masked", "started"]

    def wants(self) -> Iterator[Want]:
        """Its state."""
        yield ("service", self.name), self.state

    def words(self) -> str:
        """Name and state."""
        return f"{self.name} {self.state}"


class Module(Resource):
    """A kernel module that cannot be loaded."""

    type: Literal["module"]
    name: Word

    def wants(self) -> Iterator[Want]:
        """That it cannot be loaded."""
        yield ("module", self.name.replace("-", "_")), "disabled"

    def words(self) -> str:
        """Name and state."""
        return f"kernel module {self.name} disabled"


class Mount(Resource):
    """Options of a mount point; where there is none, there is nothing to do."""

    type: Literal["mount"]
    path: File
    options: Some[Word]

    def wants(self) -> Iterator[Want]:
        """Each option; `exec` and `noexec` are two values of one thing."""
        for option in self.options:
            name, _, value = option.partition("=")
            thing = name.removeprefix("no")
            yield ("mount", self.path, thing), value or ("no" if name != thing else "yes")

    def words(self) -> str:
        """Where, and the options."""
        return f"mount {self.path} with {', '.join(self.options)}"


class AuditRule(Resource):
    """Rules of the audit daemon, in a file of their own; `{arch}` stands for b64 and b32."""

    type: Literal["audit_rule"]
    key: Word
    rules: Some[Line]

    @model_validator(mode="after")
    def _whole(self) -> AuditRule:
        for rule in self.rules:
            if not rule.startswith("-"):
                raise refuse("bad-rule", f"{shown(rule)} is not a rule", "as for auditctl")
        if "/" in self.key:
            raise refuse("bad-word", f"{shown(self.key)} becomes a file's name")
        return self

    def wants(self) -> Iterator[Want]:
        """The whole file."""
        yield ("audit_rule", self.key), "\n".join(self.rules)

    def words(self) -> str:
        """The key, and how many rules."""
        return f"audit rules {self.key}: " + "; ".join(self.rules)


class PamArguments(Model):
    """Arguments of a PAM module's line."""

    present: dict[Word, Scalar | None] = Field(
        default={}, description="Arguments that it has; null for one without a value."
    )
    absent: Listing[Word] = Field(default=(), description="Arguments that it has not.")


class Pam(Resource):
    """A module's line in the PAM stack, and its arguments."""

    type: Literal["pam"]
    service: Some[Name] = Field(examples=[["system-auth", "password-auth"]])
    facility: Literal["auth", "account", "password", "session"]
    module: Word = Field(examples=["pam_faillock.so"])
    control: Line | None = Field(default=None, examples=["required"])
    args: PamArguments = PamArguments()
    after: Word | None = Field(default=None, description="The module that a new line follows.")
    before: Word | None = Field(default=None, description="The module that follows a new line.")
    state: Presence = "present"

    @model_validator(mode="after")
    def _whole(self) -> Pam:
        both = set(self.args.present) & set(self.args.absent)
        if both:
            raise refuse("bad-pam", f"{shown(min(both))} is both present and absent")
        if self.after is not None and self.before is not None:
            raise refuse("bad-pam", "`after` and `before` exclude each other")
        return self

    def wants(self) -> Iterator[Want]:
        """The line's control field and each argument."""
        for service in self.service:
            line = ("pam", service, self.facility, self.module)
            yield line, self.state
            if self.control is not None:
                yield (*line, "control"), self.control
            for name, value in self.args.present.items():
                yield (*line, name), f"={value}" if value is not None else "present"
            for name in self.args.absent:
                yield (*line, name), "absent"

    def words(self) -> str:
        """The line as in a PAM file."""
        given = [n if v is None else f"{n}={v}" for n, v in self.args.present.items()]
        given += [f"(no {name})" for name in self.args.absent]
        line = " ".join([self.facility, *filter(None, [self.control]), self.module, *given])
        state = "no " if self.state == "absent" else ""
        return f"pam {','.join(self.service)}: {state}{line}"


class Authselect(Resource):
    """Features of the current authselect profile."""

    type: Literal["authselect"]
    features: Listing[Name] = ()
    profile: Word | None = Field(
        default=None, description="Selected where none is; a selected one stays."
    )

    @model_validator(mode="after")
    def _something(self) -> Authselect:
        if self.profile is None and not self.features:
            raise refuse("bad-authselect", "neither a profile nor a feature is wanted")
        return self

    def wants(self) -> Iterator[Want]:
        """The profile and each feature."""
        if self.profile is not None:
            yield ("authselect",), self.profile
        for feature in self.features:
            yield ("authselect", feature), "enabled"

    def words(self) -> str:
        """The features."""
        features = f" with {', '.join(self.features)}" if self.features else ""
        return f"authselect {self.profile or '(profile as it is)'}{features}"


class CryptoPolicy(Resource):
    """The system's crypto policy; modules of several controls add up."""

    type: Literal["crypto_policy"]
    policy: Name | None = None
    modules: Listing[Name] = ()

    @model_validator(mode="after")
    def _whole(self) -> CryptoPolicy:
        if self.policy is None and not self.modules:
            raise refuse("bad-policy", "neither a policy nor a module is wanted")
        return self

    def wants(self) -> Iterator[Want]:
        """The policy, and each module."""
        if self.policy is not None:
            yield ("crypto_policy",), self.policy
        for module in self.modules:
            yield ("crypto_policy", module), "present"

    def words(self) -> str:
        """As `update-crypto-policies --set` takes it."""
        return "crypto policy " + ":".join([self.policy or "(as it is)", *self.modules])


class KernelArgument(Resource):
    """An argument of every installed kernel."""

    type: Literal["kernel_argument"]
    name: Name
    value: Annotated[Scalar, AfterValidator(_word)] | None = None
    state: Presence = "present"

    def wants(self) -> Iterator[Want]:
        """Its value."""
        value = "absent" if self.state == "absent" else f"={self.value}"
        yield ("kernel_argument", self.name), value

    def words(self) -> str:
        """As on the kernel's command line."""
        value = "" if self.value is None else f"={self.value}"
        return f"kernel argument {self.name}{value}" + (" absent" if self.state == "absent" else "")


class Account(Resource):
    """Something that holds for each existing account that it concerns."""

    type: Literal["account"]
    what: Literal[
        "password_max_days",
        "password_warn_days",
        "inactive_days",
        "min_days",
        "lock_empty",
        "nologin_system",
        "lock_system",
        "home_mode",
        "home_owner",
        "home_group",
        "dotfile_mode",
        "dotfile_owner",
        "dotfile_group",
        "root_group",
    ]
    value: Scalar | None = None

    def wants(self) -> Iterator[Want]:
        """Its value."""
        yield ("account", self.what), self.value or ""

    def words(self) -> str:
        """What, and its value."""
        return f"accounts: {self.what.replace('_', ' ')} {self.value or ''}".rstrip()


class Selinux(Resource):
    """SELinux's mode and policy."""

    type: Literal["selinux"]
    state: Literal["enforcing", "permissive"] | None = None
    policy: Word | None = None

    @model_validator(mode="after")
    def _whole(self) -> Selinux:
        if self.state is None and self.policy is None:
            raise refuse("bad-selinux", "neither a state nor a policy is wanted")
        return self

    def wants(self) -> Iterator[Want]:
        """Mode and policy, each for itself."""
        for what in ("state", "policy"):
            value = getattr(self, what)
            if value is not None:
                yield ("selinux", what), value

    def words(self) -> str:
        """Mode and policy."""
        return "SELinux " + ", policy ".join(filter(None, (self.state or "", self.policy or "")))


class Umask(Resource):
    """The umask of every login."""

    type: Literal["umask"]
    value: Mode

    def wants(self) -> Iterator[Want]:
        """Its value."""
        yield ("umask",), self.value

    def words(self) -> str:
        """Its value."""
        return f"umask {self.value}"


class Group(Resource):
    """A group that exists, and has exactly these members."""

    type: Literal["group"]
    name: Name
    members: Listing[Name] = ()

    def wants(self) -> Iterator[Want]:
        """Its members."""
        yield ("group", self.name), ",".join(sorted(self.members))

    def words(self) -> str:
        """Name and members."""
        return f"group {self.name} with {', '.join(self.members) or 'nobody'}"


class AideDatabase(Resource):
    """A first database of AIDE, where there is none."""

    type: Literal["aide_database"]

    def wants(self) -> Iterator[Want]:
        """That there is one."""
        yield ("aide_database",), "present"

    def words(self) -> str:
        """What there is."""
        return "a database of AIDE"


class Sweep(Resource):
    """One walk over the local file systems, which takes away what nothing needs."""

    type: Literal["sweep"]
    what: Literal["sticky", "no_world_write"]
    below: Some[File] = ("/",)
    exclude: Listing[Glob] = ()

    def wants(self) -> Iterator[Want]:
        """What is done; where, two of them may differ."""
        yield ("sweep", self.what, *self.below), "done"

    def words(self) -> str:
        """What is done, and where."""
        what = {
            "sticky": "sticky bit on directories that all may write",
            "no_world_write": "no file that all may write",
        }[self.what]
        return f"{what}, below {', '.join(self.below)}"


class AuditPrivileged(Resource):
    """A rule of the audit daemon for each program on the node that runs as somebody else."""

    type: Literal["audit_privileged"]
    key: Word

    @model_validator(mode="after")
    def _file(self) -> AuditPrivileged:
        if "/" in self.key:
            raise refuse("bad-word", f"{shown(self.key)} becomes a file's name")
        return self

    def wants(self) -> Iterator[Want]:
        """The whole file."""
        yield ("audit_rule", self.key), "each program that runs as somebody else"

    def words(self) -> str:
        """The key, and for what."""
        return f"audit rules {self.key}: one for each set-user-id and set-group-id program"


class DefaultTarget(Resource):
    """What the system starts into."""

    type: Literal["default_target"]
    name: Unit

    def wants(self) -> Iterator[Want]:
        """Its name."""
        yield ("default_target",), self.name

    def words(self) -> str:
        """Its name."""
        return f"starts into {self.name}"


class AideGroups(Resource):
    """Attributes that every group in AIDE's configuration has, and some that none has."""

    type: Literal["aide_groups"]
    present: Some[Word] = Field(examples=[["sha512", "acl", "xattrs"]])
    absent: Listing[Word] = ()

    @model_validator(mode="after")
    def _whole(self) -> AideGroups:
        both = set(self.present) & set(self.absent)
        if both:
            raise refuse("bad-groups", f"{shown(min(both))} is both present and absent")
        return self

    def wants(self) -> Iterator[Want]:
        """Each attribute."""
        for name in self.present:
            yield ("aide_groups", name), "present"
        for name in self.absent:
            yield ("aide_groups", name), "absent"

    def words(self) -> str:
        """The attributes."""
        without = f", not {', '.join(self.absent)}" if self.absent else ""
        return f"AIDE compares {', '.join(self.present)}{without}"


AnyResource = Annotated[
    Sysctl
    | Sshd
    | Setting
    | LineOf
    | Content
    | FileOf
    | Package
    | Service
    | Module
    | Mount
    | AuditRule
    | Pam
    | Authselect
    | CryptoPolicy
    | KernelArgument
    | Account
    | Selinux
    | Umask
    | Group
    | AideDatabase
    | Sweep
    | AuditPrivileged
    | DefaultTarget
    | AideGroups,
    Field(discriminator="type"),
]
"""One resource of any type."""

TYPES: tuple[str, ...] = (
    "sysctl",
    "sshd",
    "setting",
    "line",
    "content",
    "file",
    "package",
    "service",
    "module",
    "mount",
    "audit_rule",
    "pam",
    "authselect",
    "crypto_policy",
    "kernel_argument",
    "account",
    "selinux",
    "umask",
    "group",
    "aide_database",
    "sweep",
    "audit_privileged",
    "default_target",
    "aide_groups",
)
"""The names of all types."""

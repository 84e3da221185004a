"""Judges the audit rules that the kernel holds, in whatever form it lists them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from provision.checks.declare import Looker
from provision.checks.hardened.outcome import Resource, Waits

AREA = "hardening"
UNSET = ("unset", "-1", "4294967295")
WORDS = {"enabled": "-e", "failure": "-f", "backlog_limit": "-b"}
"""Lines of `auditctl -s` and the option of a rules file that sets each."""
NOT_ON_ARM = frozenset(
    [
        "access",
        "alarm",
        "chmod",
        "chown",
        "creat",
        "dup2",
        "epoll_create",
        "epoll_wait",
        "eventfd",
        "fork",
        "futimesat",
        "getdents",
        "getpgrp",
        "inotify_init",
        "lchown",
        "link",
        "lstat",
        "mkdir",
        "mknod",
        "open",
        "pause",
        "pipe",
        "poll",
        "readlink",
        "rename",
        "renameat",
        "rmdir",
        "select",
        "signalfd",
        "stat",
        "symlink",
        "time",
        "unlink",
        "ustat",
        "utime",
        "utimes",
        "vfork",
        "umount",
    ]
)
"""System calls of the old table, which 64-bit ARM never had."""


@dataclass(frozen=True)
class Rule:
    """A rule for comparing: action and list in any order, conditions, and system calls."""

    where: frozenset[str]
    fields: frozenset[str]
    calls: frozenset[str]


def parse(text: str) -> Rule | None:
    """A rule of a file or of `auditctl -l`; None for a line that is an option."""
    words = text.split()
    where: frozenset[str] = frozenset()
    fields: set[str] = set()
    calls: set[str] = set()
    for flag, value in pairwise(words):
        if flag in ("-a", "-A"):
            where = frozenset(value.split(","))
        elif flag == "-w":
            where = frozenset({"always", "exit"})
            fields |= {f"path={value.rstrip('/')}"}
        elif flag == "-p":
            fields.add("perm=" + "".join(sorted(value)))
        elif flag in ("-F", "-C"):
            fields.add(_field(value))
        elif flag == "-S":
            calls |= set(value.split(","))
        elif flag == "-k":
            fields.add(f"key={value}")
    return Rule(where, frozenset(fields), frozenset(calls - {"all"})) if where else None


def _field(text: str) -> str:
    for sign in ("!=", ">=", "<=", "&=", "=", ">", "<", "&"):
        name, found, value = text.partition(sign)
        if not found:
            continue
        if name in ("auid", "uid", "ses") and value in UNSET:
            value = "unset"
        if name == "perm":
            value = "".join(sorted(value))
        if name in ("path", "dir"):
            name, value = "path", value.rstrip("/")
        if value.startswith("0x"):
            value = str(int(value, 16))
        if sign in ("=", "!=") and name.endswith("uid") and value.endswith("uid"):
            name, value = sorted((name, value))  # a comparison has no sides
        return name + sign + value
    return text


def expanded(rules: list[str], machine: str) -> list[str]:
    """Rules for both word sizes where they say so."""
    found = [
        rule.replace("{arch}", arch)
        for rule in rules
        for arch in (("b32", "b64") if "{arch}" in rule else ("",))
    ]
    return [rule for rule in found if not _empty(rule, machine)]


def _empty(rule: str, machine: str) -> bool:
    read = parse(rule)
    if machine != "aarch64" or read is None or "arch=b64" not in read.fields or not read.calls:
        return False
    return not read.calls - NOT_ON_ARM


def lacking(text: str, loaded: list[Rule], machine: str) -> bool:
    """Whether no rules of the kernel together do what one rule wants."""
    wanted = parse(text)
    assert wanted is not None
    calls = wanted.calls
    if machine == "aarch64" and "arch=b64" in wanted.fields:
        calls -= NOT_ON_ARM
    same = [r for r in loaded if (r.where, r.fields) == (wanted.where, wanted.fields)]
    if not same:
        return True
    return bool(calls - frozenset().union(*(rule.calls for rule in same)))


def audit_rule(resource: Resource, look: Looker) -> list[str]:
    """The kernel's own list of rules, and its settings."""
    seen = look(AREA, "audit")
    held, kept = _rules(seen["rules"]), _rules(seen["kept"])
    wrong: list[str] = []
    waiting: list[str] = []
    for rule in expanded(list(resource["rules"]), seen["machine"]):
        if parse(rule) is None:
            wrong += _option(rule, seen["status"])
        elif lacking(rule, held, seen["machine"]):
            locked = seen["status"].get("enabled") == "2"
            later = locked and not lacking(rule, kept, seen["machine"])
            (waiting if later else wrong).append(f"the kernel does not hold {rule!r}")
    if waiting and not wrong:
        raise Waits("; ".join(waiting))
    return wrong + waiting


def _rules(lines: list[str]) -> list[Rule]:
    return [rule for rule in map(parse, lines) if rule is not None]


def _option(rule: str, status: dict[str, str]) -> list[str]:
    words = rule.split()
    if words[0] == "--loginuid-immutable":
        locked = "locked" in status.get("loginuid_immutable", "")
        return [] if locked else ["the login's user id is not immutable"]
    for name, flag in WORDS.items():
        if words[0] == flag:
            seen = status.get(name, "").split(" ")[0]
            return [] if seen == words[1] else [f"audit's {name} is {seen or '?'}, not {words[1]}"]
    return [] if words[0] in ("-D", "-c", "-i") else [f"{rule!r} cannot be judged"]


def audit_privileged(resource: Resource, look: Looker) -> list[str]:
    """A rule in the kernel for each program that runs as somebody else."""
    seen, walk = look(AREA, "audit"), look("hardening_files", "walk")
    held, kept = _programs(_rules(seen["rules"])), _programs(_rules(seen["kept"]))
    bad = sorted(path for path in _privileged(walk) if path not in held)
    if not bad:
        return []
    more = f" and {len(bad) - 6} more" if len(bad) > 6 else ""
    told = f"the kernel holds no rule of {resource['key']} for {', '.join(bad[:6])}{more}"
    if seen["status"].get("enabled") == "2" and kept.issuperset(bad):
        raise Waits(told)
    return [told]


def _programs(rules: list[Rule]) -> set[str]:
    """The programs whose start is recorded."""
    found = set()
    for rule in rules:
        fields = dict(f.partition("=")[::2] for f in rule.fields if "!=" not in f)
        if "path" in fields and "x" in fields.get("perm", ""):
            found.add(fields["path"])
    return found


def _privileged(walk: dict[str, Any]) -> list[str]:
    """Set-id programs on file systems where the bit has an effect."""
    mounts: dict[str, list[str]] = walk["mounts"]
    found = []
    for kind, mode, path in walk["found"]:
        if kind != "f" or not int(mode, 8) & 0o6000:
            continue
        on = max((m for m in mounts if (path + "/").startswith(m.rstrip("/") + "/")), key=len)
        if not {"nosuid", "noexec"} & set(mounts[on]):
            found.append(path)
    return found

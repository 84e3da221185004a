"""Judges who gets in, and how: sshd, PAM, authselect, accounts and groups."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from typing import Any

from provision.checks.declare import CouldNotLook, Looker
from provision.checks.hardened.outcome import NotHere, Resource

AREA = "hardening_access"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SIZES = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
FIRST_PERSON, NOBODY = 1000, 65534
WITHOUT_SHELL = ("nologin", "false", "sync", "shutdown", "halt")
KEPT = ("sync", "shutdown", "halt")
OF_THE_SYSTEM = ("/boot/", "/dev/", "/etc/", "/proc/", "/run/", "/sys/", "/usr/")
OF_VAR = ("cache", "empty", "lib", "log", "run", "spool", "tmp")


def sshd(resource: Resource, look: Looker) -> list[str]:
    """What sshd would do, for anybody and for those whom a Match line names."""
    option, wanted = resource["option"], str(resource["value"]).strip()
    wrong: dict[str, list[str]] = {}
    for one in look(AREA, "sshd"):
        values = one["options"].get(option.lower(), [])
        told = _sshd_wrong(option.lower(), values, wanted)
        if told:
            wrong.setdefault(f"{option} {told}", []).append(one["who"])
    return [f"{told} (for {', '.join(who)})" for told, who in wrong.items()]


def _sshd_wrong(option: str, values: list[str], wanted: str) -> str:
    """What is wrong with an option's values as sshd prints them."""
    if not values:
        return f"is not set, not {wanted}"
    if option in ("denyusers", "allowusers", "denygroups", "allowgroups"):
        has = " ".join(values).split()
        lacking = [name for name in wanted.split() if name not in has]
        return f"lacks {', '.join(lacking)}" if lacking else ""
    seen = values[0]
    names = seen.split(",")
    if wanted[:1] == "-":
        left = [n for n in names for p in wanted[1:].split(",") if fnmatch.fnmatchcase(n, p)]
        return f"still has {', '.join(left)}" if left else ""
    if wanted[:1] == "+":
        lacking = [n for n in wanted[1:].split(",") if n not in names]
        return f"lacks {', '.join(lacking)}" if lacking else ""
    if option in ("ciphers", "macs", "kexalgorithms", "hostkeyalgorithms"):
        wanted = wanted.removeprefix("^")
        more = [n for n in names if n not in wanted.split(",")]
        return f"has {', '.join(more)} too" if more else ""
    if _plain(option, seen) == _plain(option, wanted):
        return ""
    return f"is {seen}, not {wanted}"


def _plain(option: str, value: str) -> tuple[str, ...]:
    """A value for comparing: sizes and times as numbers, the rest in lower case."""
    words = value.lower().split()
    if option == "rekeylimit" and len(words) == 2:
        return str(_number(words[0], SIZES)), str(_number(words[1], UNITS))
    if option in ("clientaliveinterval", "logingracetime"):
        return (str(_number(words[0], UNITS)),)
    return tuple(words) if option != "banner" else (value,)


def _number(word: str, units: dict[str, int]) -> int | str:
    parts = re.findall(r"(\d+)([a-z]?)", word)
    if not parts or "".join(n + u for n, u in parts) != word:
        return word
    return sum(int(n) * units.get(u, 1) for n, u in parts)


def pam(resource: Resource, look: Looker) -> list[str]:
    """The entries of a module in each service's stack, in the order in which they run."""
    stacks = look(AREA, "pam")
    there = [name for name in resource["service"] if stacks[name] is not None]
    if not there:
        raise NotHere(f"no {' or '.join(resource['service'])} in PAM's folders")
    return [
        f"{name}: {told}" for name in there for told in _pam_wrong(resource, stacks[name] or [])
    ]


def _pam_wrong(resource: Resource, stack: list[list[str]]) -> Iterator[str]:
    facility, module = resource["facility"], resource["module"]
    rows = [row for row in stack if row[0] == facility]
    mine = [number for number, row in enumerate(rows) if row[2] == module]
    if resource.get("state") == "absent":
        if mine:
            yield f"{facility} has {module}"
        return
    control, args = resource.get("control"), resource.get("args", {})
    if not mine:
        # A control without a control field only says how the module is called where it is.
        if control is not None:
            yield f"{facility} lacks {module}"
        return
    if control is not None and not any(rows[n][1] == control for n in mine):
        yield f"{module} is {rows[mine[0]][1]}, not {control}"
    for number in mine:
        for told in _pam_args(rows[number][3], args):
            yield f"{module} has {told}"
    yield from _pam_order(resource, rows, mine)


def _pam_args(said: str, args: Resource) -> Iterator[str]:
    """Arguments that lack, that have another value, or that may not be there."""
    words = dict(_argument(word) for word in said.split())
    for name, value in (args.get("present") or {}).items():
        if name not in words:
            yield f"no {name}"
        elif value is not None and words[name] != str(value):
            yield f"{name}={words[name]}, not {value}"
    for name in args.get("absent") or ():
        if name in words:
            yield name + ("=" + words[name] if words[name] else "")


def _pam_order(resource: Resource, rows: list[list[str]], mine: list[int]) -> Iterator[str]:
    """A module that runs on the wrong side of its neighbour may never be asked."""
    for word in ("before", "after"):
        other = resource.get(word)
        places = [number for number, row in enumerate(rows) if row[2] == other] if other else []
        if places and (mine[0] > places[0] if word == "before" else mine[0] < places[0]):
            yield f"{resource['module']} does not run {word} {other}"


def _argument(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def authselect(resource: Resource, look: Looker) -> list[str]:
    """The profile and features that are selected, and whether the files still are authselect's."""
    seen = look(AREA, "authselect")
    profile, *features = seen["current"] or [""]
    wrong = []
    if not profile or profile.startswith("No"):
        return [f"authselect has no profile: {seen['check']}"]
    lacking = [name for name in resource.get("features", []) if name not in features]
    if lacking:
        wrong.append(f"authselect's profile {profile} lacks {', '.join(lacking)}")
    if "is valid" not in seen["check"]:
        wrong.append(f"authselect: {seen['check']}")
    return wrong


def group(resource: Resource, look: Looker) -> list[str]:
    """The members of a group, by its own list and by the accounts'."""
    name, wanted = resource["name"], sorted(resource.get("members", []))
    seen = look(AREA, "groups")[name]
    if seen is None:
        return [f"there is no group {name}"]
    has = sorted({*seen["members"], *seen["first"]})
    if has == wanted:
        return []
    return [f"group {name} has {', '.join(has) or 'nobody'}, not {', '.join(wanted) or 'nobody'}"]


Entry = dict[str, Any]
AGES = {
    "min_days": (0, False),
    "password_max_days": (1, True),
    "password_warn_days": (2, False),
    "inactive_days": (3, True),
}
"""Where the number stands, and whether less is stricter."""


def account(resource: Resource, look: Looker) -> list[str]:
    """Every account that it concerns."""
    what, value = resource["what"], resource.get("value")
    entries = look(AREA, "accounts")
    wrong = [told for entry in entries for told in _account_wrong(entry, what, value)]
    unseen = [entry["unseen"] for entry in entries if entry.get("unseen")]
    if unseen and not wrong and what.startswith(("home_", "dotfile_")):
        raise CouldNotLook("; ".join(unseen))
    return wrong


def _account_wrong(entry: Entry, what: str, value: Any) -> Iterator[str]:
    name, uid = entry["name"], entry["uid"]
    system = 0 < uid < FIRST_PERSON or uid == NOBODY
    if what in AGES:
        yield from _age(entry, what, int(value))
    elif what == "lock_empty" and entry["password"] == "empty":
        yield f"{name} has no password"
    elif what == "lock_system" and system and entry["password"] == "usable":
        yield f"{name} has a password"
    elif what == "nologin_system" and system and name not in KEPT:
        if not entry["shell"].endswith(WITHOUT_SHELL):
            yield f"{name} has the shell {entry['shell']}"
    elif what == "root_group" and name == "root" and entry["gid"] != 0:
        yield f"root has the group {entry['gid']}"
    elif what.startswith(("home_", "dotfile_")):
        yield from _place(entry, what, value)


def _age(entry: Entry, what: str, wanted: int) -> Iterator[str]:
    if entry["password"] != "usable":
        return
    place, less = AGES[what]
    said = entry["ages"][place] if len(entry["ages"]) > place else ""
    number = int(said) if said.lstrip("-").isdigit() else -1
    if not (0 <= number <= wanted if less else number >= wanted):
        yield f"{entry['name']} has {what.replace('_', ' ')} {said or 'not set'}, not {wanted}"


def _place(entry: Entry, what: str, value: Any) -> Iterator[str]:
    """Rights of a home or of what begins with a dot in it, of people's accounts."""
    part, _, right = what.partition("_")
    person = FIRST_PERSON <= entry["uid"] != NOBODY
    if not person or entry["shell"].endswith(WITHOUT_SHELL) or _shared(entry["home"]):
        return
    for path, kind, mode, uid, gid in entry["places"]:
        if (path == entry["home"]) != (part == "home") or (part == "dotfile" and kind != "file"):
            continue
        if part == "home" and mode & 0o1002 == 0o1002:
            continue  # such a folder is the system's, whatever /etc/passwd says
        if right == "mode" and mode & ~int(value, 8):
            yield f"{path} has mode {mode:04o}, more than {value}"
        elif right == "owner" and uid != entry["uid"]:
            yield f"{path} belongs to {uid}, not to {entry['name']}"
        elif right == "group" and gid != entry["gid"]:
            yield f"{path} has group {gid}, not {entry['gid']}"


def _shared(home: str) -> bool:
    path = os.path.normpath(home)
    steps = path.strip("/").split("/")
    if len(steps) == 1 or (steps[0] == "var" and len(steps) == 2 and steps[1] in OF_VAR):
        return True
    return path.startswith(OF_THE_SYSTEM)

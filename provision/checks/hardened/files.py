"""Judges files, lines and settings: what is there, and what the owning program makes of it."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from provision.checks.declare import CouldNotLook, Looker
from provision.checks.hardened.outcome import NotHere, Resource

AREA = "hardening_files"
KINDS = {"file": ("file",), "dir": ("dir",)}
SUDOERS = "/etc/sudoers"
LIMITS = "/etc/security/limits"
TRUE = ("1", "yes", "y", "true", "t", "on")
FALSE = ("0", "no", "n", "false", "f", "off")
_SYSTEMD = re.compile(r"^/etc/systemd/(?P<name>[a-z-]+\.conf)(\.d/[^/]+\.conf)?\Z")
_LIMIT = re.compile(r"^(?P<who>\S+)\s+(?P<type>hard|soft|-)\s+(?P<item>\S+)\s+(?P<value>\S+)$")
LAST_WINS = (
    "/etc/login.defs",
    "/etc/default/grub",
    "/etc/default/useradd",
    "/etc/security/faillock.conf",
    "/etc/security/pwhistory.conf",
    "pwquality",
    "systemd/",
)
"""Files and views of which it is known that the last of several lines counts."""


def file(resource: Resource, look: Looker) -> list[str]:
    """Owner, group and mode of all that a path finds, or that it finds nothing."""
    path, recurse = resource["path"], bool(resource.get("recurse"))
    seen = next(
        one for one in look(AREA, "files") if one["path"] == path and one["recurse"] == recurse
    )
    wrong = _file_wrong(resource, seen["found"])
    if seen.get("unseen") and not wrong:
        # What was not looked at may be what was looked for.
        raise CouldNotLook(str(seen["unseen"]))
    if wrong is None:
        raise NotHere(f"no {path}")
    return wrong


def _file_wrong(resource: Resource, found: list[list[Any]]) -> list[str] | None:
    """What is wrong with what was found; None where nothing is meant."""
    path = resource["path"]
    if resource.get("state") == "absent":
        places = [place for row in found for place in row[5]]
        return [f"{path} is there: {', '.join(places)}"] if places else []
    kinds = KINDS.get(resource.get("kind", "any"), ("file", "dir"))
    meant = [row for row in found if row[0] in kinds]
    return [told for row in meant for told in _rights(resource, row)] if meant else None


def _rights(resource: Resource, row: list[Any]) -> Iterator[str]:
    _, mode, owner, group, count, places = row
    wrong = []
    limit = resource.get("mode")
    if limit is not None and int(mode, 8) & ~int(limit, 8):
        wrong.append(f"mode {mode}, more than {limit}")
    for what, seen in (("owner", owner), ("group", group)):
        if resource.get(what) not in (None, seen):
            wrong.append(f"{what} {seen}, not {resource[what]}")
    if wrong:
        more = f" and {count - len(places)} more" if count > len(places) else ""
        yield f"{', '.join(places)}{more}: {', '.join(wrong)}"


def content(resource: Resource, look: Looker) -> list[str]:
    """A file that is wholly ours: its bytes and its rights."""
    path = resource["path"]
    seen = look(AREA, "contents")[path]
    if resource.get("state") == "absent":
        return [f"{path} is there"] if seen else []
    if seen is None:
        return [f"{path} is not there"]
    if seen["kind"] != "file":
        return [f"{path} is no file but a {seen['kind']}"]
    wrong = []
    if seen["sha256"] != hashlib.sha256(resource["text"].encode()).hexdigest():
        wrong.append(f"{path} has another text")
    wanted = [resource.get(k, d) for k, d in (("mode", "0644"), ("owner", "root"))]
    wanted.append(resource.get("group", "root"))
    if [int(seen["rights"][0], 8), *seen["rights"][1:]] != [int(wanted[0], 8), *wanted[1:]]:
        wrong.append(f"{path} has {' '.join(seen['rights'])}, not {' '.join(wanted)}")
    return wrong


def active(text: str) -> list[str]:
    """The lines that say something."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(("#", ";"))]


def line(resource: Resource, look: Looker) -> list[str]:
    """A line, as the program that reads the file takes it."""
    path, state = resource["path"], resource.get("state", "present")
    if state == "present" and path.startswith(SUDOERS) and resource["line"].startswith("Defaults"):
        return _sudo_default(resource["line"], look)
    if state == "present" and path.startswith(LIMITS):
        return _limit(resource["line"], look)
    text = look(AREA, "texts")[path]
    lines = active(text or "")
    match = resource.get("match")
    fitting = [one for one in lines if match and re.search(match, one)]
    if state == "absent":
        bad = fitting + [one for one in lines if one == resource.get("line")]
        if path == SUDOERS and not bad:
            bad = _sudo_for_all(match or "", look)
        return [f"{path} says {bad[0]!r}"] if bad else []
    wanted = " ".join(resource["line"].split())
    if text is None:
        return [f"{path} is not there"]
    # Comments count where the line itself looks like one to us, as AIDE's `!` and `#` do not.
    present = [one for one in text.splitlines() if " ".join(one.split()) == wanted]
    if not present:
        return [f"{path} lacks {resource['line']!r}"]
    other = [one for one in fitting if " ".join(one.split()) != wanted]
    return [f"{path} says {other[0]!r} too"] if other else []


def _sudoers(look: Looker) -> dict[str, Any]:
    return dict(json.loads(_view("sudoers", look)))


def _sudo_default(text: str, look: Looker) -> list[str]:
    """A default of sudo for everybody, by sudo's own reader of all its files; the last counts."""
    said = text.split(None, 1)[1]
    name, sign, value = said.lstrip("!").partition("=")
    wanted: Any = value.strip('"') if sign else not said.startswith("!")
    seen: Any = None
    for entry in _sudoers(look).get("Defaults", []):
        for option in entry.get("Options", []):
            if name not in option:
                continue
            if "Binding" in entry and _same(option[name], wanted):
                continue
            if "Binding" in entry:
                return [f"sudo has {name} = {option[name]} for {entry['Binding']}"]
            seen = option[name]
    if seen is None and wanted is False:
        return []  # none of sudo's switches that we switch off is on by default
    return [] if _same(seen, wanted) else [f"sudo has {name} = {seen}, not {wanted}"]


def _same(seen: Any, wanted: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(seen, bool):
        return seen is wanted
    try:
        return float(seen) == float(wanted)
    except (TypeError, ValueError):
        return str(seen) == str(wanted)


def _sudo_for_all(match: str, look: Looker) -> list[str]:
    """Rules of all of sudo's files, written as in sudoers, that a pattern finds."""
    found = []
    for spec in _sudoers(look).get("User_Specs", []):
        users = [next(iter(user.values())) for user in spec.get("User_List", [])]
        hosts = [next(iter(host.values())) for host in spec.get("Host_List", [])]
        for commands in spec.get("Cmnd_Specs", []):
            runas = commands.get("runasusers", [])
            whom = ",".join(str(next(iter(user.values()))) for user in runas)
            groups = commands.get("runasgroups", [])
            whom += ":" + ",".join(str(next(iter(g.values()))) for g in groups) if groups else ""
            for command in commands.get("Commands", []):
                what = next(iter(command.values()))
                for user in users:
                    rule = f"{user} {','.join(map(str, hosts))}=({whom}) {what}"
                    if re.search(match, rule):
                        found.append(rule)
    return found


def _limit(text: str, look: Looker) -> list[str]:
    """A limit of PAM's, over all of its files; the last of several for the same counts."""
    wanted = _LIMIT.match(text)
    if wanted is None:
        raise CouldNotLook(f"{text!r} is no limit")
    seen = None
    for one in active(_view("limits", look)):
        found = _LIMIT.match(one.partition("#")[0].strip())
        if found is None or found["who"] != wanted["who"] or found["item"] != wanted["item"]:
            continue
        if found["type"] in (wanted["type"], "-"):
            seen = found["value"]
    if seen == wanted["value"]:
        return []
    return [f"the limit {wanted['item']} is {seen or 'not set'}, not {wanted['value']}"]


def view_of(path: str) -> str | None:
    """The program's own view of its configuration, where it has one that a probe can show."""
    found = _SYSTEMD.match(path)
    if found:
        return f"systemd/{found['name']}"
    if path.startswith("/etc/NetworkManager/"):
        return "NetworkManager"
    return {
        "/etc/postfix/main.cf": "postfix",
        "/etc/security/pwquality.conf": "pwquality",
    }.get(path)


def _view(name: str, look: Looker) -> str:
    seen = look(AREA, "views").get(name, {})
    if "value" not in seen:
        raise CouldNotLook(str(seen.get("error") or f"nothing was seen of {name}"))
    return str(seen["value"])


def setting(resource: Resource, look: Looker) -> list[str]:
    """A setting's value, as the program that owns the file reads it."""
    path, key = resource["path"], resource["key"]
    view = view_of(path)
    text = _view(view, look) if view else look(AREA, "texts")[path]
    values = list(_values(text or "", resource))
    wanted = resource.get("value")
    where = f"{path} [{resource['section']}]" if resource.get("section") else path
    if resource.get("state") == "absent":
        bad = [v for v in values if wanted is None or _equal(path, v, str(wanted))]
        return [f"{where}: {key} is {bad[-1]}"] if bad else []
    if not values:
        return [f"{where}: {key} is not set" + ("" if wanted is None else f", not {wanted}")]
    if wanted is None:
        return []
    last = (view or path).startswith(LAST_WINS)
    bad = [v for v in (values[-1:] if last else values) if not _equal(path, v, str(wanted))]
    return [f"{where}: {key} is {bad[-1]}, not {wanted}"] if bad else []


def _values(text: str, resource: Resource) -> Iterator[str]:
    style = resource.get("style", "equals")
    section, here = resource.get("section"), None
    for one in active(text):
        if re.match(r"^\[[^\]]+\]$", one):
            here = one[1:-1].strip()
            continue
        if section is not None and here != section:
            continue
        if style == "flag":
            name, value = one.partition("#")[0].strip(), ""
        elif style == "space":
            name, _, value = one.replace("\t", " ").partition(" ")
        else:
            name, sign, value = one.partition("=")
            if not sign:
                continue
        if name.strip() == resource["key"]:
            yield value.strip()


def _equal(path: str, seen: str, wanted: str) -> bool:
    seen, wanted = seen.strip("'\""), wanted.strip("'\"")
    for words in (TRUE, FALSE):
        if path.startswith(("/etc/systemd/", "/etc/dnf/")) and wanted.lower() in words:
            return seen.lower() in words
    if path.startswith("/etc/audit/") or path == "/etc/login.defs":
        return seen.lower() == wanted.lower()
    return "".join(seen.split()) == "".join(wanted.split())


def umask(resource: Resource, look: Looker) -> list[str]:
    """The umask of shells that were really started, and what new accounts' homes are made with."""
    wanted = int(resource["value"], 8)
    wrong = [
        f"a {one['shell']} of {one['user']} has umask {one['mask']}, not {resource['value']}"
        for one in look(AREA, "umask")
        if int(one["mask"], 8) & wanted != wanted
    ]
    login = {"path": "/etc/login.defs", "key": "UMASK", "style": "space"}
    said = list(_values(look(AREA, "texts")["/etc/login.defs"] or "", login))
    if not said or int(said[-1], 8) & wanted != wanted:
        wrong.append(f"/etc/login.defs: UMASK is {said[-1] if said else 'not set'}")
    return wrong


def sweep(resource: Resource, look: Looker) -> list[str]:
    """What a walk over the local file systems found open to all."""
    kind, told = {
        "sticky": ("d", "open to all and not sticky"),
        "no_world_write": ("f", "open to all for writing"),
    }[resource["what"]]
    bad = []
    for found, mode, path in look(AREA, "walk")["found"]:
        if found == kind and int(mode, 8) & 0o002 and _meant(resource, path):
            bad.append(path)
    if not bad:
        return []
    more = f" and {len(bad) - 6} more" if len(bad) > 6 else ""
    return [f"{told}: {', '.join(sorted(bad)[:6])}{more}"]


def _meant(resource: Resource, path: str) -> bool:
    below = [top.rstrip("/") + "/" for top in resource.get("below", ["/"])]
    if not any((path + "/").startswith(top) for top in below):
        return False
    return not any(
        fnmatch.fnmatchcase(path, pattern) or path.rpartition("/")[0] == pattern
        for pattern in resource.get("exclude", [])
    )


def aide_database(resource: Resource, look: Looker) -> list[str]:
    """There is a database, and something is in it."""
    del resource
    seen = look(AREA, "aide")
    if seen["text"] is None:
        raise NotHere("no configuration of AIDE")
    if seen["size"]:
        return []
    return [f"{seen['database']} is {'not there' if seen['size'] is None else 'empty'}"]


_GROUP = re.compile(r"^(?P<name>[A-Z][A-Za-z_]*)\s*=\s*(?P<sum>[A-Za-z0-9_+-]+)\s*$")


def aide_groups(resource: Resource, look: Looker) -> list[str]:
    """The attributes of every group, with those of groups that it names."""
    text = look(AREA, "aide")["text"]
    if text is None:
        raise NotHere("no configuration of AIDE")
    groups: dict[str, set[str]] = {}
    wrong = []
    for one in active(text):
        found = _GROUP.match(one)
        if found is None:
            continue
        has = groups[found["name"]] = _sum(found["sum"], groups)
        lacking = [name for name in resource["present"] if name not in has]
        bad = [name for name in resource.get("absent", []) if name in has]
        if lacking or bad:
            what = [f"lacks {', '.join(lacking)}"] if lacking else []
            what += [f"has {', '.join(bad)}"] if bad else []
            wrong.append(f"AIDE's group {found['name']} {' and '.join(what)}")
    return wrong if groups else ["AIDE's configuration defines no group"]


def _sum(text: str, groups: dict[str, set[str]]) -> set[str]:
    has: set[str] = set()
    for sign, name in re.findall(r"([+-]?)([A-Za-z0-9_]+)", text):
        named = groups.get(name, {name})
        has = has - named if sign == "-" else has | named
    return has

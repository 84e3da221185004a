"""Hardening, who gets in: sshd's and PAM's configuration as they read it, and the accounts.

Told which names to look at, never what is wanted of them. No hash of a password leaves the node.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from provision.checks.probes.common import Unseen, gather, read, run

SSHD = "/etc/ssh/sshd_config"
MATCHED = 6
"""For so many names in Match lines sshd is asked; each costs a start of it."""
PAM = ("/etc/pam.d/", "/usr/lib/pam.d/")
DEEP = 8
_ENTRY = re.compile(
    r"^-?(?P<facility>auth|account|password|session)\s+"
    r"(?P<control>\[[^\]]*\]|\S+)\s+(?P<module>\S+)(?P<rest>.*)$",
    re.IGNORECASE,
)


def _sshd(_asked: Any) -> list[dict[str, Any]]:
    """What sshd would do: for anybody, and for those whom a Match line names."""
    whom = {"anybody": "", "root": "user=root,host=localhost,addr=127.0.0.1"}
    for kind, name in _matches():
        what = {"user": "user={0},host=localhost,addr=127.0.0.1"}.get(
            kind, "user=nobody,host=localhost,addr={0}"
        )
        whom.setdefault(f"{kind} {name}", what.format(name))
    found = []
    for who, spec in list(whom.items())[: MATCHED + 2]:
        argv = ["sshd", "-T", *(["-C", spec] if spec else [])]
        options: dict[str, list[str]] = {}
        for line in run(argv, timeout=20).splitlines():
            key, _, value = line.partition(" ")
            options.setdefault(key.lower(), []).append(value.strip())
        found.append({"who": who, "options": options})
    return found


def _matches() -> list[tuple[str, str]]:
    """Users and addresses that Match lines name."""
    found = []
    for path in [Path(SSHD), *sorted(Path(SSHD + ".d").glob("*.conf"))]:
        for line in read(path).splitlines():
            words = line.replace("=", " ").split()
            if not words or words[0].lower() != "match":
                continue
            for kind, names in zip(words[1::2], words[2::2]):
                if kind.lower() in ("user", "address"):
                    plain = [n for n in names.split(",") if not re.search(r"[*?!/]", n)]
                    found += [(kind.lower(), name) for name in plain]
    return found


def _pam(services: list[str]) -> dict[str, list[list[str]] | None]:
    """The entries of each service in the order in which they run; includes are followed."""
    found: dict[str, list[list[str]] | None] = {}
    for service in services:
        there = _pam_file(service) is not None
        found[service] = list(_stack(service, None, 0)) if there else None
    return found


def _pam_file(service: str) -> str | None:
    paths = [folder + service for folder in PAM] if "/" not in service else [service]
    return next((path for path in paths if os.path.exists(path)), None)


def _stack(service: str, only: str | None, depth: int) -> Iterator[list[str]]:
    path = _pam_file(service)
    if path is None or depth > DEEP:
        raise Unseen(f"PAM's {service} cannot be followed")
    for line in read(path).replace("\\\n", " ").splitlines():
        bare = line.partition("#")[0].strip()
        if bare.lower().startswith("@include"):
            yield from _stack(bare.split()[1], only, depth + 1)
            continue
        entry = _ENTRY.match(bare)
        if entry is None:
            continue
        facility = entry.group("facility").lower()
        control, module = entry.group("control"), entry.group("module")
        if only not in (None, facility):
            continue
        if control in ("include", "substack"):
            yield from _stack(module, facility, depth + 1)
        else:
            name = module.rpartition("/")[2]
            yield [facility, control, name, entry.group("rest").strip()]


def _authselect(_asked: Any) -> dict[str, Any]:
    current = run(["authselect", "current", "--raw"], ok=(0, 2)).split()
    said = run(["authselect", "check"], ok=tuple(range(256)))
    return {"current": current, "check": " ".join(said.split())[:300]}


def _groups(names: list[str]) -> dict[str, Any]:
    """Members of each group by its own list, and those whose first group it is."""
    first: dict[str, list[str]] = {}
    for row in _rows("passwd"):
        first.setdefault(row[3], []).append(row[0])
    known = {row[0]: row for row in _rows("group")}
    found: dict[str, Any] = {}
    for name in names:
        if name not in known:
            found[name] = None
            continue
        row = known[name]
        members = sorted(filter(None, row[3].split(",")))
        found[name] = {"members": members, "first": sorted(first.get(row[2], []))}
    return found


def _rows(database: str) -> list[list[str]]:
    return [line.split(":") for line in run(["getent", database]).splitlines()]


def _accounts(_asked: Any) -> list[dict[str, Any]]:
    shadow = {row[0]: row for row in _rows("shadow")}
    found = []
    for row in _rows("passwd"):
        secret = shadow.get(row[0], [])
        found.append(
            {
                "name": row[0],
                "uid": int(row[2]),
                "gid": int(row[3]),
                "home": row[5],
                "shell": row[6],
                "password": _state(secret[1]) if secret else "none",
                "ages": secret[3:7],
                **(_home(row[5]) if int(row[2]) >= 1000 else {"places": []}),
            }
        )
    return found


def _state(field: str) -> str:
    if not field:
        return "empty"
    return "locked" if field[0] in "!*" else "usable"


def _home(home: str) -> dict[str, Any]:
    """The home and what begins with a dot in it: path, kind, mode, owner and group as numbers.

    `unseen` says why some of it could not be looked at, as where a server keeps root out.
    """
    try:
        if home in ("", "/") or not stat.S_ISDIR(os.lstat(home).st_mode):
            return {"places": []}
        dots = sorted(str(path) for path in Path(home).iterdir() if path.name.startswith("."))
        return {"places": _rights([home, *dots])}
    except (FileNotFoundError, NotADirectoryError):
        return {"places": []}
    except OSError as error:
        return {"places": [], "unseen": f"{error.filename}: {error.strerror}"}


def _rights(paths: list[str]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for path in paths:
        try:
            info = os.lstat(path)
        except FileNotFoundError:
            continue
        kind = "dir" if stat.S_ISDIR(info.st_mode) else "file"
        if not stat.S_ISREG(info.st_mode) and kind == "file":
            continue
        found.append([path, kind, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid])
    return found


PARTS: dict[str, Callable[[Any], Any]] = {
    "sshd": _sshd,
    "pam": _pam,
    "authselect": _authselect,
    "groups": _groups,
    "accounts": _accounts,
}


def look(ask: dict[str, Any]) -> dict[str, Any]:
    """Look at what was asked for."""
    return gather({n: partial(part, ask[n]) for n, part in PARTS.items() if n in ask})

"""Hardening, the files: rights, texts, and settings as the programs that own them read them.

Told which paths to look at, never what is wanted of them. Only what was asked for is looked at.
"""

from __future__ import annotations

import fnmatch
import grp
import hashlib
import os
import pwd
import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from provision.checks.probes.common import (
    ENVIRONMENT,
    MAX_OUTPUT,
    Unseen,
    gather,
    read,
    run,
)

_MAGIC = re.compile(r"[*?\[]")
MOST = 256 << 10
EXAMPLES = 6
LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "overlay", "vfat", "zfs")
NOT_OURS = ("/var/lib/containers", "/proc", "/sys", "/run")
"""What containers hold is theirs; the others are the kernel's."""


class _Names:
    """Names of users and groups, each asked for once."""

    def __init__(self) -> None:
        self.users: dict[int, str] = {}
        self.groups: dict[int, str] = {}

    def rights(self, info: os.stat_result) -> list[str]:
        """Mode, owner and group."""
        if info.st_uid not in self.users:
            try:
                self.users[info.st_uid] = pwd.getpwuid(info.st_uid).pw_name
            except KeyError:
                self.users[info.st_uid] = str(info.st_uid)
        if info.st_gid not in self.groups:
            try:
                self.groups[info.st_gid] = grp.getgrgid(info.st_gid).gr_name
            except KeyError:
                self.groups[info.st_gid] = str(info.st_gid)
        mode = f"{stat.S_IMODE(info.st_mode):04o}"
        return [mode, self.users[info.st_uid], self.groups[info.st_gid]]


def _kind(info: os.stat_result) -> str:
    if stat.S_ISREG(info.st_mode):
        return "file"
    if stat.S_ISDIR(info.st_mode):
        return "dir"
    return "link" if stat.S_ISLNK(info.st_mode) else "other"


def _files(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each path: what it finds, as [kind, mode, owner, group, how many, some of them]."""
    names = _Names()
    return [_rights(names, one["path"], bool(one.get("recurse"))) for one in asked]


def _rights(names: _Names, path: str, recurse: bool) -> dict[str, Any]:
    groups: dict[tuple[str, ...], list[Any]] = {}
    plain = not _MAGIC.search(path) and not recurse
    unseen: list[str] = []
    for place in _places(path, recurse, unseen):
        try:
            # A path that is written out may be a link of the system's own.
            info = Path(place).stat() if plain else os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            unseen.append(_short(error))
            continue
        kept = groups.setdefault((_kind(info), *names.rights(info)), [0, []])
        kept[0] += 1
        if len(kept[1]) < EXAMPLES:
            kept[1].append(place)
    found = [[*k, *v] for k, v in groups.items()]
    said: dict[str, Any] = {"path": path, "recurse": recurse, "found": found}
    return {**said, "unseen": "; ".join(unseen[:EXAMPLES])} if unseen else said


def _places(path: str, recurse: bool, unseen: list[str]) -> Iterator[str]:
    tops = _fitting(path, unseen) if _MAGIC.search(path) else [path]
    for top in sorted(tops):
        yield top
        waiting = [top] if recurse and not Path(top).is_symlink() else []
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                unseen.append(_short(error))
                continue
            for entry in entries:
                yield entry.path
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def _short(error: OSError) -> str:
    return f"{str(error.filename)[:200]}: {error.strerror}"


def _fitting(pattern: str, unseen: list[str] | None = None) -> list[str]:
    """What a pattern finds, as a shell would: no name that begins with a dot, unless it says so.

    A folder that could not be read holds perhaps what was looked for: it is put into `unseen`.

    Raises:
        Unseen: there is such a folder, and no list for it.
    """
    found = [""]
    for step in pattern.strip("/").split("/"):
        if _MAGIC.search(step):
            names = ((path, name) for path in found for name in _names(path or "/", unseen))
            found = [
                f"{path}/{name}"
                for path, name in names
                if fnmatch.fnmatchcase(name, step) and (name[0] != "." or step[0] == ".")
            ]
        else:
            found = [f"{path}/{step}" for path in found]
    return [path for path in found if _there(path, unseen)]


def _names(folder: str, unseen: list[str] | None) -> list[str]:
    try:
        return sorted(entry.name for entry in Path(folder).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        _miss(error, unseen)
        return []


def _there(path: str, unseen: list[str] | None) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        _miss(error, unseen)
        return False
    return True


def _miss(error: OSError, unseen: list[str] | None) -> None:
    if unseen is None:
        raise Unseen(_short(error)) from error
    unseen.append(_short(error))


def _contents(paths: list[str]) -> dict[str, Any]:
    names = _Names()
    found: dict[str, Any] = {}
    for path in paths:
        if not os.path.lexists(path):
            found[path] = None
            continue
        info = os.lstat(path)
        said: dict[str, Any] = {"kind": _kind(info), "rights": names.rights(info)}
        if said["kind"] == "file":
            with open(path, "rb") as stream:
                said["sha256"] = hashlib.sha256(stream.read()).hexdigest()
        found[path] = said
    return found


def _texts(paths: list[str]) -> dict[str, str | None]:
    return {path: _text(path) if os.path.exists(path) else None for path in paths}


def _text(path: str | Path) -> str:
    text = read(path)
    if len(text) > MOST:
        raise Unseen(f"{path} is longer than {MOST} bytes")
    return text


def _joined(*patterns: str) -> str:
    """Files in the order in which they are read, as one text."""
    paths = [path for pattern in patterns for path in _fitting(pattern)]
    if not paths:
        raise Unseen(f"there is no {patterns[-1]}")
    return "".join(_text(path) + "\n" for path in paths)


VIEWS: dict[str, Callable[[], str]] = {
    "NetworkManager": lambda: run(["NetworkManager", "--print-config"]),
    "postfix": lambda: run(["postconf"]),
    "pwquality": lambda: _joined(
        "/etc/security/pwquality.conf.d/*.conf", "/etc/security/pwquality.conf"
    ),
    "limits": lambda: _joined("/etc/security/limits.conf", "/etc/security/limits.d/*.conf"),
    "sudoers": lambda: run(["cvtsudoers", "-f", "json", "/etc/sudoers"]),
}
"""How programs see their own configuration, all of its files together."""


def _views(names: list[str]) -> dict[str, dict[str, Any]]:
    return gather({name: partial(_view, name) for name in names})


def _view(name: str) -> str:
    if name.startswith("systemd/"):
        return run(["systemd-analyze", "cat-config", name])
    return VIEWS[name]()


SHELLS = {
    "login shell": ["bash", "-lc", "umask"],
    "other shell": ["bash", "-c", ". /etc/bashrc >/dev/null 2>&1; umask"],
}


def _umask(_asked: Any) -> list[dict[str, str]]:
    """The umask of shells that are really started, for root and for somebody without rights.

    They inherit none, so that what they have is what their own files set.
    """
    found = []
    for user in ("root", "nobody"):
        entry = pwd.getpwnam(user)
        for shell, argv in SHELLS.items():
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=20,
                env={**ENVIRONMENT, "HOME": "/", "USER": user, "LOGNAME": user},
                cwd="/",
                user=entry.pw_uid,
                group=entry.pw_gid,
                extra_groups=[],
                umask=0,
                check=False,
            )
            lines = done.stdout.decode("utf-8", "replace").split()
            if not lines or not re.match(r"^[0-7]{3,4}\Z", lines[-1]):
                raise Unseen(f"a {shell} of {user} does not tell its umask")
            found.append({"user": user, "shell": shell, "mask": lines[-1]})
    return found


def _walk(_asked: Any) -> dict[str, Any]:
    """What is open to all or runs as somebody else, on local file systems, and their options."""
    mounts = {}
    for line in read("/proc/self/mountinfo").splitlines():
        fields, _, more = line.partition(" - ")
        words = fields.split()
        if more.split()[0] in LOCAL or words[4] == "/":
            mounts[words[4]] = words[5].split(",")
    prune = [word for top in NOT_OURS for word in ("-path", top + "/*", "-prune", "-o")]
    tests = ["-type", "d", "-perm", "-002", "!", "-perm", "-1000", "-o"]
    tests += ["-type", "f", "(", "-perm", "-002", "-o", "-perm", "/6000", ")"]
    argv = ["find", *sorted(mounts), "-xdev", "-ignore_readdir_race", *prune]
    out = run([*argv, "(", *tests, ")", "-printf", r"%y %m %p\n"], ok=(0, 1))
    if len(out.encode("utf-8", "replace")) >= MAX_OUTPUT:
        raise Unseen("there are more such files than can be told, and nobody knows of the rest")
    rows = [line.split(" ", 2) for line in out.splitlines()]
    found = [row for row in rows if len(row) == 3 and row[2].startswith("/")]
    return {"found": found, "mounts": mounts}


CONFIGS = ("/etc/aide.conf", "/etc/aide/aide.conf")


def _aide(_asked: Any) -> dict[str, Any]:
    path = next((p for p in CONFIGS if os.path.exists(p)), None)
    if path is None:
        return {"text": None, "database": None, "size": None}
    text = _text(path)
    folder, database = "/var/lib/aide", "/var/lib/aide/aide.db.gz"
    for line in text.splitlines():
        words = line.split()
        if words[:2] == ["@@define", "DBDIR"]:
            folder = words[2]
        for key in ("database_in=", "database="):
            if line.replace(" ", "").startswith(key):
                database = line.partition("=")[2].strip()
    place = database.replace("file:", "").replace("@@{DBDIR}", folder)
    size = Path(place).stat().st_size if os.path.exists(place) else None
    return {"text": text, "database": place, "size": size}


PARTS: dict[str, Callable[[Any], Any]] = {
    "files": _files,
    "contents": _contents,
    "texts": _texts,
    "views": _views,
    "umask": _umask,
    "walk": _walk,
    "aide": _aide,
}


def look(ask: dict[str, Any]) -> dict[str, Any]:
    """Look at what was asked for."""
    return gather({n: partial(part, ask[n]) for n, part in PARTS.items() if n in ask})

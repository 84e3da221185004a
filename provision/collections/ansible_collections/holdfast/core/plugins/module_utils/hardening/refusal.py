# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Changes that would obviously lock out are refused before anything is changed.

What is not obvious here is found by the login that is proven after the change; this only spares
the way there and back, and says in words what is wrong.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import tempfile
import time
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import closed, sshd
from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.account import (
    User,
    users_of,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Node
from ansible_collections.holdfast.core.plugins.module_utils.processes import (
    ancestors,
    read_words,
)

SUDOERS = "/etc/sudoers"
DAY = 86400
_STOPS = ("sshd.service", "sshd.socket", "NetworkManager.service", "systemd-networkd.service")
_INCLUDE = re.compile(r"^(\s*include\s+)(.*)$", re.IGNORECASE)
_NEVER = ("/bin/false", "/nologin")
_ADDRESS = re.compile(r"^[0-9A-Fa-f.:]+(%\w+)?\Z")
_ALIASES = re.compile(r"^\s*User_Alias\s+(.*)$", re.MULTILINE)


class Reached:
    """How the node is reached: who logs in, with what, and how root's rights are gained."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.user = str(given.get("user") or "root")
        self.become = bool(given.get("become", True))
        self.become_password = bool(given.get("become_password"))
        self.password = bool(given.get("password"))
        self.port = int(given.get("port") or 0)


GUARD: dict[str, Any] = {
    "type": "dict",
    "options": {
        "user": {"type": "str", "required": True},
        "become": {"type": "bool", "default": True},
        "become_password": {"type": "bool", "default": False},
        "password": {"type": "bool", "default": False},
        "port": {"type": "int", "default": 0},
    },
}
"""The option `guard` of the modules that change how one logs in."""


def reached_by(given: dict[str, Any] | None) -> Reached | None:
    """How we got here; sudo says who it was where nobody else does."""
    if given is not None:
        return Reached(given)
    user = os.environ.get("SUDO_USER")
    return Reached({"user": user, "become_password": True}) if user else None


def refusals(node: Node, reached: Reached | None) -> list[str]:
    """Why the staged changes would lock out, in words that say what to do."""
    found = syntax(node) + firewall(node, reached)
    if node.offline:
        # Nobody is logged in whom a change could lock out; what would not start must not come.
        return found + readable(node)
    users = {user.name: user for user in users_of(node)}
    if reached is None:
        # Nobody became root, so root itself may have logged in.
        root = users.get("root")
        return found + (ages(node, root, None) if root is not None else [])
    user = users.get(reached.user)
    if user is not None:
        found += account(node, user, reached)
        found += ages(node, user, reached)
    found += server(node, user, reached)
    if user is not None and reached.become and user.uid != 0:
        found += escalation(node, user, reached)
    return found


def syntax(node: Node) -> list[str]:
    """What sudo would not read. Each file is judged before it takes its place."""
    found: list[str] = []
    if not node.has_command("visudo"):
        return found
    for draft in node.changed():
        path = draft.seen.path
        if not (path == SUDOERS or path.startswith(SUDOERS + ".d/")) or not draft.rewritten:
            continue
        code, out = node.command(["visudo", "-c", "-q", "-f", "-"], draft.text or "")
        if code not in (0, 127):
            said = " ".join(out.split())[:200]
            found.append("{0} would not be read by sudo: {1}".format(path, said))
    return found


def firewall(node: Node, reached: Reached | None) -> list[str]:
    """A firewall that would start now, and lets nobody in to the SSH server."""
    if not closed.starts(node) or "firewalld" in node.missing():
        return []
    ports = [reached.port] if reached is not None and reached.port else _listening(node)
    return [
        "starting {0} would close port {1}, where the SSH server listens; let it in first "
        "(firewall-offline-cmd --add-port={1}/tcp)".format(closed.UNIT, port)
        for port in closed.shut(node, ports)
    ]


def _listening(node: Node) -> list[int]:
    """The ports of the SSH server; none where there is no such server."""
    if not node.has_command("sshd"):
        return []
    code, out = effective(node, "root")
    said = options_of(out).get("port", []) if code == 0 else []
    return [int(port) for port in said if port.isdigit()] or [22]


def account(node: Node, user: User, reached: Reached) -> list[str]:
    """An account that nobody can use any more, whatever is changed."""
    del node, reached
    expires = user.shadow[7]
    if expires.isdigit() and int(expires) * DAY <= time.time():
        return ["the account {0} has expired; mend it with chage -E".format(user.name)]
    return []


def ages(node: Node, user: User, reached: Reached | None) -> list[str]:
    """Staged commands that would take the account away from who logs in."""
    found = []
    asked = reached is not None and (reached.password or reached.become_password)
    for act in node.acts:
        for step in act.do:
            argv = step.get("run") or step.get("try") or [""]
            if argv[0] == "systemctl" and argv[1] in ("stop", "disable", "mask"):
                found += [
                    "{0} {1} would cut the node off".format(argv[1], unit)
                    for unit in argv[2:]
                    if unit in _STOPS
                ]
            if argv[-1] != user.name:
                continue
            if argv[0] == "chage" and argv[1] == "-M" and _too_old(user, int(argv[2])):
                found.append(
                    "the password of {0} would have expired at once; change it first, or lock "
                    "it".format(user.name)
                )
            if argv[0] == "usermod" and (argv[1] == "-L" or argv[1:3] == ["-p", "!"]) and asked:
                found.append(
                    "the password of {0} would be locked, and the login or sudo asks for it; use "
                    "a key and NOPASSWD, or waive the control".format(user.name)
                )
            if argv[0] == "usermod" and argv[1] == "-s" and argv[2].endswith(_NEVER):
                found.append(
                    "{0} would lose its shell: it counts as an account of the system (uid {1}); "
                    "give it a uid of at least 1000".format(user.name, user.uid)
                )
    return found


def _too_old(user: User, days: int) -> bool:
    changed = user.shadow[2]
    # chage takes -1 for no limit at all.
    return days >= 0 and changed.isdigit() and (int(changed) + days) * DAY < time.time()


# The SSH server


def touched(node: Node) -> bool:
    """Whether the SSH server's configuration changes, and there is such a server."""
    changed = {draft.seen.path for draft in node.changed()}
    ours = any(p == sshd.MAIN or p.startswith(sshd.FOLDER + "/") for p in changed)
    return ours and node.has_command("sshd")


def readable(node: Node) -> list[str]:
    """Whether the SSH server would start with its options as they are to be."""
    if not touched(node):
        return []
    code, out = effective(node, "root")
    return [_no_start(out)] if code not in (0, 127) else []


def _no_start(out: str) -> str:
    return "the SSH server would not start: {0}".format(" ".join(out.split())[-300:])


def server(node: Node, user: User | None, reached: Reached) -> list[str]:
    """What the SSH server's options, as they are to be, mean for the login."""
    if not touched(node):
        return []
    code, out = effective(node, reached.user)
    if code == 127:
        return []
    if code:
        return [_no_start(out)]
    return login(options_of(out), user, groups_of(node, user), reached)


def effective(node: Node, user: str) -> tuple[int, str]:
    """What ``sshd -T`` says of a copy of all its files as they are to be."""
    folder = tempfile.mkdtemp(prefix="holdfast-sshd-")
    try:
        names = list(node.files(sshd.FOLDER, ".conf"))
        for number, path in enumerate(sorted(names)):
            _copy(node, path, os.path.join(folder, "{0:04d}.conf".format(number)), folder)
        main = os.path.join(folder, "sshd_config")
        _copy(node, sshd.MAIN, main, folder)
        who = "user={0},{1}".format(user, came_from())
        program = "/usr/sbin/sshd" if node.exists("/usr/sbin/sshd") else "sshd"
        argv = [program, "-T", "-f", main, "-C", who]
        return node.command(argv + (_host_key(node, folder) if node.offline else []))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _host_key(node: Node, folder: str) -> list[str]:
    """A host key for this one question: an image has none of its own, and is to have none."""
    path = os.path.join(folder, "key")
    node.command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path])
    return ["-h", path]


def came_from(proc: str = "/proc") -> str:
    """Where our own login comes from and to, in the words of ``sshd -T -C``; else from here.

    sudo takes this out of the environment, so that of those who called us is looked at.
    """
    for pid in sorted(ancestors(proc, os.getpid()), reverse=True):
        for word in read_words(proc, pid, "environ"):
            row = word.partition("=")[2].split() if word.startswith("SSH_CONNECTION=") else []
            if len(row) == 4 and all(_ADDRESS.match(part) for part in row):
                return "host={0},addr={0},laddr={2},lport={3}".format(*row)
    return "host=localhost,addr=127.0.0.1"


def _copy(node: Node, path: str, target: str, folder: str) -> None:
    lines = []
    for line in texts.lines_of(node.text(path) or ""):
        found = _INCLUDE.match(line)
        words = found.group(2).split() if found else []
        # Only the folder of drop-ins is staged; what else is included is read where it stands.
        moved = [folder + "/*.conf" if "sshd_config.d/" in word else word for word in words]
        lines.append(found.group(1) + " ".join(moved) if found else line)
    with open(target, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(texts.joined(lines))


def options_of(text: str) -> dict[str, list[str]]:
    """Options as ``sshd -T`` prints them; one that stands there several times adds up."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        option, _, value = line.strip().partition(" ")
        found.setdefault(option.lower(), []).extend(value.split())
    return found


def groups_of(node: Node, user: User | None) -> list[str]:
    """The names of a user's groups."""
    if user is None:
        return []
    found = []
    for line in (node.text("/etc/group") or "").splitlines():
        row = line.split(":")
        if len(row) > 3 and (row[2] == str(user.gid) or user.name in row[3].split(",")):
            found.append(row[0])
    return found


def login(
    options: dict[str, list[str]], user: User | None, groups: list[str], reached: Reached
) -> list[str]:
    """Why the server would turn the login away."""
    name = reached.user
    uid = user.uid if user is not None else 0 if name == "root" else None
    found = []
    if uid == 0:
        root = (options.get("permitrootlogin") or ["yes"])[0]
        keys_only = ("without-password", "prohibit-password")
        if root in {"no", "forced-commands-only"} or (root in keys_only and reached.password):
            found.append(
                "PermitRootLogin {0}: the inventory logs in as root; name another user in "
                "ansible_user, with sudo".format(root)
            )
    found += [
        "{0}: {1} would not be let in; add it, or waive the control".format(option, name)
        for option in _closed(options, name, groups)
    ]
    how = "passwordauthentication" if reached.password else "pubkeyauthentication"
    if options.get(how) == ["no"] and not (
        reached.password and options.get("kbdinteractiveauthentication") == ["yes"]
    ):
        found.append("{0} no: this is how the inventory logs in".format(how))
    methods = options.get("authenticationmethods", ["any"])
    known = {"password", "keyboard-interactive"} if reached.password else {"publickey"}
    if "any" not in methods and not any(
        {m.partition(":")[0] for m in method.split(",")} <= known for method in methods
    ):
        found.append(
            "authenticationmethods {0}: the login has not all of one".format(" ".join(methods))
        )
    for option, good in (("forcecommand", "none"), ("chrootdirectory", "none")):
        if options.get(option, [good]) != [good]:
            found.append("{0} holds for {1}: no command would run".format(option, name))
    if options.get("maxsessions") == ["0"]:
        found.append("maxsessions 0: no command would run")
    if reached.port and str(reached.port) not in options.get("port", [str(reached.port)]):
        found.append("port {0} would be closed: the inventory connects to it".format(reached.port))
    return found


def _closed(options: dict[str, list[str]], name: str, groups: list[str]) -> list[str]:
    """The lists that keep a user out."""
    found = []
    allowed, denied = options.get("allowusers", []), options.get("denyusers", [])
    if allowed and not any(_named(name, pattern) for pattern in allowed):
        found.append("AllowUsers")
    if any(_named(name, pattern) for pattern in denied):
        found.append("DenyUsers")
    fits = options.get("allowgroups", [])
    if fits and not any(fnmatch.fnmatchcase(g, p) for g in groups for p in fits):
        found.append("AllowGroups")
    if any(fnmatch.fnmatchcase(g, p) for g in groups for p in options.get("denygroups", [])):
        found.append("DenyGroups")
    return found


def _named(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern.partition("@")[0])


# sudo


def escalation(node: Node, user: User, reached: Reached) -> list[str]:
    """What sudo's files, as they are to be, mean for becoming root."""
    changed = [d for d in node.changed() if d.seen.path.startswith(SUDOERS)]
    if not changed:
        return []
    names = {user.name, "ALL", "#{0}".format(user.uid)}
    names |= {"%" + group for group in groups_of(node, user)}
    with node.as_found():
        before = _sudoers(node, names, staged=False)
    after = _sudoers(node, names, staged=True)
    found = []
    if before["rules"] and not after["rules"]:
        found.append("sudo: {0} would not become root any more; keep its rule".format(user.name))
    free = before["free"] and not after["free"]
    if free and not reached.become_password:
        found.append(
            "sudo would ask {0} for a password; give ansible_become_password, or waive the "
            "control".format(user.name)
        )
    if "requiretty" in after["flags"] - before["flags"]:
        found.append("sudo: requiretty keeps automation from becoming root; waive the control")
    asked = {"rootpw", "targetpw", "runaspw"} & (after["flags"] - before["flags"])
    if asked and not after["free"]:
        found.append("sudo: {0} asks for another password than is known".format(min(asked)))
    return found


def _sudoers(node: Node, names: set[str], *, staged: bool) -> dict[str, Any]:
    """Rules for somebody, whether one asks for no password, and flags of all Defaults."""
    rules, free, flags = [], False, set()
    found = [_sudo_text(node, path, staged) for path in [SUDOERS, *node.files(SUDOERS + ".d")]]
    names = names | aliases("\n".join(found), names)
    for text in found:
        for line in texts.lines_of(text):
            words = line.split()
            if not words or (words[0].startswith("#") and not words[0][1:2].isdigit()):
                continue
            if words[0].startswith("Defaults"):
                flags |= {w.strip(",") for w in words[1:]}
            elif words[0] in names and "=" in line:
                rules.append(line)
                free = free or "NOPASSWD:" in line.replace(" ", "")
    if "!authenticate" in flags:
        free = True
    return {"rules": rules, "free": free, "flags": flags}


def _sudo_text(node: Node, path: str, staged: bool) -> str:
    """A file of sudo's, as it is or as it is to be, with its long lines in one."""
    draft = node.draft(path, data=True)
    data = draft.data if staged and draft.kind == "file" else None if staged else draft.seen.data
    return (data or b"").decode("utf-8", "replace").replace("\\\n", " ")


def aliases(text: str, names: set[str]) -> set[str]:
    """The aliases of sudo's that one of `names` belongs to, also by another alias."""
    members = {}
    for line in _ALIASES.findall(text):
        for part in line.partition("#")[0].split(":"):
            alias, _, users = part.partition("=")
            members[alias.strip()] = {user.strip() for user in users.split(",")}
    found: set[str] = set()
    grown = True
    while grown:
        more = {a for a, m in members.items() if m & (names | found)} - found
        found |= more
        grown = bool(more)
    return found

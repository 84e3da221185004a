"""How a control is broken by hand, derived from its resources; by other means than the module.

Each gives a shell script for root on the node, or None where the resource cannot be broken there.
A script breaks what is effective and keeps the node reachable: no key of the SSH server gets loose
rights, and the server is not told to reload.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from tests.unit.hardening_fixtures import sample

Resource = dict[str, Any]
PERSON = "victim"
"""The account that is made, with a password, to be broken."""

PREPARE = f"""
id {PERSON} >/dev/null 2>&1 || useradd -m {PERSON}
usermod -p '$6$x$y' -s /bin/bash {PERSON}
chage -m 1 -M 30 -W 7 -I 30 {PERSON}
touch /home/{PERSON}/.profile; chown {PERSON}: /home/{PERSON}/.profile
chmod 0600 /home/{PERSON}/.profile; chmod 0700 /home/{PERSON}
id open >/dev/null 2>&1 || useradd -m open
"""
AFTER = f"userdel -rf {PERSON}; userdel -rf open; rm -rf /srv/broken-by-hand; true"


def _sysctl(r: Resource) -> str:
    other = {"0": "1", "1": "0"}.get(str(r["value"]), str(int(str(r["value"]).split()[0]) + 1))
    return f"sysctl -qw {shlex.quote(r['name'] + '=' + other)}"


SSHD = {
    "loglevel": "QUIET",
    "banner": "none",
    "maxstartups": "1000:1:1000",
    "clientaliveinterval": "0",
    "denyusers": "",
    "rekeylimit": "9G 9h",
}


def _sshd(r: Resource) -> str:
    option, value = r["option"], str(r["value"])
    other = {"yes": "no", "no": "yes"}.get(value, SSHD.get(option.lower(), "99"))
    if value.startswith("-"):
        other = "^" + value[1:].split(",", maxsplit=1)[0]
    # A file read before ours would do for most, but of MaxStartups the last one counts.
    edit = f"s/^{option} .*/{option} {other}/" if other else f"/^{option} /d"
    # Some rules read nothing but the main file.
    files = "/etc/ssh/sshd_config.d/00-holdfast.conf" + (" /etc/ssh/sshd_config" * ("main" in r))
    return f"sed -i '{edit}' {files}"


def _setting(r: Resource) -> str:
    path, key = r["path"], r["key"]
    pattern = rf"^\s*{re.escape(key)}([[:space:]=]|$)"
    gone = f"sed -i -E {shlex.quote('/' + pattern.replace('/', chr(92) + '/') + '/d')} {path}"
    if r.get("style") == "flag":
        return gone
    between = {"space": " ", "bare_equals": "="}.get(r.get("style", "equals"), " = ")
    value = str(r.get("value", "77"))
    other = {"yes": "no", "none": "external", "persistent": "volatile", "1": "0"}.get(value)
    if other is None:
        other = "77" if value.lstrip("-").isdigit() else "other"
    fresh = f"{key}{between}{other}"
    if r.get("section"):
        section = shlex.quote(f"/^\\[{r['section']}\\]/a {fresh}")
        return f"{gone}; sed -i {section} {path}"
    return f"{gone}; echo {shlex.quote(fresh)} >>{path}"


def _line(r: Resource) -> str:
    path, line = r["path"], str(r.get("line", ""))
    if r.get("state") == "absent":
        return f"echo {shlex.quote(line or sample(r['match']))} >>{path}"
    whole = f"grep -vxF {shlex.quote(line)} {path} >/root/line; cat /root/line >{path}"
    if path.startswith("/etc/sudoers"):
        name = line.split(None, 1)[1]
        if name.startswith("!"):
            return f"{whole}; echo {shlex.quote('Defaults ' + name[1:])} >>{path}"
        if "=" not in name:
            return f"{whole}; echo {shlex.quote('Defaults !' + name)} >>{path}"
        if name.partition("=")[2].isdigit():
            other = f"Defaults {name.partition('=')[0]}=77"
            return f"{whole}; echo {shlex.quote(other)} >>{path}"
    return whole


def _content(r: Resource) -> str:
    path = r["path"]
    if path.endswith(".xml"):
        return f"echo '<zone/>' >{path}"
    if path.startswith(("/etc/issue", "/etc/motd")):
        return f"echo 'Kernel \\\\r' >{path}"
    return f": >{path}"


def _file(r: Resource) -> str:
    path = r["path"]
    if r.get("state") == "absent":
        return f'for f in {path}; do break; done; d=${{f%/*}}; [ -d "$d" ] && touch "$f"; true'
    wanted = int(r.get("mode", "07777"), 8)
    bit = next((b for b in (0o004, 0o040, 0o002, 0o020, 0o001) if not wanted & b), None)
    if r.get("group") is not None:
        do = "chgrp games"
    elif bit is not None:
        do = (
            f"chmod {'o' if bit < 0o010 else 'g'}+{ {4: 'r', 2: 'w', 1: 'x'}[bit & 7 or bit >> 3] }"
        )
    else:
        do = "chown games"
    test = {"dir": "-d", "file": "-f"}.get(r.get("kind", "any"), "-e")
    if r.get("recurse"):
        return f'f=$(find {path} -type f 2>/dev/null | sort | head -1); [ -z "$f" ] || {do} "$f"'
    return f'for f in {path}; do [ {test} "$f" ] && {{ {do} "$f"; break; }}; done; true'


def _service(r: Resource) -> str:
    name, state = r["name"], r["state"]
    there = f"systemctl cat {name} >/dev/null 2>&1 || exit 0"
    if state == "masked":
        return f"({there}; systemctl unmask -q {name})"
    if state == "started":
        stem = name.partition(".")[0]
        return f"systemctl stop {stem}.socket {stem}-dev-log.socket {name} 2>/dev/null; true"
    # The SSH server itself goes on, so that the rest can be looked at.
    now = "" if name == "sshd.service" else "--now"
    return f"({there}; systemctl disable -q {now} {name})"


def _module(r: Resource) -> str:
    return f"sed -i -E '/ {r['name']}( |$)/d' /etc/modprobe.d/60-holdfast.conf"


def _mount(r: Resource) -> str:
    option = r["options"][-1]
    other = option[2:] if option.startswith("no") else "no" + option
    path = r["path"]
    return f"mountpoint -q {path} && mount -o remount,{other} {path}; true"


def _pam(r: Resource) -> str:
    scripts = []
    start = rf"^-?{r['facility']}\s.*{re.escape(r['module'])}"
    for service in r["service"]:
        path = f"/etc/pam.d/{service}"
        args = r.get("args", {})
        if args.get("absent"):
            word = args["absent"][0]
            edit = rf"/{start}/s/$/ {word}=77/"
        elif args.get("present"):
            word = next(iter(args["present"]))
            edit = rf"/{start}/s/\s{word}(=\S+)?(\s|$)/ /"
        else:
            edit = f"/{start}/d"
        scripts.append(f"[ ! -e {path} ] || sed -i -E --follow-symlinks {shlex.quote(edit)} {path}")
    return "; ".join(scripts)


def _authselect(r: Resource) -> str | None:
    if not r.get("features"):
        return None  # without a profile nothing of PAM would be authselect's; it is one step
    return "; ".join(f"authselect disable-feature {name}" for name in r["features"])


def _kernel_argument(r: Resource) -> str:
    if r.get("state") == "absent":
        return f"grubby --update-kernel=ALL --args={r['name']}=0"
    return f"grubby --update-kernel=ALL --remove-args={r['name']}"


def _account(r: Resource) -> str:
    home = f"/home/{PERSON}"
    return {
        "password_max_days": f"chage -M 9999 {PERSON}",
        "password_warn_days": f"chage -W 1 {PERSON}",
        "inactive_days": f"chage -I 99 {PERSON}",
        "min_days": f"chage -m 0 {PERSON}",
        "lock_empty": "passwd -q -d open",
        "lock_system": "usermod -p '$6$x$y' games",
        "nologin_system": "usermod -s /bin/bash games",
        "home_mode": f"chmod 0777 {home}",
        "home_owner": f"chown games {home}",
        "home_group": f"chgrp games {home}",
        "dotfile_mode": f"chmod 0666 {home}/.profile",
        "dotfile_owner": f"chown games {home}/.profile",
        "dotfile_group": f"chgrp games {home}/.profile",
        "root_group": "sed -i 's/^root:x:0:0:/root:x:0:1:/' /etc/passwd",
    }[r["what"]]


def _umask(r: Resource) -> str:
    return (
        r"sed -i -E 's/^(\s*umask\s+)[0-7]+/\1022/' /etc/profile /etc/bashrc; "
        r"sed -i -E 's/^(UMASK\s+).*/\1022/' /etc/login.defs"
    )


def _sweep(r: Resource) -> str:
    if r["what"] == "sticky":
        return "mkdir -p /srv/broken-by-hand/open; chmod 0777 /srv/broken-by-hand/open"
    file = "/srv/broken-by-hand/file"
    return f"mkdir -p /srv/broken-by-hand; touch {file}; chmod 0666 {file}"


BREAK: dict[str, Callable[[Resource], str | None]] = {
    "sysctl": _sysctl,
    "sshd": _sshd,
    "setting": _setting,
    "line": _line,
    "content": _content,
    "file": _file,
    "service": _service,
    "module": _module,
    "mount": _mount,
    "audit_rule": lambda r: "auditctl -D",
    "audit_privileged": lambda r: "auditctl -D",
    "pam": _pam,
    "authselect": _authselect,
    "crypto_policy": lambda r: "update-crypto-policies --no-reload --set LEGACY",
    "kernel_argument": _kernel_argument,
    "account": _account,
    "selinux": lambda r: (
        "setenforce 0; sed -i s/^SELINUXTYPE=.*/SELINUXTYPE=mls/ /etc/selinux/config"
    ),
    "umask": _umask,
    "group": lambda r: f"gpasswd -a games {r['name']}",
    "aide_database": lambda r: "rm -f /var/lib/aide/aide.db.gz",
    "aide_groups": lambda r: "sed -i -E 's/^([A-Z]+ *= *)/\\1md5+/' /etc/aide.conf",
    "sweep": _sweep,
    "default_target": lambda r: "systemctl set-default -q graphical.target",
}
"""By type. Packages are broken together, in a round of their own."""

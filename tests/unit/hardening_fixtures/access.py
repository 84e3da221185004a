"""Fixtures of the types that are about who comes in and as whom."""

from __future__ import annotations

import os
from typing import Any

from tests.unit.hardening_fixtures.ground import A, F, Fixture, Resource, Sight, nothing, part
from tests.unit.hardening_support import System

# sshd


def _sshd(sight: Sight, r: Resource) -> None:
    seen = part(sight, A, "sshd", [{"who": who, "options": {}} for who in ("anybody", "root")])
    value = str(r["value"])
    shown = "only-this@example.org" if value.startswith("-") else value
    for one in seen:
        one["options"][r["option"].lower()] = [shown]


def _sshd_other(sight: Sight, r: Resource) -> None:
    _sshd_says(sight[A, "sshd"][0], r)


def _sshd_matched(sight: Sight, r: Resource) -> None:
    _sshd_says(sight[A, "sshd"][1], r)


def _sshd_says(one: dict[str, Any], r: Resource) -> None:
    value = str(r["value"])
    flipped = {"yes": "no", "no": "yes"}.get(value, "77")
    first = value[1:].split(",", maxsplit=1)[0] if value.startswith("-") else flipped
    one["options"][r["option"].lower()] = [first]


def _sshd_gone(sight: Sight, r: Resource) -> None:
    del sight[A, "sshd"][0]["options"][r["option"].lower()]


def _plant_sshd(system: System, r: Resource) -> None:
    system.write("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n")


# PAM, authselect, accounts


def _entry(r: Resource, *, control: str | None = None, broken: bool = False) -> list[str]:
    args = r.get("args", {})
    words = [n if v is None else f"{n}={v}" for n, v in args.get("present", {}).items()]
    if broken:
        words = [f"{name}=77" for name in args.get("absent", [])]
    return [r["facility"], control or r.get("control", "required"), r["module"], " ".join(words)]


def _pam(sight: Sight, r: Resource) -> None:
    stacks = part(sight, A, "pam", {})
    for service in r["service"]:
        stack = stacks.setdefault(service, [])
        mine = [row for row in stack if (row[0], row[2]) == (r["facility"], r["module"])]
        if r.get("state") == "absent" or mine:
            continue
        other = [r["facility"], "required", r.get("before") or r.get("after") or "pam_x.so", ""]
        pair = [_entry(r), other] if r.get("before") else [other, _entry(r)]
        stack += pair


def _pam_gone(sight: Sight, r: Resource) -> None:
    for service in r["service"]:
        _pam_break(sight[A, "pam"][service], r)


def _pam_one(sight: Sight, r: Resource) -> None:
    _pam_break(sight[A, "pam"][r["service"][0]], r)


def _pam_break(stack: list[list[str]], r: Resource) -> None:
    mine = [row for row in stack if (row[0], row[2]) == (r["facility"], r["module"])]
    if r.get("state") == "absent":
        stack.append(_entry(r))
    elif r.get("control") is not None and not r.get("args", {}).get("absent"):
        for row in mine:
            stack.remove(row)
    else:
        for row in mine:
            row[3] = _entry(r, broken=True)[3]


def _pam_line(row: list[str]) -> str:
    return " ".join(row) + "\n"


def _plant_pam(system: System, r: Resource) -> None:
    for service in r["service"]:
        text = _pam_line(["auth", "required", "pam_env.so", ""])
        if r.get("control") is None or r.get("state") == "absent":
            text += _pam_line(_entry(r, control="required", broken=True))
        system.write(f"/etc/pam.d/{service}", text)


def _authselect(sight: Sight, r: Resource) -> None:
    seen = part(sight, A, "authselect", {"current": ["local"], "check": "Current is valid."})
    seen["current"] += r.get("features", [])


def _authselect_less(sight: Sight, r: Resource) -> None:
    seen = sight[A, "authselect"]
    seen["current"] = ["local"] if r.get("features") else []


def _authselect_edited(sight: Sight, r: Resource) -> None:
    sight[A, "authselect"]["check"] = "[error] File was modified outside authselect!"


def _plant_authselect(system: System, r: Resource) -> None:
    system.program("authselect")
    profile = r.get("profile", "local")
    system.write(f"/usr/share/authselect/default/{profile}/system-auth", "")
    if r.get("features"):
        system.write("/etc/authselect/authselect.conf", "local\n")


def _group(sight: Sight, r: Resource) -> None:
    members = sorted(r.get("members", []))
    part(sight, A, "groups", {})[r["name"]] = {"members": members, "first": []}


def _group_gone(sight: Sight, r: Resource) -> None:
    sight[A, "groups"][r["name"]] = None


def _group_more(sight: Sight, r: Resource) -> None:
    sight[A, "groups"][r["name"]]["first"] = ["mallory"]


def _people() -> list[dict[str, Any]]:
    ann = {
        "name": "ann", "uid": 1001, "gid": 1001, "home": "/home/ann", "shell": "/bin/bash",
        "password": "usable", "ages": ["7", "30", "30", "5"],
        "places": [
            ["/home/ann", "dir", 0o700, 1001, 1001],
            ["/home/ann/.profile", "file", 0o600, 1001, 1001],
        ],
    }  # fmt: skip
    daemon = {
        "name": "daemon", "uid": 2, "gid": 2, "home": "/sbin", "shell": "/sbin/nologin",
        "password": "locked", "ages": ["0", "99999", "7", ""], "places": [],
    }  # fmt: skip
    root = {**daemon, "name": "root", "uid": 0, "gid": 0, "shell": "/bin/bash"}
    return [root, daemon, ann]


def _account(sight: Sight, r: Resource) -> None:
    part(sight, A, "accounts", _people())


def _account_other(sight: Sight, r: Resource) -> None:
    root, daemon, ann = sight[A, "accounts"]
    what = r["what"]
    daemon["shell"], daemon["password"] = "/bin/sh", "usable"
    root["gid"] = 5
    ann["ages"] = ["0", "", "0", ""]
    if what == "lock_empty":
        ann["password"] = "empty"
    for place in ann["places"]:
        place[2:] = [0o777, 4242, 4242]


def _plant_account(system: System, r: Resource) -> None:
    me, group = os.getuid(), os.getgid()
    if r["what"] == "root_group":
        system.write("/etc/passwd", f"root:x:{me}:{group + 5}:root:/root:/bin/bash\n")
        return
    system.user("daemon:x:2:2::/sbin:/bin/sh", "daemon:$6$y:19000:0:99999:7:::")
    password = "" if r["what"] == "lock_empty" else "$6$x"
    rights = r["what"].startswith(("home_", "dotfile_"))
    uid = me if rights and me >= 1000 else 1001
    system.user(f"ann:x:{uid}:{group + 7}::/home/ann:/bin/bash", f"ann:{password}:19000:0::0:::")
    system.write("/home/ann/.profile", "x", 0o666)
    system.path("/home/ann").chmod(0o777)


# The rest


def _umask(sight: Sight, r: Resource) -> None:
    shells = [("root", "login shell"), ("nobody", "login shell"), ("nobody", "other shell")]
    sight[F, "umask"] = [
        {"user": user, "shell": shell, "mask": r["value"]} for user, shell in shells
    ]
    part(sight, F, "texts", {})["/etc/login.defs"] = f"UMASK\t\t{r['value'][1:]}\n"


def _umask_shell(sight: Sight, r: Resource) -> None:
    sight[F, "umask"][1]["mask"] = "0022"


def _umask_login(sight: Sight, r: Resource) -> None:
    sight[F, "texts"]["/etc/login.defs"] += "UMASK 022\n"


def _plant_umask(system: System, r: Resource) -> None:
    system.write("/etc/bashrc", "umask 022\n")
    system.write("/etc/profile", "umask 022\n")
    system.write("/etc/login.defs", "UMASK 022\n")


FIXTURES: dict[str, Fixture] = {
    "sshd": Fixture(
        _sshd, {"other": _sshd_other, "match": _sshd_matched, "gone": _sshd_gone}, _plant_sshd
    ),
    "pam": Fixture(_pam, {"all": _pam_gone, "one": _pam_one}, _plant_pam),
    "authselect": Fixture(
        _authselect, {"less": _authselect_less, "edited": _authselect_edited}, _plant_authselect
    ),
    "account": Fixture(_account, {"other": _account_other}, _plant_account),
    "umask": Fixture(_umask, {"shell": _umask_shell, "login": _umask_login}, _plant_umask),
    "group": Fixture(_group, {"gone": _group_gone, "more": _group_more}, nothing),
}

"""What a control's resources look like on a node, right and broken, derived from each resource.

For each type of resource there is one `Fixture`: what the probes would see where it holds, each way
to deviate from that, and a node in a folder on which the module finds something to do. Nothing here
names a control, so that a new one has its fixtures by being there; a new type has none until it is
added here, and the tests say so.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provision.checks.declare import CouldNotLook
from provision.checks.hardened import files
from tests.unit.hardening_support import System

S, F, A = "hardening", "hardening_files", "hardening_access"
Resource = dict[str, Any]
Sight = dict[tuple[str, str], Any]
"""What the probes saw, by area and part."""

SAMPLES = {
    r"tmux\s*$": "/usr/bin/tmux",
    r"^(?!#).*pam_succeed_if": "auth sufficient pam_succeed_if.so user = ann",
    r"^\s*(?i:CRYPTO_POLICY)\s*=": "CRYPTO_POLICY=",
    r"^\s*Defaults\s+.*timestamp_timeout\s*=": "Defaults timestamp_timeout=-1",
    r"^\s*ALL\s+ALL=\(ALL(:ALL)?\)\s+ALL\s*$": "ALL ALL=(ALL) ALL",
}
"""For patterns of lines that must not be there: a line that each finds."""


def sample(pattern: str) -> str:
    """A line that a pattern finds."""
    if pattern in SAMPLES:
        return SAMPLES[pattern]
    if "InputTCPServerRun" in pattern:
        return "$InputTCPServerRun 514"
    if "OPTIONS=" in pattern:
        return 'OPTIONS="-u root"'
    raise KeyError(f"no sample in {__name__} for the pattern {pattern!r}")


def looker(sight: Sight) -> Callable[[str, str], Any]:
    """What a check calls; a part that nobody put there could not be seen."""

    def look(area: str, part: str) -> Any:
        if (area, part) not in sight:
            raise CouldNotLook(f"nothing was seen of {area} {part}")
        return sight[area, part]

    return look


def part(sight: Sight, area: str, name: str, fresh: Any) -> Any:
    """A part of what was seen, made where it is missing."""
    return sight.setdefault((area, name), fresh)


@dataclass(frozen=True)
class Fixture:
    """One type: `right` adds what is seen where the resource holds, `broken` are ways to deviate.

    `plant` prepares a node in a folder on which the module has something to do.
    """

    right: Callable[[Sight, Resource], None]
    broken: dict[str, Callable[[Sight, Resource], None]]
    plant: Callable[[System, Resource], None]


# sysctl


def _sysctl(sight: Sight, r: Resource) -> None:
    seen = part(sight, S, "sysctl", {"running": {}, "next": "# a comment\nnet.x=\n"})
    value = " ".join(str(r["value"]).split())
    seen["running"][r["name"]] = value
    seen["next"] += f"{r['name']} = {value}\n"


def _sysctl_now(sight: Sight, r: Resource) -> None:
    sight[S, "sysctl"]["running"][r["name"]] = "77"


def _sysctl_next(sight: Sight, r: Resource) -> None:
    sight[S, "sysctl"]["next"] += f"-{r['name']}=77\n"


def _plant_sysctl(system: System, r: Resource) -> None:
    system.write("/proc/sys/" + r["name"].replace(".", "/"), "77\n")


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


# setting and line


def _text_of(sight: Sight, r: Resource) -> tuple[dict[str, Any], str]:
    """Where the text of a setting or line is seen."""
    view = files.view_of(r["path"])
    if view is None:
        texts: dict[str, Any] = part(sight, F, "texts", {})
        texts.setdefault(r["path"], "# a comment\n")
        return texts, r["path"]
    views = part(sight, F, "views", {})
    return views.setdefault(view, {"value": "# a comment\n"}), "value"


def _written(r: Resource, value: str) -> str:
    between = {"space": "\t", "flag": "", "bare_equals": "="}.get(r.get("style", "equals"), " = ")
    section = f"[{r['section']}]\n" if r.get("section") else ""
    return f"{section}{r['key']}{between}{value}\n"


def _setting(sight: Sight, r: Resource) -> None:
    where, key = _text_of(sight, r)
    if r.get("state") != "absent":
        where[key] += _written(r, str(r.get("value", "")))


def _setting_other(sight: Sight, r: Resource) -> None:
    where, key = _text_of(sight, r)
    if r.get("state") == "absent":
        where[key] += _written(r, str(r.get("value", "77")))
    elif r.get("value") is None:
        where[key] = "# " + r["key"] + "\n"
    else:
        where[key] += _written(r, "77")


def _setting_gone(sight: Sight, r: Resource) -> None:
    where, key = _text_of(sight, r)
    where[key] = _written(r, "1") if r.get("state") == "absent" else "[other]\nother = 1\n"


def _plant_setting(system: System, r: Resource) -> None:
    if r.get("state") == "absent":
        system.write(r["path"], _written(r, str(r.get("value", "77"))))
    else:
        system.write(r["path"], "# nothing\n")


def _sudo(r: Resource) -> tuple[str, Any] | None:
    """The default of sudo that a line is, as sudo's own reader shows it."""
    if not r["path"].startswith("/etc/sudoers") or not r.get("line", "").startswith("Defaults"):
        return None
    said = r["line"].split(None, 1)[1]
    name, sign, value = said.lstrip("!").partition("=")
    return name, value.strip('"') if sign else not said.startswith("!")


def _json(sight: Sight) -> dict[str, Any]:
    views = part(sight, F, "views", {})
    return dict(json.loads(views.get("sudoers", {"value": '{"Defaults": []}'})["value"]))


def _sudo_says(sight: Sight, name: str, value: Any) -> None:
    whole = _json(sight)
    whole["Defaults"].append({"Options": [{name: value}]})
    sight[F, "views"]["sudoers"] = {"value": json.dumps(whole)}


def _line(sight: Sight, r: Resource) -> None:
    default = _sudo(r)
    if r["path"].startswith("/etc/sudoers"):
        part(sight, F, "views", {}).setdefault("sudoers", {"value": '{"Defaults": []}'})
        part(sight, F, "texts", {}).setdefault(r["path"], "root ALL=(ALL) ALL\n")
    if default is not None:
        _sudo_says(sight, *default)
    elif r["path"].startswith("/etc/security/limits"):
        view = part(sight, F, "views", {}).setdefault("limits", {"value": "# none\n"})
        view["value"] += r["line"] + "\n"
    else:
        texts = part(sight, F, "texts", {})
        texts.setdefault(r["path"], "# a comment\n")
        if r.get("state") != "absent":
            texts[r["path"]] += r["line"] + "\n"


def _line_other(sight: Sight, r: Resource) -> None:
    default = _sudo(r)
    if default is not None:
        name, value = default
        _sudo_says(sight, name, (not value) if isinstance(value, bool) else 77)
    elif r["path"].startswith("/etc/security/limits"):
        who, kind, item, _ = r["line"].split()
        sight[F, "views"]["limits"]["value"] += f"{who} {kind} {item} 77\n"
    elif r.get("state") == "absent":
        sight[F, "texts"][r["path"]] += (r.get("line") or sample(r["match"])) + "\n"
    else:
        text = sight[F, "texts"][r["path"]]
        sight[F, "texts"][r["path"]] = text.replace(r["line"] + "\n", "# gone\n")


def _plant_line(system: System, r: Resource) -> None:
    if r.get("state") == "absent":
        system.write(r["path"], (r.get("line") or sample(r["match"])) + "\n")


# content and file


def _content(sight: Sight, r: Resource) -> None:
    rights = [r.get("mode", "0644"), r.get("owner", "root"), r.get("group", "root")]
    digest = hashlib.sha256(r["text"].encode()).hexdigest()
    seen = {"kind": "file", "rights": rights, "sha256": digest}
    part(sight, F, "contents", {})[r["path"]] = seen


def _content_text(sight: Sight, r: Resource) -> None:
    sight[F, "contents"][r["path"]]["sha256"] = "0" * 64


def _content_rights(sight: Sight, r: Resource) -> None:
    sight[F, "contents"][r["path"]]["rights"] = ["0666", "root", "root"]


def _content_gone(sight: Sight, r: Resource) -> None:
    sight[F, "contents"][r["path"]] = None


def _row(sight: Sight, r: Resource) -> dict[str, Any]:
    rows = part(sight, F, "files", [])
    key = (r["path"], bool(r.get("recurse")))
    for row in rows:
        if (row["path"], row["recurse"]) == key:
            return dict(row)
    rows.append({"path": key[0], "recurse": key[1], "found": []})
    return dict(rows[-1])


def _file(sight: Sight, r: Resource) -> None:
    found = _row(sight, r)["found"]
    if r.get("state") == "absent":
        return
    kind = r.get("kind", "any").replace("any", "file")
    mode = r.get("mode", "0644")
    place = r["path"].replace("*", "x")
    row = [kind, mode, r.get("owner", "root"), r.get("group", "root"), 1, [place]]
    # Two resources of one path are two kinds of place that it finds.
    found[:] = [row] if not found else [*found, row]


def _file_mode(sight: Sight, r: Resource) -> None:
    if "mode" not in r:
        _file_owner(sight, r)
        return
    for row in _row(sight, r)["found"]:
        row[1] = "7777"


def _file_owner(sight: Sight, r: Resource) -> None:
    column, key = (2, "owner") if "owner" in r else (3, "group")
    if key not in r:
        _file_mode(sight, r)
        return
    for row in _row(sight, r)["found"]:
        row[column] = "mallory"


def _file_there(sight: Sight, r: Resource) -> None:
    _row(sight, r)["found"].append(["file", "0644", "root", "root", 1, [r["path"]]])


def _file_broken(sight: Sight, r: Resource) -> None:
    (_file_there if r.get("state") == "absent" else _file_mode)(sight, r)


def _file_owned(sight: Sight, r: Resource) -> None:
    (_file_there if r.get("state") == "absent" else _file_owner)(sight, r)


def _plant_file(system: System, r: Resource) -> None:
    path = r["path"].replace("*", "x")
    if r.get("recurse"):
        path += "/below"
    if r.get("kind") == "dir":
        system.path(path).mkdir(parents=True, exist_ok=True)
    else:
        system.write(path, "x")
    place = system.path(path)
    if "mode" in r or r.get("state") == "absent":
        place.chmod(0o777)
    if "mode" not in r and os.getuid() == 0 and r.get("state") != "absent":
        os.chown(place, 4242, 4242)


# packages, units and what else the system says


def _package(sight: Sight, r: Resource) -> None:
    installed = part(sight, "packages", "installed", [{"name": "rpm"}])
    if r.get("state", "present") == "present":
        installed.append({"name": r["name"]})


def _package_other(sight: Sight, r: Resource) -> None:
    installed = sight["packages", "installed"]
    if r.get("state", "present") == "present":
        installed[:] = [p for p in installed if p["name"] != r["name"]]
    else:
        installed.append({"name": r["name"]})


def _unit(load: str, file: str, active: str) -> dict[str, str]:
    return {"LoadState": load, "UnitFileState": file, "ActiveState": active}


RUNS = _unit("loaded", "enabled", "active")


def _service(sight: Sight, r: Resource) -> None:
    units = part(sight, S, "units", {})
    units[r["name"]] = dict(
        {
            "masked": _unit("masked", "masked", "inactive"),
            "disabled": _unit("loaded", "disabled", "inactive"),
        }.get(r["state"], RUNS)
    )


def _service_other(sight: Sight, r: Resource) -> None:
    stopped = _unit("loaded", "disabled", "inactive")
    wrong = RUNS if r["state"] in ("masked", "disabled") else stopped
    sight[S, "units"][r["name"]] = dict(wrong)


def _service_half(sight: Sight, r: Resource) -> None:
    active = "active" if r["state"] in ("masked", "disabled") else "failed"
    sight[S, "units"][r["name"]]["ActiveState"] = active


def _plant_service(system: System, r: Resource) -> None:
    if r["state"] in ("masked", "disabled"):
        system.unit(r["name"], file="enabled", active="active")
    else:
        system.unit(r["name"])


def _module(sight: Sight, r: Resource) -> None:
    seen = part(sight, S, "modules", {"config": [], "loaded": []})
    name = r["name"].replace("-", "_")
    seen["config"] += [["install", name, "/bin/false"], ["blacklist", name]]


def _module_loads(sight: Sight, r: Resource) -> None:
    sight[S, "modules"]["config"] = []


def _module_loaded(sight: Sight, r: Resource) -> None:
    sight[S, "modules"]["loaded"].append(r["name"].replace("-", "_"))


def _plant_module(system: System, r: Resource) -> None:
    name = r["name"].replace("-", "_")
    system.write("/proc/modules", f"{name} 4096 0 - Live 0x0\n")


def _mount(sight: Sight, r: Resource) -> None:
    seen = part(sight, S, "mounts", {})
    seen.setdefault(r["path"], ["rw"]).extend(r["options"])


def _mount_other(sight: Sight, r: Resource) -> None:
    sight[S, "mounts"][r["path"]].remove(r["options"][-1])


def _plant_mount(system: System, r: Resource) -> None:
    system.write("/etc/fstab", f"/dev/vdb {r['path']} xfs defaults 0 0\n")
    system.write("/proc/self/mounts", f"/dev/vdb {r['path']} xfs rw 0 0\n")


def _argument(sight: Sight, r: Resource) -> None:
    entries = {"a.conf": ["ro"], "b.conf": ["ro"]}
    seen = part(sight, S, "kernel_arguments", {"running": ["ro"], "entries": entries})
    if r.get("state") != "absent":
        word = f"{r['name']}={r['value']}" if "value" in r else r["name"]
        for words in (seen["running"], *seen["entries"].values()):
            words.append(word)


def _argument_entry(sight: Sight, r: Resource) -> None:
    _argument_wrong(sight[S, "kernel_arguments"]["entries"]["b.conf"], r)


def _argument_running(sight: Sight, r: Resource) -> None:
    _argument_wrong(sight[S, "kernel_arguments"]["running"], r)


def _argument_wrong(words: list[str], r: Resource) -> None:
    if r.get("state") == "absent":
        words.append(f"{r['name']}=0")
    else:
        words[:] = [word for word in words if word.partition("=")[0] != r["name"]]


def _plant_argument(system: System, r: Resource) -> None:
    system.program("grubby")
    system.kernels = [f"ro {r['name']}=0"] if r.get("state") == "absent" else ["ro quiet"]
    system.write("/proc/cmdline", system.kernels[0] + "\n")


def _selinux(sight: Sight, r: Resource) -> None:
    seen = part(sight, S, "selinux", {"state": "enforcing", "policy": "", "installed": []})
    if "policy" in r:
        seen["policy"] = r["policy"]
        seen["installed"].append(r["policy"])


def _selinux_other(sight: Sight, r: Resource) -> None:
    sight[S, "selinux"].update({"state": "disabled", "policy": "mls"})


def _plant_selinux(system: System, r: Resource) -> None:
    system.write("/etc/selinux/config", "SELINUX=disabled\nSELINUXTYPE=mls\n")
    if "policy" in r:
        system.path(f"/etc/selinux/{r['policy']}/policy").mkdir(parents=True)


def _target(sight: Sight, r: Resource) -> None:
    sight[S, "default_target"] = r["name"]


def _target_other(sight: Sight, r: Resource) -> None:
    sight[S, "default_target"] = "graphical.target"


def _plant_target(system: System, r: Resource) -> None:
    system.write(f"/usr/lib/systemd/system/{r['name']}", "")
    system.path("/usr/lib/systemd/system/default.target").symlink_to("graphical.target")


def _crypto(sight: Sight, r: Resource) -> None:
    seen = part(
        sight,
        S,
        "crypto_policy",
        {
            "policy": "LEGACY",
            "applied": "The configured policy is applied",
            "back_ends": {"openssl.config": True},
        },
    )
    base, *has = seen["policy"].split(":")
    base = r.get("policy", base)
    seen["policy"] = ":".join([base, *has, *r.get("modules", [])])


def _crypto_policy(sight: Sight, r: Resource) -> None:
    sight[S, "crypto_policy"]["policy"] = "LEGACY"


def _crypto_applied(sight: Sight, r: Resource) -> None:
    sight[S, "crypto_policy"]["applied"] = "The configured policy is NOT applied"


def _crypto_links(sight: Sight, r: Resource) -> None:
    sight[S, "crypto_policy"]["back_ends"]["openssl.config"] = False


def _plant_crypto(system: System, r: Resource) -> None:
    system.program("update-crypto-policies")
    for path in ("config", "state/current"):
        system.write("/etc/crypto-policies/" + path, "LEGACY\n")
    for name in (f"{r.get('policy')}.pol", *(f"modules/{m}.pmod" for m in r.get("modules", []))):
        system.write("/usr/share/crypto-policies/policies/" + name, "")


# Audit

FRESH = {"rules": [], "kept": [], "status": {"enabled": "1"}, "machine": "x86_64"}


def _listed(rule: str) -> str:
    """A rule as `auditctl -l` writes it."""
    return rule.replace("auid!=unset", "auid!=-1").replace(" -k ", " -F key=")


def _audit(sight: Sight, r: Resource) -> None:
    seen = part(sight, S, "audit", copy.deepcopy(FRESH))
    for rule in r["rules"]:
        words = rule.split()
        option = {"-e": "enabled", "-f": "failure", "-b": "backlog_limit"}.get(words[0])
        if option:
            seen["status"][option] = words[1]
        elif words[0] == "--loginuid-immutable":
            seen["status"]["loginuid_immutable"] = "1 locked"
        else:
            arches = ("b32", "b64") if "{arch}" in rule else ("",)
            seen["rules"] += [_listed(rule.replace("{arch}", arch)) for arch in arches]


def _audit_gone(sight: Sight, r: Resource) -> None:
    seen = sight[S, "audit"]
    seen["rules"] = seen["rules"][1:]
    seen["status"] = {"enabled": "0"}


def _plant_audit(system: System, r: Resource) -> None:
    system.program("augenrules")


def _privileged(sight: Sight, r: Resource) -> None:
    seen = part(sight, S, "audit", copy.deepcopy(FRESH))
    found = [["f", "4755", "/usr/bin/su"], ["f", "4755", "/mnt/su"]]
    walk = {"found": found, "mounts": {"/": ["rw"], "/mnt": ["rw", "nosuid"]}}
    sight[F, "walk"] = walk
    seen["rules"].append(f"-a always,exit -S all -F path=/usr/bin/su -F perm=x -F key={r['key']}")


def _plant_privileged(system: System, r: Resource) -> None:
    system.program("augenrules")
    system.write("/proc/self/mounts", "/dev/vda / xfs rw 0 0\n")
    system.write("/usr/bin/su", "", 0o4755)


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


def _database(sight: Sight, r: Resource) -> None:
    seen = part(sight, F, "aide", {"text": "A = p\n"})
    seen.update({"database": "/var/lib/aide/aide.db.gz", "size": 10})


def _database_gone(sight: Sight, r: Resource) -> None:
    sight[F, "aide"]["size"] = None


def _database_empty(sight: Sight, r: Resource) -> None:
    sight[F, "aide"]["size"] = 0


def _plant_database(system: System, r: Resource) -> None:
    system.program("aide")
    system.write("/etc/aide.conf", "database_in=file:/var/lib/aide/aide.db.gz\n"
                 "database_out=file:/var/lib/aide/aide.db.new.gz\n")  # fmt: skip


def _groups(sight: Sight, r: Resource) -> None:
    seen = part(sight, F, "aide", {"database": "", "size": 1})
    seen["text"] = f"BASE = {'+'.join(r['present'])}\nMORE = BASE+p\n"


def _groups_less(sight: Sight, r: Resource) -> None:
    sight[F, "aide"]["text"] += f"LESS = BASE-{r['present'][0]}\n"


def _groups_more(sight: Sight, r: Resource) -> None:
    sight[F, "aide"]["text"] += f"WEAK = BASE+{r['absent'][0]}\n"


def _plant_groups(system: System, r: Resource) -> None:
    system.write("/etc/aide.conf", f"NORMAL = p+{r['absent'][0]}\n")


def _sweep(sight: Sight, r: Resource) -> None:
    found = [["f", "4755", "/usr/bin/su"]]
    sight[F, "walk"] = {"found": found, "mounts": {"/": ["rw"]}}


def _sweep_open(sight: Sight, r: Resource) -> None:
    kind, mode = ("d", "777") if r["what"] == "sticky" else ("f", "666")
    sight[F, "walk"]["found"].append([kind, mode, "/srv/open"])


def _plant_sweep(system: System, r: Resource) -> None:
    system.write("/proc/self/mounts", "/dev/vda / xfs rw 0 0\n")
    system.write("/srv/open", "x", 0o666)
    system.path("/srv/shared").mkdir()
    system.path("/srv/shared").chmod(0o777)


def _nothing(system: System, r: Resource) -> None:
    """A bare node lacks it."""


FIXTURES: dict[str, Fixture] = {
    "sysctl": Fixture(_sysctl, {"now": _sysctl_now, "next": _sysctl_next}, _plant_sysctl),
    "sshd": Fixture(
        _sshd, {"other": _sshd_other, "match": _sshd_matched, "gone": _sshd_gone}, _plant_sshd
    ),
    "setting": Fixture(_setting, {"other": _setting_other, "gone": _setting_gone}, _plant_setting),
    "line": Fixture(_line, {"other": _line_other}, _plant_line),
    "content": Fixture(
        _content,
        {"text": _content_text, "rights": _content_rights, "gone": _content_gone},
        _nothing,
    ),
    "file": Fixture(_file, {"mode": _file_broken, "owner": _file_owned}, _plant_file),
    "package": Fixture(_package, {"other": _package_other}, _nothing),
    "service": Fixture(_service, {"other": _service_other, "half": _service_half}, _plant_service),
    "module": Fixture(_module, {"loads": _module_loads, "loaded": _module_loaded}, _plant_module),
    "mount": Fixture(_mount, {"other": _mount_other}, _plant_mount),
    "audit_rule": Fixture(_audit, {"gone": _audit_gone}, _plant_audit),
    "audit_privileged": Fixture(_privileged, {"gone": _audit_gone}, _plant_privileged),
    "pam": Fixture(_pam, {"all": _pam_gone, "one": _pam_one}, _plant_pam),
    "authselect": Fixture(
        _authselect, {"less": _authselect_less, "edited": _authselect_edited}, _plant_authselect
    ),
    "crypto_policy": Fixture(
        _crypto,
        {"policy": _crypto_policy, "applied": _crypto_applied, "links": _crypto_links},
        _plant_crypto,
    ),
    "kernel_argument": Fixture(
        _argument, {"entry": _argument_entry, "running": _argument_running}, _plant_argument
    ),
    "account": Fixture(_account, {"other": _account_other}, _plant_account),
    "selinux": Fixture(_selinux, {"other": _selinux_other}, _plant_selinux),
    "umask": Fixture(_umask, {"shell": _umask_shell, "login": _umask_login}, _plant_umask),
    "group": Fixture(_group, {"gone": _group_gone, "more": _group_more}, _nothing),
    "aide_database": Fixture(
        _database, {"gone": _database_gone, "empty": _database_empty}, _plant_database
    ),
    "aide_groups": Fixture(_groups, {"less": _groups_less, "more": _groups_more}, _plant_groups),
    "sweep": Fixture(_sweep, {"open": _sweep_open}, _plant_sweep),
    "default_target": Fixture(_target, {"other": _target_other}, _plant_target),
}
"""By type."""

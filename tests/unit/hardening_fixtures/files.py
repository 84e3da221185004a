"""Fixtures of the types that are about files and what stands in them."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from provision.checks.hardened import files
from tests.unit.hardening_fixtures.ground import F, Fixture, Resource, Sight, nothing, part, sample
from tests.unit.hardening_support import System

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


FIXTURES: dict[str, Fixture] = {
    "setting": Fixture(_setting, {"other": _setting_other, "gone": _setting_gone}, _plant_setting),
    "line": Fixture(_line, {"other": _line_other}, _plant_line),
    "content": Fixture(
        _content,
        {"text": _content_text, "rights": _content_rights, "gone": _content_gone},
        nothing,
    ),
    "file": Fixture(_file, {"mode": _file_broken, "owner": _file_owned}, _plant_file),
    "sweep": Fixture(_sweep, {"open": _sweep_open}, _plant_sweep),
}

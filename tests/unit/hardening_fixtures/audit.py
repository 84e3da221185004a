"""Fixtures of the types that record: audit rules, and AIDE."""

from __future__ import annotations

import copy

from tests.unit.hardening_fixtures.ground import F, Fixture, Resource, S, Sight, part
from tests.unit.hardening_support import System

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


FIXTURES: dict[str, Fixture] = {
    "audit_rule": Fixture(_audit, {"gone": _audit_gone}, _plant_audit),
    "audit_privileged": Fixture(_privileged, {"gone": _audit_gone}, _plant_privileged),
    "aide_database": Fixture(
        _database, {"gone": _database_gone, "empty": _database_empty}, _plant_database
    ),
    "aide_groups": Fixture(_groups, {"less": _groups_less, "more": _groups_more}, _plant_groups),
}

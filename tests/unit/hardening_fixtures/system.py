"""Fixtures of the types that are about the kernel, units, packages and policies."""

from __future__ import annotations

from tests.unit.hardening_fixtures.ground import Fixture, Resource, S, Sight, nothing, part
from tests.unit.hardening_support import System

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


FIXTURES: dict[str, Fixture] = {
    "sysctl": Fixture(_sysctl, {"now": _sysctl_now, "next": _sysctl_next}, _plant_sysctl),
    "package": Fixture(_package, {"other": _package_other}, nothing),
    "service": Fixture(_service, {"other": _service_other, "half": _service_half}, _plant_service),
    "module": Fixture(_module, {"loads": _module_loads, "loaded": _module_loaded}, _plant_module),
    "mount": Fixture(_mount, {"other": _mount_other}, _plant_mount),
    "crypto_policy": Fixture(
        _crypto,
        {"policy": _crypto_policy, "applied": _crypto_applied, "links": _crypto_links},
        _plant_crypto,
    ),
    "kernel_argument": Fixture(
        _argument, {"entry": _argument_entry, "running": _argument_running}, _plant_argument
    ),
    "selinux": Fixture(_selinux, {"other": _selinux_other}, _plant_selinux),
    "default_target": Fixture(_target, {"other": _target_other}, _plant_target),
}

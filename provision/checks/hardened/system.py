"""Judges what the kernel, systemd, rpm and the boot loader say."""

from __future__ import annotations

import fnmatch

from provision.checks.declare import Looker
from provision.checks.hardened.declared import installed
from provision.checks.hardened.outcome import NotHere, Resource, Waits

AREA = "hardening"
STARTED = ("active", "reloading", "activating")
NOTHING = ("/bin/false", "/bin/true", "/usr/bin/false", "/usr/bin/true")
"""What stands for a module that shall not be loaded."""
LEVELS = {"disabled": 0, "permissive": 1, "enforcing": 2}


def sysctl(resource: Resource, look: Looker) -> list[str]:
    """What runs, and what the next start would set."""
    name, wanted = resource["name"], " ".join(str(resource["value"]).split())
    seen = look(AREA, "sysctl")
    running = seen["running"][name]
    if running is None:
        raise NotHere(f"this kernel has no {name}")
    wrong = [] if running == wanted else [f"{name} is {running}, not {wanted}"]
    after = after_start(seen["next"], name)
    if after != wanted:
        wrong.append(f"{name} will be {after or 'left alone'} after a restart, not {wanted}")
    return wrong


def after_start(config: str, name: str) -> str | None:
    """The value that systemd-sysctl sets: the last exact name, else the last pattern that fits."""
    exact = fitting = None
    wanted = name.replace("/", ".")
    for line in config.splitlines():
        key, sign, value = line.partition("=")
        key = key.strip().lstrip("-").strip()
        if not sign or key.startswith(("#", ";")):
            continue
        key = key.replace("/", ".")
        if key == wanted:
            exact = " ".join(value.split())
        elif "*" in key and fnmatch.fnmatchcase(wanted, key):
            fitting = " ".join(value.split())
    return exact if exact is not None else fitting


def package(resource: Resource, look: Looker) -> list[str]:
    """The rpm database."""
    name, state = resource["name"], resource.get("state", "present")
    there = name in installed(look)
    if there == (state == "present"):
        return []
    return [f"{name} is {'installed' if there else 'not installed'}"]


def service(resource: Resource, look: Looker) -> list[str]:
    """The state of the unit, now and at the next start."""
    name, state = resource["name"], resource["state"]
    unit = look(AREA, "units")[name]
    load, file, active = (unit.get(k, "") for k in ("LoadState", "UnitFileState", "ActiveState"))
    told = f"{name} is {file or load} and {active}, not {state}"
    running = active in STARTED
    if state in ("masked", "disabled"):
        if load == "not-found":
            raise NotHere(f"no unit {name}")
        off = load == "masked" if state == "masked" else not file.startswith("enabled")
        return [] if off and not running else [told]
    if load != "loaded":
        return [told]
    if state == "enabled" and file not in ("enabled", "static", "alias", "indirect", "generated"):
        return [told]
    once = unit.get("Type") == "oneshot"
    held = unit.get("ConditionTimestampMonotonic", "0") not in ("", "0")
    held = held and unit.get("ConditionResult") == "no"
    return [] if running or once or held else [told]


def module(resource: Resource, look: Looker) -> list[str]:
    """What modprobe would do, and what is loaded."""
    name = resource["name"].replace("-", "_")
    seen = look(AREA, "modules")
    rows = [row for row in seen["config"] if row[1].replace("-", "_") == name]
    installs = [row[2].split()[0] for row in rows if row[0] == "install" and len(row) > 2]
    wrong = []
    if not installs or any(program not in NOTHING for program in installs):
        wrong.append(f"modprobe would load {name}: {installs or 'nothing stands in its place'}")
    if not any(row[0] == "blacklist" for row in rows):
        wrong.append(f"{name} may be loaded by its alias: it is not on the blacklist")
    if name in seen["loaded"]:
        if not wrong:
            raise Waits(f"{name} is loaded until the next start")
        wrong.append(f"{name} is loaded")
    return wrong


def mount(resource: Resource, look: Looker) -> list[str]:
    """The options of what is mounted."""
    path = resource["path"]
    options = look(AREA, "mounts")[path]
    if options is None:
        raise NotHere(f"nothing is mounted on {path}")
    lacking = [option for option in resource["options"] if option not in options]
    return [f"{path} is mounted without {', '.join(lacking)}"] if lacking else []


def kernel_argument(resource: Resource, look: Looker) -> list[str]:
    """The running kernel's command line, and what the boot entries hold for the next one."""
    name, value = resource["name"], resource.get("value")
    word = name if value is None else f"{name}={value}"
    wanted = [] if resource.get("state") == "absent" else [word]
    seen = look(AREA, "kernel_arguments")
    running = [w for w in seen["running"] if w.partition("=")[0] == name]
    told = f"the kernel runs with {' '.join(running) or 'no ' + name}"
    told += f", not with {word}" if wanted else ""
    bad = [
        entry
        for entry, words in seen["entries"].items()
        if [w for w in words if w.partition("=")[0] == name] != wanted
    ]
    if bad:
        what = f"without {word}" if wanted else f"with {name}"
        return [*([told] if running != wanted else []), f"boot entries {what}: {', '.join(bad)}"]
    if running == wanted:
        return []
    if seen["entries"]:
        raise Waits(told)
    return [told]


def selinux(resource: Resource, look: Looker) -> list[str]:
    """The mode in force, and the policy."""
    seen = look(AREA, "selinux")
    wrong = []
    state, policy = resource.get("state"), resource.get("policy")
    if state is not None and LEVELS.get(seen["state"], 0) < LEVELS[state]:
        wrong.append(f"SELinux is {seen['state']}, not {state}")
    if policy is not None and policy not in seen["installed"]:
        wrong.append(f"SELinux's policy {policy} is not installed")
    elif policy not in (None, seen["policy"]):
        wrong.append(f"SELinux has policy {seen['policy'] or 'none'}, not {policy}")
    return wrong


def default_target(resource: Resource, look: Looker) -> list[str]:
    """What the system starts into."""
    seen, wanted = look(AREA, "default_target"), resource["name"]
    return [] if seen == wanted else [f"the system starts into {seen}, not {wanted}"]


def crypto_policy(resource: Resource, look: Looker) -> list[str]:
    """The policy that is set, and whether programs get it."""
    seen = look(AREA, "crypto_policy")
    base, *modules = seen["policy"].split(":")
    wrong = []
    policy = resource.get("policy")
    if policy is not None and policy != base and not base.startswith("FIPS"):
        wrong.append(f"the crypto policy is {base}, not {policy}")
    lacking = [m for m in resource.get("modules", []) if m not in modules]
    if lacking:
        wrong.append(f"the crypto policy lacks {', '.join(lacking)}")
    if "is applied" not in seen["applied"]:
        wrong.append(f"the crypto policy is not applied: {seen['applied']}")
    broken = sorted(name for name, there in seen["back_ends"].items() if not there)
    if broken or not seen["back_ends"]:
        wrong.append(f"back ends without a policy: {', '.join(broken) or 'all'}")
    return wrong

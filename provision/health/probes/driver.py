"""The kernel driver: which version runs, which lies on disk, which modules are loaded."""

from __future__ import annotations

import re

from provision.health.probes.ask import Ask, Failed

_VERSION = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+\.\d+(?:\.\d+)?)")
_MINOR = re.compile(r"(?m)^Device Minor:\s*(\d+)")
MODULES = "/sys/module"
GPUS = "/proc/driver/nvidia/gpus"


def look(ask: Ask) -> None:
    """Say what is loaded and what is installed."""
    ask.see("driver.loaded", lambda: _loaded(ask))
    ask.see("driver.sysfs", lambda: ask.text("/sys/module/nvidia/version"))
    ask.see("driver.modules", lambda: _modules(ask))
    ask.see("driver.disk", lambda: _on_disk(ask))
    ask.see("driver.nodes", lambda: [n for n in ask.names("/dev") if n.startswith("nvidia")])
    ask.see("driver.minors", lambda: _minors(ask))


def _loaded(ask: Ask) -> dict[str, object]:
    text = ask.text("/proc/driver/nvidia/version")
    match = _VERSION.search(text)
    if match is None:
        raise Failed("error", f"/proc/driver/nvidia/version cannot be read: {text[:80]!r}")
    return {"version": match[1], "open": "Open Kernel Module" in text}


def _modules(ask: Ask) -> dict[str, str]:
    """Loaded modules by name, with the letters of their taint flags."""
    found = {}
    text = ask.maybe("/proc/modules")
    if not text:
        # A kernel without this list still shows what is loaded; what is built in has no state.
        live = [n for n in ask.names(MODULES) if ask.maybe(f"{MODULES}/{n}/initstate")]
        found = {name: ask.maybe(f"{MODULES}/{name}/taint") for name in live}
    for line in text.splitlines():
        words = line.split()
        flags = re.search(r"\(([A-Z]+)\)", line)
        found[words[0]] = flags[1] if flags else ""
    if not found:
        raise Failed("missing", f"neither /proc/modules nor {MODULES} names a module")
    return found


def _on_disk(ask: Ask) -> str:
    release = ask.text("/proc/sys/kernel/osrelease")
    version = ask.run(["modinfo", "-k", release, "-F", "version", "nvidia"]).strip()
    if not version:
        raise Failed("truncated", f"modinfo says no version of the module for {release}")
    return version


def _minors(ask: Ask) -> dict[str, int]:
    """The number of each GPU's device file, by bus, as the kernel module says it."""
    found = {}
    for bus in ask.names(GPUS):
        match = _MINOR.search(ask.text(f"{GPUS}/{bus}/information"))
        if match is None:
            raise Failed("truncated", f"{GPUS}/{bus}/information does not say the device's number")
        found[bus] = int(match[1])
    return found

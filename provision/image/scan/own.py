"""Our own checks of a tree: the same probes and judges as on a node, as far as files can tell.

A probe runs inside the tree and reads what the programs there make of their configuration. What a
node shows only while it runs is taken from what will make it so: a kernel setting from the files
that set it, a unit from whether it is enabled, a mount from fstab, a kernel argument from what the
image is started with. What no file shows is not judged, and is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.checks import shipping
from provision.checks.declare import Absent, CouldNotLook
from provision.checks.hardened.judging import judge
from provision.checks.hardened.outcome import Judged
from provision.checks.hardened.registry import KINDS, asked
from provision.checks.hardened.system import after_start
from provision.checks.shipping import Answer, Sight
from provision.core.problems import HoldfastError
from provision.image.sandbox import Sandbox
from provision.image.scan.copies import copied
from provision.policy.resolve import Resolution
from provision.verdict.model import Finding, Status

AREAS = ("hardening", "hardening_access", "hardening_files", "packages")
NEVER = {
    "aide_database": "the first start makes AIDE's database",
    "audit_privileged": "the audit rules for programs are those that the kernel holds",
    "audit_rule": "the audit rules are those that the kernel holds",
}
"""Types of resources of which a tree proves nothing, and why."""
LIMIT_S = 300
_STATES = {"masked": "masked", "masked-runtime": "masked"}
_ELSEWHERE = ("sysctl", "units", "modules", "mounts", "kernel_arguments", "selinux",
              "default_target", "audit")  # fmt: skip
"""Parts of a probe that ask a running system; they are told from files here."""


@dataclass(frozen=True)
class Own:
    """What our checks say of a tree, and how many of the applied controls they could judge."""

    findings: tuple[Finding, ...]
    controls: int
    judged: int
    left: Mapping[str, str] = field(default_factory=dict)

    @property
    def share(self) -> str:
        """How many controls were judged, in words."""
        return f"{self.judged} of {self.controls} controls judged by the tree"


@dataclass(frozen=True)
class Started:
    """What the image is started with and how it is mounted, beside what its files say.

    `mounts` maps a mount point to its options, `arguments` are the kernel's.
    """

    arguments: Sequence[str] = ()
    mounts: Mapping[str, Sequence[str]] = field(default_factory=dict)


def examine(
    root: Path, sandbox: Sandbox, resolution: Resolution, started: Started, *, image: str
) -> Own:
    """Hold the tree against the controls that are applied.

    What cannot be looked at is unknown; nothing is raised for it.
    """
    rendered = tuple(resolution.rendered())
    if not rendered:
        return Own((), 0, 0)
    looked = {control["id"] for control in rendered if _answers(control)}
    controls = tuple(_without(control) for control in rendered if control["id"] in looked)
    sight = _sight(root, sandbox, controls, started)
    found = []
    for name, kind in KINDS.items():
        if name in NEVER or not any(r["type"] == name for c in controls for r in c["resources"]):
            continue
        try:
            judged = judge(name, controls, kind.judge, sight)
        except (Absent, CouldNotLook) as error:
            judged = Judged(unseen={"all of them": [str(error)]})
        found.append(_finding(image, name, judged))
    left = {
        control["id"]: NEVER[kind]
        for control in rendered
        for kind in sorted({r["type"] for r in control["resources"]})
        if kind in NEVER
    }
    return Own(tuple(found), len(rendered), len(looked), left)


def _answers(control: dict[str, Any]) -> bool:
    return any(resource["type"] not in NEVER for resource in control["resources"])


def _without(control: dict[str, Any]) -> dict[str, Any]:
    """A control with the resources that a tree can answer for."""
    kept = [r for r in control["resources"] if r["type"] not in NEVER]
    return {**control, "resources": kept}


def _finding(image: str, name: str, judged: Judged) -> Finding:
    kind = KINDS[name]
    status = Status.PASS
    if judged.wrong:
        status = Status.FAIL
    elif judged.unseen:
        status = Status.UNKNOWN
    elif not judged.right and not judged.waits:
        status = Status.NOT_APPLICABLE
    gates = status in (Status.FAIL, Status.UNKNOWN)
    return Finding(
        image,
        f"hardening.{name}",
        f"What the profile wants of {kind.things} is in the image",
        status,
        expected=f"every control that is applied and sets {kind.things}",
        seen=f"{judged.summary}\n{judged.details}".strip(),
        severity=kind.severity,
        action="look at the role `hardening` in the configure stage" if gates else "",
        clears=f"{kind.things}: as the controls want it" if gates else "",
        reason=judged.summary if status is Status.NOT_APPLICABLE else "",
    )


class _Looker:
    """What the probes saw of the tree, with what only runs told from files."""

    def __init__(self, sight: Sight, told: Mapping[tuple[str, str], Any]) -> None:
        self.sight = sight
        self.told = told

    def __call__(self, area: str, part: str) -> Any:
        """The value of a part.

        Raises:
            CouldNotLook: it could not be seen.
        """
        if (area, part) in self.told:
            found = self.told[area, part]
            if isinstance(found, CouldNotLook):
                raise found
            return found
        return self.sight.part(area, part)


def _sight(
    root: Path, sandbox: Sandbox, controls: tuple[dict[str, Any], ...], started: Started
) -> _Looker:
    ask: dict[str, Any] = asked({"": controls})
    running = {part: ask.get("hardening", {}).pop(part, None) for part in _ELSEWHERE}
    ask["packages"] = {"verify": []}
    told: dict[tuple[str, str], Any] = {}
    with copied(root, sandbox, host_key=True) as bind, sandbox.hold(root, bind=bind) as held:

        def run(command: str) -> Answer:
            try:
                return Answer(0, held.run(["/bin/sh", "-c", command]), "")
            except HoldfastError as error:
                return Answer(1, "", str(error))

        # What a start makes, and sshd asks for before it tells anything.
        run("mkdir -p -m 0755 /run/sshd")
        sight = shipping.look(run, AREAS, ask, LIMIT_S)
        for part, names in running.items():
            if names is not None:
                told["hardening", part] = _told(part, names, run, started)
    return _Looker(sight, told)


def _told(part: str, names: list[str], run: Callable[[str], Answer], started: Started) -> Any:
    """A part that only a running system shows, from what will make it so."""
    try:
        return _FROM_FILES[part](names, run, started)
    except CouldNotLook as error:
        return error


def _out(run: Callable[[str], Answer], command: str) -> str:
    answer = run(command)
    if answer.status:
        raise CouldNotLook(f"{command.partition(' ')[0]} did not answer: {answer.err[-300:]}")
    return answer.out


def _sysctl(names: list[str], run: Callable[[str], Answer], _started: Started) -> dict[str, Any]:
    config = _out(run, "/usr/lib/systemd/systemd-sysctl --cat-config")
    return {"running": {n: after_start(config, n) or "" for n in names}, "next": config}


def _units(names: list[str], run: Callable[[str], Answer], _started: Started) -> dict[str, Any]:
    states = {}
    for line in _out(run, "systemctl --root=/ list-unit-files --no-legend --no-pager").splitlines():
        words = line.split()
        if len(words) > 1:
            states[words[0]] = words[1]
    if not states:
        raise CouldNotLook("systemctl knows no unit of the tree")
    return {name: _unit(states.get(_whole(name))) for name in names}


def _whole(name: str) -> str:
    return name if "." in name else f"{name}.service"


def _unit(state: str | None) -> dict[str, str]:
    if state is None:
        return {"LoadState": "not-found", "UnitFileState": "", "ActiveState": "inactive"}
    active = "active" if state.startswith("enabled") else "inactive"
    load = _STATES.get(state, "loaded")
    # A static unit has no state of its own; whoever wants it starts it.
    active = "active" if state in ("static", "alias", "generated") and load == "loaded" else active
    return {"LoadState": load, "UnitFileState": state, "ActiveState": active}


def _modules(names: list[str], run: Callable[[str], Answer], _started: Started) -> dict[str, Any]:
    meant = {name.replace("-", "_") for name in names}
    rows = [line.split(None, 2) for line in _out(run, "modprobe --showconfig").splitlines()]
    kept = [
        row
        for row in rows
        if len(row) > 1 and row[0] in ("install", "blacklist") and row[1].replace("-", "_") in meant
    ]
    return {"config": kept, "loaded": []}


def _mounts(names: list[str], _run: Callable[[str], Answer], started: Started) -> dict[str, Any]:
    return {name: list(started.mounts[name]) if name in started.mounts else None for name in names}


def _arguments(names: list[str], _run: Callable[[str], Answer], started: Started) -> dict[str, Any]:
    words = [word for word in started.arguments if word.partition("=")[0] in names]
    return {"running": words, "entries": {}}


def _selinux(_names: list[str], run: Callable[[str], Answer], _started: Started) -> dict[str, Any]:
    said = {}
    for line in _out(run, "cat /etc/selinux/config").splitlines():
        key, sign, value = line.partition("=")
        if sign and not key.strip().startswith("#"):
            said[key.strip()] = value.strip()
    there = _out(run, "for p in /etc/selinux/*/policy; do [ -e $p ] && echo $p; done; true")
    return {
        "state": said.get("SELINUX", "").lower(),
        "policy": said.get("SELINUXTYPE", ""),
        "installed": [path.split("/")[3] for path in there.split()],
    }


def _target(_names: list[str], run: Callable[[str], Answer], _started: Started) -> str:
    return _out(run, "systemctl --root=/ get-default").strip()


_FROM_FILES: dict[str, Callable[[list[str], Callable[[str], Answer], Started], Any]] = {
    "sysctl": _sysctl,
    "units": _units,
    "modules": _modules,
    "mounts": _mounts,
    "kernel_arguments": _arguments,
    "selinux": _selinux,
    "default_target": _target,
}

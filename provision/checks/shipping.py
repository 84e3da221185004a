"""Sends probes to a node and reads what they saw: one command, one answer, per node.

One round trip a node is what makes a rack quick to verify: each further command would cost a
connection, a privilege change and an interpreter start on the node.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from provision.checks.declare import Absent, CouldNotLook

MARK = "holdfast-probe:"
_BOOT = (
    "import base64,json,sys,types,zlib;"
    "j=json.loads(zlib.decompress(base64.b64decode(sys.argv[1])));"
    "exec(compile(j['boot'],'boot','exec'))"
)
_ALONG = "import base64,sys,zlib;exec(zlib.decompress(base64.b64decode(sys.argv.pop(1))))"
_LOADER = """
def load(name, source):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    return module

for name in ("provision", "provision.checks", "provision.checks.probes"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
prefix = "provision.checks.probes."
load(prefix + "common", j["common"]).PATIENCE = j["patience"]
for area, source in j["areas"]:
    try:
        seen = load(prefix + area, source).look(j["ask"].get(area, {}))
    except Exception as error:
        seen = {"": {"error": "the probe broke: %s: %s" % (type(error).__name__, error)}}
    print(j["mark"] + json.dumps({"area": area, "seen": seen}), flush=True)
"""
PYTHON = (
    'for p in /usr/libexec/platform-python /usr/bin/python3; do [ -x "$p" ] && break; done; '
    'if [ "$(id -u)" = 0 ]; then s=; else s="sudo -n"; fi; '
)
"""Begins a shell command that runs Python as root: `$s` and `$p` are what it is called with."""


class Unreachable(Exception):
    """The node did not answer; nothing was seen of it."""


@dataclass(frozen=True)
class Answer:
    """What a command on the node gave back."""

    status: int
    out: str
    err: str


Run = Callable[[str], Answer]
"""Runs a shell command on a node. Raises Unreachable when the node does not answer."""


@dataclass
class Sight:
    """What was seen of one node: `areas` by name, or why not.

    `unreachable` is set when the node did not answer at all; `broken` says why an area that is
    not in `areas` could not be looked at.
    """

    areas: dict[str, dict[str, Any]] = field(default_factory=dict)
    unreachable: str | None = None
    broken: str = ""

    def part(self, area: str, part: str) -> Any:
        """The value of a part of an area.

        Raises:
            CouldNotLook: it was not seen; the message says why.
            Absent: the probe looked for it, and it is not there.
        """
        if self.unreachable is not None:
            raise CouldNotLook(f"the node cannot be reached: {self.unreachable}")
        seen = self.areas.get(area)
        if seen is None:
            raise CouldNotLook(self.broken or f"the probe {area} gave no answer")
        found = seen.get(part, seen.get(""))
        if isinstance(found, dict) and "absent" in found:
            raise Absent(str(found["absent"]))
        if isinstance(found, dict) and "error" in found:
            raise CouldNotLook(str(found["error"]))
        if not isinstance(found, dict) or "value" not in found:
            raise CouldNotLook(f"the probe {area} did not say {part!r}")
        return found["value"]


def command(areas: Sequence[str], ask: dict[str, Any], timeout: int, patience: int = 1) -> str:
    """The shell command that looks at `areas` as root within `timeout` seconds.

    Each command that a probe runs may take `patience` times longer than usual.
    """
    folder = resources.files("provision.checks.probes")
    job = {
        "boot": _LOADER,
        "mark": MARK,
        "common": (folder / "common.py").read_text(encoding="utf-8"),
        "areas": [(a, (folder / f"{a}.py").read_text(encoding="utf-8")) for a in areas],
        "ask": ask,
        "patience": patience,
    }
    packed = base64.b64encode(zlib.compress(json.dumps(job).encode(), 9)).decode()
    return f'{PYTHON}exec $s timeout -k 5 {timeout} "$p" -I -c "{_BOOT}" {packed}'


def along(package: str, limit_s: float) -> str:
    """The shell command that runs the ``onnode.py`` of a package on a node, as root, as it is sent.

    Args:
        package: what holds the file, as ``provision.fleet``.
        limit_s: how many seconds it may take there.
    """
    source = (resources.files(package) / "onnode.py").read_text(encoding="utf-8")
    packed = base64.b64encode(zlib.compress(source.encode(), 9)).decode()
    return f'{PYTHON}exec $s timeout -k 5 {limit_s:.0f} "$p" -I -c "{_ALONG}" {packed}'


def look(
    run: Run, areas: Sequence[str], ask: dict[str, Any], timeout: int, patience: int = 1
) -> Sight:
    """Look at a node; what it does raises nothing, the sight says what could not be seen.

    The other arguments are those of `command`.
    """
    sight = Sight()
    try:
        answer = run(command(areas, ask, timeout, patience))
    except Unreachable as error:
        sight.unreachable = str(error)
        return sight
    for line in answer.out.splitlines():
        if line.startswith(MARK):
            _take(sight, line.removeprefix(MARK))
    if len(sight.areas) < len(areas):
        sight.broken = _why(answer, timeout)
    return sight


def _take(sight: Sight, line: str) -> None:
    try:
        told = json.loads(line)
        sight.areas[str(told["area"])] = dict(told["seen"])
    except (ValueError, KeyError, TypeError):
        return  # an area that cannot be read stays unseen


def _why(answer: Answer, timeout: int) -> str:
    if answer.status in (124, 137):
        return f"the probe did not end within {timeout} s"
    said = " ".join(answer.err.split())[-300:]
    return f"the probe ended with {answer.status}: {said or 'it said nothing'}"

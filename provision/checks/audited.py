"""Lets the nodes' own audits run, and makes findings of what they say.

What a node says counts when this release's program said it, by what is declared now, just now.
Anything else proves nothing, and each check of it is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from provision.checks import remote, shipping
from provision.checks.audit_expected import Declared
from provision.checks.audit_program import program
from provision.checks.audit_result import WHOLE, AuditResult, Refused, findings, read
from provision.checks.declare import Absent, CouldNotLook
from provision.checks.shipping import Answer, Sight
from provision.core.events import Event, EventSink
from provision.health.checks.all import checks
from provision.policy.load import Policy
from provision.rack.model import Node, Rack
from provision.rack.ssh import SshSettings
from provision.supply.model import StackLock
from provision.verdict.model import Finding, Severity, Status

PREFIX = "audit."
RAN = f"{PREFIX}ran"
"""The check that stands before all others: whether there is a result to be believed."""
PROGRAM = "/usr/libexec/holdfast/holdfast-health.pyz"
EXPECT = "/etc/holdfast/health/expect.json"
RESULT = "/var/lib/holdfast/health/result.json"
UNIT = "holdfast-health.service"
AT_ONCE = 48
RUN_S = 200
"""Seconds that an audit may take on a node of patience 1: what its unit allows, and a little."""
PAUSE_S = 5.0
"""Seconds between two audits, where the first one has nothing to compare counters with."""
_CONNECT_S = 30
_MOST = 8 << 20

_TITLE = "The audit runs, and what it says can be believed"
_EXPECTED = "this release's audit, told what is declared now, with a result of just now"
_ACTION = "bring the audit to the node with `holdfast audit install`; see `journalctl -u {unit}`"


@dataclass(frozen=True)
class Pulled:
    """What a node's audit came to: a result that can be believed, or why there is none.

    `installed` is False where it was looked for and is not there, or is not as declared;
    `unreachable` says why the node did not answer.
    """

    node: str
    result: AuditResult | None = None
    problem: str = ""
    installed: bool = True
    unreachable: str | None = None


def audited(
    rack: Rack, lock: StackLock, policy: Policy, *, ssh: SshSettings, events: EventSink
) -> list[Finding]:
    """The findings of every audited node of `rack`, all nodes together.

    Raises:
        HoldfastError: the audit cannot be packed here.
    """
    nodes = [node for node in rack.nodes if node.audited]
    if not nodes:
        return []
    program()  # once, and not by several threads
    declared = Declared(rack, lock, policy)
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(nodes))) as pool:
        pulled = list(pool.map(lambda n: _fresh(declared, n, ssh), nodes))
    found = [finding for one in pulled for finding in judged(one)]
    for finding in found:
        data = {"check": finding.check, "status": finding.status.value}
        events.emit(Event("verify.finding", node=finding.node, data=data))
    return found


def fresh(rack: Rack, lock: StackLock, policy: Policy, node: Node, *, ssh: SshSettings) -> Pulled:
    """Let the audit of one node run now and bring its result; nothing that goes wrong raises.

    Raises:
        HoldfastError: the audit cannot be packed here.
    """
    return _fresh(Declared(rack, lock, policy), node, ssh)


def _fresh(declared: Declared, node: Node, ssh: SshSettings) -> Pulled:
    """The same, of a rack of which more nodes are asked."""
    seconds = RUN_S * node.patience
    ask = {
        "unit": UNIT, "program": PROGRAM, "expect": EXPECT, "result": RESULT,
        "seconds": RUN_S, "pause": PAUSE_S,
    }  # fmt: skip
    limit = 2 * seconds + _CONNECT_S * node.patience

    def run(command: str) -> Answer:
        told = remote.call(
            declared.rack, node, command, ssh=ssh, limit_s=limit + 30, most=_MOST
        )  # fmt: skip
        out, err = (text.decode("utf-8", "replace") for text in (told.out, told.err))
        return Answer(told.returncode, out, err)

    sight = shipping.look(run, ["audit"], {"audit": ask}, limit, node.patience)
    return believed(node, sight, declared.of(node))


def believed(node: Node, sight: Sight, declared: dict[str, Any]) -> Pulled:
    """What was seen of the audit of `node`, as far as it can be believed.

    Args:
        node: the node.
        sight: what the probe saw.
        declared: what the audit should have been told, by platform.
    """
    if sight.unreachable is not None:
        why = f"the node cannot be reached: {sight.unreachable}"
        return Pulled(node.name, problem=why, unreachable=sight.unreachable)
    try:
        differs = _differs(sight, declared)
        if differs:
            return Pulled(node.name, problem=differs, installed=False)
        told = str(sight.part("audit", "result"))
        return Pulled(node.name, result=read(told.encode(), node.name))
    except Absent as error:
        return Pulled(node.name, problem=str(error), installed=False)
    except (CouldNotLook, Refused) as error:
        return Pulled(node.name, problem=str(error))


def _differs(sight: Sight, declared: dict[str, Any]) -> str:
    """What about the installed audit is not as declared, or nothing."""
    seen = sight.part("audit", "program")
    if seen != program().sha256:
        return f"{PROGRAM} is not this release's: sha256 {seen}, not {program().sha256}"
    platform = sight.part("audit", "platform")
    name = f"el{platform.get('el')}-{platform.get('arch')}"
    if name not in declared:
        return f"the stack lock has nothing for {name}, which the node is"
    told = sight.part("audit", "expect")
    if told != declared[name]:
        where = _first_difference(told, declared[name])
        return f"{EXPECT} is not what is declared now: {where} differs"
    return ""


def _first_difference(told: Any, declared: dict[str, Any]) -> str:
    if not isinstance(told, dict):
        return "all of it"
    names = sorted({*told, *declared}, key=str)
    return str(next((n for n in names if told.get(n) != declared.get(n)), "all of it"))


def judged(pulled: Pulled) -> list[Finding]:
    """A finding for every check, and one that says whether the others can be believed."""
    ran = Finding(
        node=pulled.node,
        check=RAN,
        title=_TITLE,
        status=Status.PASS,
        expected=_EXPECTED,
        seen="",
        severity=Severity.HIGH,
    )
    if pulled.result is None:
        status = Status.UNKNOWN if pulled.installed else Status.FAIL
        ran = replace(ran, status=status, seen=pulled.problem, action=_ACTION.format(unit=UNIT),
                      clears=_EXPECTED)  # fmt: skip
        return [ran, *_nothing_of(pulled, _all(), f"the finding {RAN} says why")]
    document = pulled.result.document
    versions = ", ".join(f"{k} {v}" for k, v in sorted(document["versions"].items()))
    said = f"{len(document['findings'])} checks, {document['cost']['cpu_s']:g} s of CPU; {versions}"
    own = [f for f in findings(pulled.result, PREFIX) if f.check != PREFIX + WHOLE]
    missing = _nothing_of(pulled, pulled.result.missing, "the audit says nothing of it")
    return [replace(ran, seen=said), *own, *missing]


def _all() -> tuple[str, ...]:
    return tuple(check.id for check in checks())


def _nothing_of(pulled: Pulled, names: Sequence[str], why: str) -> list[Finding]:
    """Checks without a result: they are unknown."""
    known = {check.id: check for check in checks()}
    return [
        Finding(
            node=pulled.node,
            check=PREFIX + name,
            title=known[name].title[:1].upper() + known[name].title[1:],
            status=Status.UNKNOWN,
            expected=known[name].title,
            seen=f"there is no result: {why}",
            severity=Severity(known[name].severity),
            action=f"see the finding {RAN} of this node",
            clears=known[name].clears,
        )
        for name in names
    ]

"""The verdict that lets the next node begin: what `verify` looks at, without OpenSCAP.

OpenSCAP takes minutes a node and judges nothing that a driver changes; the run's own verdict at
its end has it.
"""

from __future__ import annotations

import time
from pathlib import Path

from provision.checks.audited import audited
from provision.checks.report import verdict_of
from provision.checks.verify import examine
from provision.core.events import EventSink
from provision.inference.smoke import smoke
from provision.policy.load import Policy
from provision.rack.model import Rack
from provision.rack.ssh import SshSettings
from provision.supply.lock import StackLock, lock_sha256
from provision.verdict.model import Verdict


def gate(
    rack: Rack,
    lock: StackLock,
    *,
    run: str,
    events: EventSink,
    workdir: Path,
    ssh: SshSettings,
    policy: Policy,
) -> Verdict:
    """Check the nodes of `rack`, ask each that serves a question, and let its audit run.

    Args:
        rack: the nodes that were changed, and no others.
        lock: the artefacts that they must hold.
        run: the id of the run that asks.
        events: is told about every finding.
        workdir: where the parts of the work are kept; made when missing.
        ssh: how to reach the nodes.
        policy: what the profile that the inventory asks for is made of.

    Raises:
        HoldfastError: the audit cannot be packed here.
        OSError: `workdir` cannot be written.
    """
    started = time.time()
    workdir.mkdir(mode=0o700, parents=True, exist_ok=True)
    examined = examine(rack, lock, ssh=ssh, events=events, workdir=workdir, policy=policy)
    findings = [*examined.findings, *smoke(rack, events)]
    findings += audited(rack, lock, policy, ssh=ssh, events=events)
    inputs = {"inventory": rack.sha256, "stack lock": lock_sha256(rack.stack)}
    return verdict_of(rack, examined, findings, run=run, started=started, inputs=inputs)

"""Every probe, with its deadlines."""

from __future__ import annotations

from provision.health.children import Probe
from provision.health.probes import (
    containers,
    driver,
    log,
    machine,
    network,
    nvml,
    pci,
    scheduler,
    security,
    storage,
    system,
)

PROBES = (
    Probe("nvml", ("nvml", "gpu"), nvml.look, deadline=60.0, step=6.0, resumes=True),
    Probe("log", ("log",), log.look, deadline=30.0),
    Probe("pci", ("pci",), pci.look),
    Probe("driver", ("driver",), driver.look),
    Probe("network", ("net",), network.look),
    Probe("machine", ("machine",), machine.look),
    Probe("system", ("system",), system.look, deadline=20.0),
    Probe("containers", ("containers",), containers.look, deadline=20.0),
    Probe("scheduler", ("scheduler",), scheduler.look),
    Probe("security", ("security",), security.look),
    Probe("storage", ("storage",), storage.look, deadline=15.0, step=5.0),
)
"""In the order in which they start."""

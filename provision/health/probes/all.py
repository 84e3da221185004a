"""Every probe, with its deadlines."""

from __future__ import annotations

from provision.health.children import Probe
from provision.health.probes import driver, log, nvml, pci

PROBES = (
    Probe("nvml", ("nvml", "gpu"), nvml.look, deadline=30.0, step=6.0, resumes=True),
    Probe("pci", ("pci",), pci.look),
    Probe("driver", ("driver",), driver.look),
    Probe("log", ("log",), log.look, deadline=30.0),
)
"""In the order in which they start."""

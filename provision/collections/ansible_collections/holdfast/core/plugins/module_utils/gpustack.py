# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Which packages belong to the kernel and to NVIDIA's stack, and who holds a node drained.

Runs nothing. The patterns are those of provision/supply/gpu/packages.py.
"""

from __future__ import annotations

import fnmatch
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils import probe

KERNELS = (
    "kernel",
    "kernel-core",
    "kernel-modules",
    "kernel-modules-core",
    "kernel-modules-extra",
    "kernel-devel",
    "kernel-devel-matched",
    "kernel-64k*",
    "kernel-rt*",
    "kernel-uek*",
)
NVIDIA = (
    "*nvidia*",
    "cuda-*",
    "datacenter-*",
    "dcgm-exporter",
    "libcuda*",
    "libcudnn*",
    "libnccl*",
    "libnvfatbin*",
    "libnvsdm*",
    "nvlsm",
    "nvlink*",
)
QUERY = "%{NAME}|%{EPOCHNUM}|%{VERSION}-%{RELEASE}.%{ARCH}\\n"
RECORD = "/var/lib/holdfast/drain.json"
"""What a run writes that drained the node; provision/engine/drain.py writes and removes it."""


def parse(text: str) -> list[str]:
    """Kernels and NVIDIA's packages in the output of ``rpm -qa --qf QUERY``, by NEVRA."""
    found = []
    for line in text.splitlines():
        name, _, rest = line.partition("|")
        epoch, bar, version = rest.partition("|")
        if bar and any(fnmatch.fnmatchcase(name, like) for like in KERNELS + NVIDIA):
            found.append("{0}-{1}:{2}".format(name, epoch, version))
    return sorted(found)


def drained(root: str) -> dict[str, Any] | None:
    """What the run wrote that holds the node drained; None when none does."""
    return probe.run_of(root, RECORD)

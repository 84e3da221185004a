"""Which packages belong to the kernel and to NVIDIA's stack, by name.

Source: names in NVIDIA's CUDA repository for EL 9 and 10 and in NVIDIA's container repository,
and the kernel's packages of EL 9 and 10. The same patterns stand in the collection's
module_utils/gpustack.py, which runs on nodes; a test compares them.
"""

from __future__ import annotations

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


def name_of(nevra: str) -> str:
    """The name in a package's NEVRA."""
    return nevra.rsplit("-", 2)[0]

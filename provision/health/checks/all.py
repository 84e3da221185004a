"""Every check, in the order of the documentation."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence

from provision.health.words import Check

NAMES = (
    "gpu_presence_pci",
    "gpu_presence_driver",
    "gpu_switches",
    "gpu_identity",
    "gpu_driver_agreement",
    "gpu_driver_version",
    "gpu_driver_modules",
    "gpu_recovery",
    "gpu_ecc_mode",
    "gpu_ecc_uncorrected",
    "gpu_ecc_corrected",
    "gpu_ecc_sram",
    "gpu_rows_pending",
    "gpu_rows_failure",
    "gpu_rows_spares",
    "gpu_repair",
    "gpu_pages",
    "gpu_clocks",
    "gpu_temperature_core",
    "gpu_temperature_memory",
    "gpu_power",
    "gpu_pcie_width",
    "gpu_pcie_speed",
    "gpu_pcie_replay",
    "gpu_pcie_aer",
    "gpu_nvlink_state",
    "gpu_nvlink_errors",
    "gpu_nvlink_p2p",
    "gpu_fabric",
    "gpu_mig",
    "gpu_persistence",
    "gpu_vbios",
    "gpu_gsp",
    "log_xid",
    "log_sxid",
    "log_kernel",
    "log_storage",
    "log_memory",
    "container_cdi",
    "container_toolkit",
    "container_gpu",
    "net_infiniband",
    "net_infiniband_flaps",
    "net_ethernet",
    "host_cpu",
    "host_memory",
    "host_edac",
    "host_disks",
    "host_mounts",
    "host_space",
    "host_kernel",
    "host_time",
    "host_services",
    "host_units",
    "scheduler_slurm",
    "security_selinux",
    "security_fips",
    "security_secure_boot",
    "security_audit",
    "security_crypto_policy",
    "security_modules",
    "security_sysctl",
)
"""The modules of this package that hold a check."""
UNDER_LOAD = ("load_compute", "load_memory", "load_nvlink", "load_nccl")
"""Those whose checks are judged by request only, after programs have put the GPUs under load."""


def checks() -> tuple[Check, ...]:
    """Every check that an audit judges."""
    return tuple(_load(NAMES))


def load_checks() -> tuple[Check, ...]:
    """Every check that only an audit under load judges as well."""
    return tuple(_load(UNDER_LOAD))


def known() -> tuple[Check, ...]:
    """Every check there is; their limits are what a site may set."""
    return (*checks(), *load_checks())


def _load(names: Sequence[str]) -> Iterator[Check]:
    for name in names:
        check = importlib.import_module(f"provision.health.checks.{name}").CHECK
        assert isinstance(check, Check)
        yield check

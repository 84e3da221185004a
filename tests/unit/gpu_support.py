"""A stack lock with GPU units, made of nothing but names, to be spoilt by tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from provision.supply.model import READABLE, StackLock

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "tests/data/example/stack.lock.json"
DRIVER = "580.105.08"
KERNEL = ("6.12.0", "124.20.1.el10_1")


def rpm(name: str, version: str, release: str, *, epoch: int = 0, el: str = "10") -> dict[str, Any]:
    """An RPM of a lock, for x86_64."""
    return {
        "name": name,
        "epoch": epoch,
        "version": version,
        "release": release,
        "arch": "x86_64",
        "sha256": "a" * 64,
        "size": 1,
        "key": "rehearsal",
        "repository": "rehearsal",
        "el": el,
        "roles": [],
        "licence": "proprietary",
        "licence_class": "proprietary",
        "reason": "a test",
    }


def nevra(entry: dict[str, Any]) -> str:
    """Its NEVRA."""
    return "{name}-{epoch}:{version}-{release}.{arch}".format(**entry)


def without_units() -> dict[str, Any]:
    """The example's lock as one from before there were units, without what they name."""
    lock: dict[str, Any] = json.loads(EXAMPLE.read_text())
    units = StackLock.model_validate_json(EXAMPLE.read_text()).gpu
    named = {(name, unit.el) for unit in units for name in unit.packages}
    lock["rpms"] = [r for r in lock["rpms"] if (nevra(r), r["el"]) not in named]
    del lock["gpu"]
    lock["schema"] = READABLE[0]
    return lock


def gpu_lock(provider: str = "site_signed") -> dict[str, Any]:
    """The example's lock with this unit for EL 10 on x86_64 in place of its own."""
    lock = without_units()
    lock["schema"] = "holdfast.stack/2"
    repository = next(r for r in lock["repositories"] if r["release"] == "10")
    names = ["nvidia-driver-cuda", "nvidia-driver-cuda-libs", "nvidia-persistenced"]
    driver = [rpm(n, DRIVER, "1.el10", epoch=3) for n in names]
    kernel = rpm("kernel-core", *KERNEL)
    devel = rpm("kernel-devel-matched", *KERNEL)
    module_names = {
        "cuda_open_dkms": "kmod-nvidia-open-dkms",
        "rhel_signed": f"kmod-nvidia-open-{DRIVER}-{KERNEL[0]}-124.20.1",
    }
    module = rpm(module_names.get(provider, "kmod-nvidia-open"), DRIVER, "3.el10_1", epoch=3)
    fabric = rpm("nvidia-fabricmanager", DRIVER, "1.el10")
    nscq = rpm("libnvidia-nscq", DRIVER, "1.el10")
    imex = rpm("nvidia-imex", DRIVER, "1.el10")
    toolkit = [
        rpm(n, "1.20.0", "1") for n in ("nvidia-container-toolkit-base", "nvidia-container-toolkit")
    ]
    builds = [rpm(n, "1", "1.el10") for n in ("dkms", "gcc", "gcc-c++", "make")]
    more = [kernel, devel, module, *driver, fabric, nscq, imex, *toolkit, *builds]
    for entry in more:
        entry["repository"] = repository["id"]
        entry["key"] = repository["key"]
    lock["rpms"] += more
    dkms = provider == "cuda_open_dkms"
    lock["gpu"] = [
        {
            "name": "h100",
            "el": "10",
            "arch": "x86_64",
            "provider": provider,
            "driver": DRIVER,
            "signer": None if dkms else "Site module signing",
            "kernels": [
                {
                    "kernel": nevra(kernel),
                    "module": nevra(module),
                    "devel": nevra(devel) if dkms else None,
                }
            ],
            "userspace": [nevra(d) for d in driver],
            "fabric_manager": nevra(fabric),
            "nscq": nevra(nscq),
            "imex": nevra(imex),
            "toolkit": [nevra(t) for t in toolkit],
        }
    ]
    return lock

"""The GPU stack: nothing of NVIDIA's beside the lock, and the kernel that runs is one of it."""

from __future__ import annotations

import fnmatch

from provision.checks.declaration import Expected
from provision.checks.declare import Looker, Seen, check, listed
from provision.checks.packages import installed, release_of
from provision.supply.gpu.packages import KERNELS, NVIDIA
from provision.verdict.model import Severity


def where_gpus_are_declared(node: Expected) -> str | None:
    """For checks of what drives GPUs."""
    if node.machine is not None and node.machine.gpus:
        return None
    return "the inventory declares no GPU"


@check(
    "gpu_stack.lock",
    title="What is installed of kernels and of NVIDIA's stands in the lock",
    expected="no package of NVIDIA's beside the lock, and none but a kernel of it running",
    severity=Severity.MEDIUM,
    action="remove these packages, or put them into the stack lock and run `holdfast up`",
    clears="the rpm database holds no other package of NVIDIA's, and a kernel of the lock runs",
    looks=("packages",),
    applies=where_gpus_are_declared,
)
def test_lock(look: Looker, seen: Seen, expected: Expected) -> None:
    """A kernel beside the lock may stay: it is the way back, and does not start by itself."""
    el, arch = release_of(look)
    locked = {p.nevra for p in expected.packages_for(el, arch)}
    assert locked, f"the stack lock holds nothing for EL {el} on {arch}"
    present = installed(look)
    foreign = _beside(present, NVIDIA, locked)
    kernels = _beside(present, KERNELS, locked)
    seen("kernels beside the lock: " + (listed(kernels) or "none"))
    assert not foreign, "not in the lock: " + listed(foreign)
    if expected.kind != "container":
        running = str(look("packages", "release").get("KERNEL", ""))
        of_lock = [p.nevra for p in expected.packages_for(el, arch) if _is_kernel(p.name)]
        assert any(_release(nevra) == running.partition("+")[0] for nevra in of_lock), (
            f"kernel {running} runs, and the lock names {listed(of_lock) or 'none'}"
        )


def _beside(
    present: dict[str, list[dict[str, str]]], patterns: tuple[str, ...], locked: set[str]
) -> list[str]:
    names = [n for n in present if any(fnmatch.fnmatchcase(n, like) for like in patterns)]
    nevras = [str(p["nevra"]) for name in sorted(names) for p in present[name]]
    return [nevra for nevra in nevras if nevra not in locked]


def _is_kernel(name: str) -> bool:
    return name.startswith("kernel") and name.endswith("core")


def _release(nevra: str) -> str:
    """What ``uname -r`` says of a kernel's package, without its flavour."""
    return nevra.partition(":")[2]

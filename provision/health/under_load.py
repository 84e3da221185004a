"""An audit under load: whether the node is idle, and what programs that test GPUs say of it.

Only on request, and only where nobody computes. What the programs bring to light, an error of
memory or a line of the driver, is found by the usual checks, which look afterwards.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from provision.health.checks.load_memory import NUMBER
from provision.health.children import Probe
from provision.health.data_files import model_of
from provision.health.limits import Limits
from provision.health.probes import load, nvml
from provision.health.sight import Sight
from provision.health.slurm import controller
from provision.health.slurm.run import name_of_this_node
from provision.health.state import Busy
from provision.health.words import NotIdle, Unseen, listed

_NAME = "\0holdfast-audit-under-load"
_GPUS = Probe("nvml", ("nvml", "gpu"), nvml.look, deadline=60.0, step=6.0, resumes=True)


Look = Callable[[Sequence[Probe], "dict[str, float]", int], Sight]
"""Lets probes look: which, the numbers that they are told, how many at a time."""


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Be the only one that puts this node under load.

    By a name that the kernel keeps while this process lives, and that leaves no file behind.

    Raises:
        Busy: somebody else does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        if root == Path("/"):
            try:
                held.bind(_NAME)
            except OSError as error:
                raise Busy("another audit puts this node under load") from error
        yield


def seen(
    look: Look, wanted: Sequence[Probe], limits: Limits, slurm: Callable[[], str] | None
) -> Sight:
    """What the programs say, one after the other; nothing counts where somebody used a GPU then.

    Args:
        look: lets probes look.
        wanted: the programs.
        limits: the numbers that programs are told.
        slurm: says why Slurm may start a job here, or nothing; None where Slurm has no say.

    Raises:
        NotIdle: the node is in use, or that cannot be told; nothing was started.
    """
    before = look((load.CLIENTS, _GPUS), {}, 2)
    _require_idle(before, slurm)
    models = [model_of(str(name)) for part, name in before.below("gpu.") if part.endswith(".name")]
    told = [limits.value(NUMBER, model.id if model else "") for model in models]
    # The least of several models: a node of two is judged by the slower one.
    numbers = {"count": float(len(models)), "memory": min(told, default=limits.value(NUMBER))}
    found = look(wanted, numbers, 1)
    why = _used(look((load.CLIENTS,), {}, 1))
    if why:
        # What it did to the numbers, in whichever direction, nobody can tell.
        reason = f"{why}, and were not when the programs began"
        found.missing |= dict.fromkeys(found.values, ("error", reason))
        found.values.clear()
    return found


def _require_idle(before: Sight, slurm: Callable[[], str] | None) -> None:
    used = _used(before)
    if used:
        raise NotIdle(f"{used}; drain the node first")
    why = slurm() if slurm else ""
    if why:
        raise NotIdle(why)


def _used(sight: Sight) -> str:
    """Who uses the GPUs, in words; nothing where nobody does."""
    try:
        users = sight.part("clients.list")
    except Unseen as error:
        return f"nobody can tell whether the GPUs are in use: {error}"
    return f"the GPUs are in use: {listed(users, 4)}" if users else ""


def by_slurm() -> str:
    """Why Slurm has a job on this node or may start one; nothing where it is drained and empty."""
    name = name_of_this_node()
    try:
        node = controller.Controller().node(name)
    except controller.Unreachable as error:
        return f"nobody can tell whether Slurm keeps jobs away: {error}"
    if not node.drained and not node.out:
        return f"Slurm may start a job on {name} at any moment; drain it first"
    # One that uses no GPU is not seen at the devices, and computes all the same.
    return f"jobs of Slurm still run on {name}; wait until they have ended" if node.busy else ""

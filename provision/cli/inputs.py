"""What every verb reads before it does anything: the inventory, its stack lock, and the controls.

All mistakes of them are raised together, before any node is contacted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, Problem, by_position
from provision.health.checks.all import known
from provision.policy.baseline import mistakes_in
from provision.policy.judge import judge_with
from provision.policy.load import Policy, read_policy
from provision.policy.resolve import NONE
from provision.rack.declaration import Declaration
from provision.rack.inventory import (
    KnownNames,
    folders_of,
    open_inventory,
    stack_path,
    to_rack,
)
from provision.rack.model import Rack
from provision.rack.wallet import unreadable_secrets
from provision.supply import demands
from provision.supply.lock import load_lock
from provision.supply.model import StackLock

ENGINES = frozenset({"llama_cpp"})
"""The inference engines that exist."""


@dataclass(frozen=True)
class Inputs:
    """A rack, its stack lock and the controls that it may name; all are free of mistakes.

    `policy` is empty where the inventory asks for no security.
    """

    rack: Rack
    lock: StackLock
    lock_path: Path
    policy: Policy = field(default_factory=Policy)


def load_rack(path: Path | str, *, unkeyed: bool = False) -> Inputs:
    """Read and check an inventory with its stack lock; contacts nothing.

    Nodes may be `unkeyed`, without a host key, where they are yet to be enrolled.

    Raises:
        HoldfastError: with every problem of the inventory, its variable files and the lock, in
            reading order (exit code 2).
    """
    inputs, problems = read_rack(Path(path), unkeyed=unkeyed)
    if inputs is None:
        raise HoldfastError(problems, ExitCode.USAGE)
    return inputs


def read_rack(path: Path, *, unkeyed: bool = False) -> tuple[Inputs | None, list[Problem]]:
    """What `load_rack` reads, or None and all problems in reading order."""
    declaration, problems = open_inventory(path)
    if declaration is None:
        return None, by_position(problems)
    lock_path = stack_path(declaration)
    lock, missing = _lock(declaration, lock_path)
    policy, wrong = _policy(declaration)
    wrong += _baselines(declaration)
    rack, mistakes = to_rack(declaration, _known(lock, policy, unkeyed=unkeyed))
    problems = by_position([*missing, *wrong, *mistakes])
    if problems or rack is None or lock is None or lock_path is None or policy is None:
        return None, problems
    return Inputs(rack, lock, lock_path, policy), []


def require_secrets(rack: Rack) -> None:
    """Make sure that every secret of `rack` can be read here, before a node is contacted.

    Raises:
        HoldfastError: with a problem for each reference that cannot, and exit code 2.
    """
    problems = unreadable_secrets(rack)
    if problems:
        raise HoldfastError(problems, ExitCode.USAGE)


def _lock(declaration: Declaration, path: Path | None) -> tuple[StackLock | None, list[Problem]]:
    """The stack lock; one that does not exist is a mistake where the inventory names it."""
    definition = declaration.rack_variable("stack")
    if path is None or definition is None:
        return None, []  # the inventory's own check says that it names none
    try:
        path.stat()
    except OSError as error:
        message = f"the stack lock {str(definition.value)!r} cannot be read: {error.strerror}"
        hint = (
            "the path starts at the inventory's folder; the tutorial says where a lock comes from"
        )
        value = str(definition.value)
        return None, [definition.problem("missing-lock", message, value=value, hint=hint)]
    return load_lock(path)


def _policy(declaration: Declaration) -> tuple[Policy | None, list[Problem]]:
    """All controls, the site's own with them; nothing is read where nothing is asked for."""
    asked = [declaration.rack_variable(name) for name in ("overlays", "waivers", "controls")]
    if declaration.rack_value("profile") in (None, NONE) and not any(asked):
        return Policy(), []
    folders, problems = _folders(declaration, "controls")
    policy, wrong = read_policy(folders)
    return policy, [*problems, *wrong]


def _folders(declaration: Declaration, short: str) -> tuple[list[Path], list[Problem]]:
    """The folders that a variable names; one that is not there is a mistake."""
    found, problems = [], []
    definition = declaration.rack_variable(short)
    for number, folder in enumerate(folders_of(declaration, short)):
        if folder.is_dir():
            found.append(folder)
        elif definition is not None:
            hint = "the path starts at the inventory's folder"
            message = f"there is no folder {str(folder)!r}"
            problems.append(definition.problem("missing-folder", message, (number,), hint=hint))
    return found, problems


def _baselines(declaration: Declaration) -> list[Problem]:
    """Every mistake of the site's own baselines."""
    folders, problems = _folders(declaration, "baselines")
    for folder in folders:
        problems += mistakes_in(folder)
    return problems


def _known(lock: StackLock | None, policy: Policy | None, *, unkeyed: bool) -> KnownNames:
    judge = judge_with(policy) if policy is not None else None
    limits = {limit.name: (limit.least, limit.most) for c in known() for limit in c.limits}
    if lock is None:
        return KnownNames(engines=ENGINES, security=judge, limits=limits, unkeyed=unkeyed)
    return KnownNames(
        engines=ENGINES,
        security=judge,
        limits=limits,
        stack=demands.judge_with(lock, policy),
        models=frozenset(model.name for model in lock.models),
        images=frozenset(image.name for image in lock.images),
        unkeyed=unkeyed,
    )

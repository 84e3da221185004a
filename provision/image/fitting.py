"""Whether the parts of a definition fit each other, and the policy that they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from provision.core.problems import HoldfastError
from provision.core.yamlpos import KeyPath
from provision.image.definition import Definition
from provision.policy.load import Policy, load_policy
from provision.policy.resolve import NONE, Resolution, Selection, Target, objections, resolve

ESP = "/boot/efi"
DISKS = frozenset({"raw", "qcow2"})
"""Formats that have partitions and are started by firmware."""
LACKS = {"selinux": "Debian has no policy that knows the names of Enterprise Linux."}
"""What a tree of a rehearsal does without, and why."""
OURS = ("root", "roothash", "init", "holdfast.root", "selinux", "enforcing")
"""Kernel arguments that follow from the rest of the definition, or from its profile."""


@dataclass(frozen=True)
class Misfit:
    """A part that does not fit; `at` leads to it from the top of the definition."""

    code: str
    message: str
    at: KeyPath
    hint: str | None = None


def selection_of(definition: Definition) -> Selection:
    """What the image asks for."""
    return Selection(definition.profile, definition.overlays, definition.waivers)


def target_of(definition: Definition) -> Target:
    """What a profile takes the image for."""
    lacks = tuple(LACKS.items()) if definition.base == "rehearsal" else ()
    return Target(definition.el, "image", definition.traits, lacks)


def resolution_of(definition: Definition, policy: Policy | None = None) -> Resolution:
    """What becomes of each control of the image's profile.

    Raises:
        HoldfastError: a name is unknown, or a waiver has expired (exit code 2).
    """
    return resolve(policy or load_policy(), selection_of(definition), target_of(definition))


def misfits(definition: Definition, policy: Policy | None = None) -> Iterator[Misfit]:
    """Everything that does not fit."""
    yield from _security(definition, policy or load_policy())
    yield from _partitions(definition)
    yield from _boot(definition)
    yield from _serving(definition)
    for field, values in (
        ("formats", definition.formats),
        ("packages", definition.packages),
    ):
        yield from _twice(field, values)
    yield from _twice("kernel", definition.kernel.arguments, "arguments")
    yield from _twice("kernel", definition.kernel.modules, "modules")


def _twice(field: str, values: Sequence[str], *below: str) -> Iterator[Misfit]:
    for number, value in enumerate(values):
        if value in values[:number]:
            at = (field, *below, number)
            yield Misfit("set-twice", f"{value!r} stands here twice", at, "keep one of them")


def _security(definition: Definition, policy: Policy) -> Iterator[Misfit]:
    found = objections(policy, selection_of(definition), [target_of(definition)])
    for objection in found:
        words = objection.message.replace("holdfast_", "")
        yield Misfit(objection.code, words, objection.at, objection.hint)
    if definition.profile == NONE:
        if "hardening" in definition.roles:
            yield Misfit("no-effect", "the role hardening has nothing to do without a profile",
                         ("profile",), "name a profile, or take the role out")  # fmt: skip
        return
    if "hardening" not in definition.roles:
        yield Misfit("missing-role", f"nothing applies the profile {definition.profile}",
                     ("roles",), "add `hardening: {}`")  # fmt: skip
    if not found:
        yield from _mount_options(definition, policy)


def _mount_options(definition: Definition, policy: Policy) -> Iterator[Misfit]:
    """File systems of their own whose options the profile wants otherwise."""
    try:
        applied = resolution_of(definition, policy).applied
    except HoldfastError:
        return
    places = {part.mount: number for number, part in enumerate(definition.partitions)}
    for item in applied:
        for resource in item.resources:
            if resource.type != "mount" or resource.path not in places:
                continue
            number = places[resource.path]
            given = definition.partitions[number].options
            lacking = [option for option in resource.options if option not in given]
            if lacking:
                message = f"{item.control.id} wants {resource.path} with {', '.join(lacking)}"
                hint = f"options: [{', '.join((*given, *lacking))}], or waive the control"
                yield Misfit("mount-options", message, ("partitions", number), hint)


def _partitions(definition: Definition) -> Iterator[Misfit]:
    seen: set[str] = set()
    for number, part in enumerate(definition.partitions):
        at = ("partitions", number)
        if part.mount in seen:
            yield Misfit("set-twice", f"{part.mount} stands here twice", (*at, "mount"),
                         "keep one of them")  # fmt: skip
        seen.add(part.mount)
        if (part.filesystem == "vfat") != (part.mount == ESP):
            message = f"{ESP} is vfat, and nothing else is"
            yield Misfit("filesystem", message, (*at, "filesystem"), None)
        if part.mount == "/" and part.filesystem != "ext4":
            yield Misfit("filesystem", "the root is on disk", (*at, "filesystem"), "ext4")
    if "/" not in seen:
        yield Misfit("no-root", "none of the file systems is the root", ("partitions",),
                     "add `{mount: /, size_mib: 4096}`")  # fmt: skip
    if DISKS & set(definition.formats) and ESP not in seen:
        message = f"a disk is started from {ESP}, and there is none"
        yield Misfit("no-esp", message, ("partitions",),
                     f"add `{{mount: {ESP}, size_mib: 512, filesystem: vfat}}`")  # fmt: skip


def _serving(definition: Definition) -> Iterator[Misfit]:
    roles = [name for name in ("model_store", "inference") if name in definition.roles]
    if roles and definition.inference is None:
        message = f"the role {roles[0]} has nothing to bring"
        yield Misfit("missing-key", message, ("roles", roles[0]),
                     "add `inference: {image: ..., model: ...}`")  # fmt: skip
    if definition.inference is not None and not roles:
        yield Misfit("no-effect", "no role brings it", ("inference",),
                     "add `model_store: {}` and `inference: {}` to the roles")  # fmt: skip


def _boot(definition: Definition) -> Iterator[Misfit]:
    for number, argument in enumerate(definition.kernel.arguments):
        name = argument.partition("=")[0]
        if name in OURS:
            message = f"the argument {name!r} follows from the rest of the definition"
            yield Misfit("argument", message, ("kernel", "arguments", number), "take it out")
    if definition.root.verity and "netboot" not in definition.formats:
        yield Misfit("no-effect", "only a netboot image's root is proven block by block",
                     ("root", "verity"), "add netboot to `formats`, or take it out")  # fmt: skip

# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""See what dnf would install, and hold that against the stack lock."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import (
    has_respawned,
    probe_interpreters_for_module,
    respawn_module,
)
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome
from ansible_collections.holdfast.core.plugins.module_utils.probe import os_release
from ansible_collections.holdfast.core.plugins.module_utils.rpm import nevra

try:
    import dnf
    import dnf.exceptions
    import dnf.transaction
except ImportError:
    dnf = None

DOCUMENTATION = r"""
module: rpm_transaction
short_description: Check what dnf would install against the stack lock
version_added: 0.1.0
description:
  - Lets dnf resolve the installation of packages without installing anything, and compares
    every package of the result, dependencies included, with the stack lock.
  - A package that no repository has, a package that the lock does not name, and a package whose
    digest in the signed repository metadata differs from the lock's or is no SHA-256 are each an
    error, before anything has changed. dnf itself then holds what it downloads against that
    metadata.
  - Only packages that are asked for, and those of O(older), may become older. Another one that
    would come along and become older is an error, too.
options:
  packages:
    description: Packages to install, by NEVRA.
    type: list
    elements: dict
    required: true
  locked:
    description:
      - Every package that the stack lock allows, with its C(sha256). Empty leaves dependencies
        unchecked.
    type: list
    elements: dict
    default: []
  older:
    description: Packages that may become older without being asked for, by NEVRA.
    type: list
    elements: dict
    default: []
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: The module changes nothing but dnf's cache of metadata.
  diff_mode:
    support: none
    description: The module changes nothing.
  platform:
    support: full
    platforms: el
    description: Needs the Python binding of dnf 4.
"""

EXAMPLES = r"""
- name: See what installing podman would bring
  holdfast.core.rpm_transaction:
    packages: "{{ wanted }}"
    locked: "{{ everything_in_the_lock }}"
"""

RETURN = r"""
install:
  description: What would be installed, by NEVRA.
  returned: success
  type: list
  elements: str
missing:
  description: What no repository has.
  returned: always
  type: list
  elements: str
"""

ARGUMENTS = {
    "packages": {"type": "list", "elements": "dict", "required": True},
    "locked": {"type": "list", "elements": "dict", "default": []},
    "older": {"type": "list", "elements": "dict", "default": []},
}
_INTERPRETERS = ["/usr/libexec/platform-python", "/usr/bin/python3"]


def label(package: Any) -> str:
    """name-epoch:version-release.arch of a package of dnf's."""
    return "{0}-{1}:{2}-{3}.{4}".format(
        package.name, package.epoch or 0, package.version, package.release, package.arch
    )


def judge(found: list[tuple[str, str, str]], locked: dict[str, str]) -> list[str]:
    """What is wrong with packages (NEVRA, sha256, repository) according to the lock."""
    wrong = []
    for name, digest, repository in found:
        if name not in locked:
            wrong.append("{0} from {1} is not in the stack lock".format(name, repository))
        elif locked[name] and not digest:
            wrong.append(
                "{0} from {1} has no sha256 in its repository's metadata, so that nothing shows "
                "whether it is what the stack lock names".format(name, repository)
            )
        elif locked[name] and digest != locked[name]:
            wrong.append(
                "{0} from {1} has sha256 {2}, the stack lock names {3}".format(
                    name, repository, digest, locked[name]
                )
            )
    return wrong


def older(found: list[tuple[str, str]], allowed: list[str]) -> list[str]:
    """Packages (before, after) that would become older and are not allowed to."""
    return [
        "{0} would become the older {1}".format(before, after)
        for before, after in found
        if after not in allowed
    ]


def digest_of(package: Any) -> str:
    """The package's SHA-256 in the repository's metadata; empty where that has another kind."""
    kind, value = package.returnIdSum()
    return str(value) if kind == "sha256" else ""


def downgrades(base: Any) -> list[tuple[str, str]]:
    """What a resolved transaction would make older: before and after."""
    found = []
    for item in base.transaction:
        if item.action == dnf.transaction.PKG_DOWNGRADE:
            before = [label(gone.pkg) for gone in base.transaction
                      if gone.action == dnf.transaction.PKG_DOWNGRADED
                      and (gone.name, gone.arch) == (item.name, item.arch)]  # fmt: skip
            found.append((", ".join(before) or item.name, label(item.pkg)))
    return found


def resolve(base: Any, wanted: list[str]) -> tuple[list[str], list[Any]]:
    """Packages that no repository has, and what a transaction would install."""
    base.read_all_repos()
    base.fill_sack(load_system_repo="auto")
    missing = []
    for spec in wanted:
        try:
            base.install(spec, strict=True)
        except dnf.exceptions.MarkingError:
            missing.append(spec)
    if missing:
        return missing, []
    base.resolve(allow_erasing=True)
    return [], list(base.transaction.install_set)


def substitute(base: Any) -> None:
    """Fill in dnf's variables, as its command line does."""
    values = base.conf.substitutions
    values.update_from_etc(base.conf.installroot)
    if not values.get("releasever"):
        values["releasever"] = os_release("/").get("VERSION_ID", "").split(".")[0]


def explain(wanted: str, error: str) -> tuple[str, str]:
    """What went wrong in words, and what to do about it."""
    if "signature" in error:
        return (
            (
                "nothing was installed, because a repository is not signed by the key that the "
                "stack lock names for it: {0}".format(error)
            ),
            (
                "find out who signed repodata/repomd.xml at the origin; put the repository right, "
                "or name its key in the stack lock if the change is meant"
            ),
        )
    return (
        "dnf cannot resolve {0}: {1}".format(wanted, error),
        "check that this node reaches its repositories (dnf repolist -v)",
    )


def look(outcome: Outcome, wanted: list[str], locked: dict[str, str]) -> None:
    """Resolve, judge, and end the module."""
    with dnf.Base() as base:
        base.conf.read()
        substitute(base)
        base.conf.assumeyes = True
        base.conf.install_weak_deps = False
        try:
            missing, packages = resolve(base, wanted)
        except (dnf.exceptions.Error, OSError) as error:
            what, hint = explain(", ".join(wanted), str(error))
            outcome.fail(what, hint, missing=[])
        if missing:
            outcome.fail(
                "no enabled repository has {0}".format(", ".join(missing)),
                "add the package to the repository, or correct the stack lock",
                missing=missing,
            )
        if locked:
            found = [(label(p), digest_of(p), p.repoid) for p in packages]
            wrong = judge(found, locked)
            if wrong:
                outcome.fail(
                    "refused before anything was installed: {0}".format("; ".join(wrong)),
                    "correct the repository, or write a new stack lock if this is meant",
                    missing=[],
                )
        allowed = [nevra(p) for p in outcome.module.params["older"]]
        back = older(downgrades(base), [*wanted, *allowed])
        if back:
            outcome.fail(
                "refused before anything was installed: {0}".format("; ".join(back)),
                "name these packages in the stack lock for the role, if they are to become older",
                missing=[],
            )
        outcome.exit(install=sorted(label(p) for p in packages), missing=[])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    if dnf is None:
        other = probe_interpreters_for_module(_INTERPRETERS, "dnf")
        if other and not has_respawned():
            respawn_module(other)
        outcome.fail("the Python binding of dnf is missing", "install python3-dnf on this node")
    locked = {nevra(p): str(p.get("sha256") or "") for p in module.params["locked"]}
    look(outcome, [nevra(p) for p in module.params["packages"]], locked)


if __name__ == "__main__":
    main()

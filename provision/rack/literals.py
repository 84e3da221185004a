"""Secrets that stand in the inventory as plain text, and settings that weaken SSH.

Nothing here shows a value: whoever reads the complaint knows the secret, and a log must not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from provision.core.problems import Problem
from provision.core.yamlpos import KeyPath, Tagged, printable, walk
from provision.rack.secrets import SecretRef
from provision.rack.tree import Definition
from provision.rack.values import JINJA
from provision.rack.variables import PREFIX

_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_-])(?:password|passwd|passphrase|pass|secret|token|api[_-]?key)$"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_HINT = (
    "use an SSH key and passwordless sudo, or `!vault`, or a template such as"
    " {{ lookup('env', 'NAME') }}"
)
_WEAK_SSH = re.compile(
    r"(?i)(StrictHostKeyChecking|UserKnownHostsFile|GlobalKnownHostsFile|KnownHostsCommand"
    r"|VerifyHostKeyDNS|NoHostAuthenticationForLocalhost)"
)


def literal_secrets(definition: Definition) -> Iterator[Problem]:
    """Plain-text secrets in one variable that is not Holdfast's own."""
    if definition.name.startswith(PREFIX):
        return
    for inner, value in walk(definition.value):
        if isinstance(value, Tagged) or not _is_secret(definition, inner, value):
            continue
        message = f"{_called(definition, inner)} holds a secret as plain text"
        yield definition.problem("literal-secret", message, inner, hint=_HINT)


def weak_ssh(definition: Definition) -> Iterator[Problem]:
    """Settings of Ansible that would accept an unknown host key."""
    value, hint = definition.value, "remove it; host keys come from holdfast_host_keys"
    if definition.name in ("ansible_host_key_checking", "ansible_ssh_host_key_checking"):
        if value is not True:
            yield definition.problem(
                "weak-ssh", "host keys are always checked", key=True, hint=hint
            )
    elif definition.name == "ansible_ssh_args":
        # It replaces the arguments that hold a node to its declared keys.
        yield definition.problem(
            "weak-ssh",
            "ansible_ssh_args would replace what checks host keys",
            key=True,
            hint="write ansible_ssh_common_args, which adds to it",
        )
    elif definition.name in _ARGUMENTS and isinstance(value, str):
        found = _WEAK_SSH.search(value)
        if found:
            message = f"{definition.name} must not set {found[1]}"
            yield definition.problem("weak-ssh", message, hint=hint)


_ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")


def _is_secret(definition: Definition, inner: KeyPath, value: object) -> bool:
    if isinstance(value, str) and _PRIVATE_KEY.search(value):
        return True
    name = inner[-1] if inner else definition.name
    if not isinstance(name, str) or not _SECRET_NAME.search(name):
        return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        # A password of digits, read by YAML as a number; `max_token: 5` is somebody's setting.
        return name.startswith("ansible_")
    return isinstance(value, str) and bool(value) and not JINJA.search(value) and not _refers(value)


def _refers(value: str) -> bool:
    try:
        SecretRef.parse(value)
    except ValueError:
        return False
    return True


def _called(definition: Definition, inner: KeyPath) -> str:
    return printable(".".join(str(part) for part in (definition.name, *inner))[:120])

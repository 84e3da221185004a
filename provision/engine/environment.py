"""What an ansible process of ours may see: a generated configuration and a short environment.

Nothing of the caller's own Ansible configuration reaches a run, so that the same inventory does
the same everywhere. Variables that are not named here stay out: they end up in worker processes,
and some hold secrets.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.core.paths import collections_dir, data_dir

PASSED = (
    "ANSIBLE_VAULT_IDENTITY_LIST",
    "ANSIBLE_VAULT_PASSWORD_FILE",
    "HOME",
    "KRB5CCNAME",
    "LOGNAME",
    "PATH",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_RUNTIME_DIR",
)
"""What is handed on from the caller, beside the variables that the inventory names as secrets."""

PERSIST_SECONDS = 60
"""How long an idle ssh connection is kept for the next task."""


@dataclass(frozen=True)
class Place:
    """Where the ansible processes of one run work.

    `folder` takes configuration, logs and events; `sockets` must be short, because a Unix
    socket's path has at most 107 bytes; `secrets` names environment variables that the
    inventory refers to; `variables` are told to every playbook; `patience` is that of
    the slowest node.
    """

    folder: Path
    sockets: Path
    inventory: Path
    known_hosts: Path
    forks: int = 20
    connect_seconds: int = 15
    secrets: tuple[str, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    patience: int = 1

    @property
    def config(self) -> Path:
        """The generated ansible.cfg."""
        return self.folder / "ansible.cfg"


def ssh_options(place: Place) -> tuple[str, ...]:
    """The ssh options of every connection, as words.

    ssh takes the first value it meets, so what stands here wins over the caller's ~/.ssh/config
    and over `ansible_ssh_common_args`.
    """
    options = {
        "ControlMaster": "auto",
        "ControlPersist": f"{PERSIST_SECONDS}s",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": _quoted(place.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "VerifyHostKeyDNS": "no",
        "NoHostAuthenticationForLocalhost": "no",
        # A node that dies must be noticed, not waited for until TCP gives up.
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": str(3 * place.patience),
    }
    return tuple(word for name, value in options.items() for word in ("-o", f"{name}={value}"))


def configuration(place: Place) -> str:
    """The text of ansible.cfg for one run."""
    sections: dict[str, dict[str, str]] = {
        "defaults": {
            "inventory": str(place.inventory),
            "collections_path": str(collections_dir()),
            "roles_path": str(data_dir("roles")),
            "home": str(place.folder / "home"),
            "local_tmp": str(place.folder / "tmp"),
            "host_key_checking": "True",
            "forks": str(place.forks),
            "timeout": str(place.connect_seconds * place.patience),
            "gathering": "explicit",
            # A fact is what a node says. As a variable it would win over the inventory's, and a
            # node could name the file of the controller that it wants as its "secret".
            "inject_facts_as_vars": "False",
            "interpreter_python": "/usr/bin/python3",
            "callbacks_enabled": "holdfast.core.events",
            "stdout_callback": "holdfast.core.log",
            "retry_files_enabled": "False",
            "nocows": "True",
            "deprecation_warnings": "False",
            "localhost_warning": "False",
        },
        "inventory": {"enable_plugins": "ansible.builtin.yaml", "any_unparsed_is_failed": "True"},
        "connection": {"pipelining": "True"},
        "ssh_connection": {
            "ssh_args": shlex.join(ssh_options(place)),
            "control_path_dir": str(place.sockets),
            # The name that the checks use too, so that they share the open connections.
            "control_path": "%(directory)s/%%C",
            "pipelining": "True",
        },
    }
    blocks = []
    for name, values in sections.items():
        # Ansible reads this file without interpolation: a percent sign is a percent sign.
        lines = [f"{key} = {value}" for key, value in values.items()]
        blocks.append("\n".join([f"[{name}]", *lines]))
    return "# Written by Holdfast for one run; changing it has no effect.\n" + "\n\n".join(blocks)


def environment(
    place: Place, events: Path, caller: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of one ansible process, whose callback appends to `events`."""
    given: Mapping[str, str] = os.environ if caller is None else caller
    names: Iterable[str] = (*PASSED, *place.secrets)
    found = {name: given[name] for name in names if name in given}
    return {
        **found,
        # ansible-core refuses to start in a locale that is not UTF-8.
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(place.config),
        "ANSIBLE_NOCOLOR": "1",
        "HOLDFAST_ANSIBLE_EVENTS": str(events),
        "PYTHONUNBUFFERED": "1",
    }


def _quoted(path: Path) -> str:
    """A path in an option of ssh, which expands percent signs and splits at blanks."""
    text = os.fspath(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text

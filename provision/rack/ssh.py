"""How SSH is called: host keys from the declaration only, never a question, never a guess."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from provision.core.files import write_whole
from provision.rack.hostkeys import has_key, ssh_name
from provision.rack.model import Node, Rack


@dataclass(frozen=True)
class SshSettings:
    """What all SSH calls of a run share.

    `known_hosts` was written by `write_known_hosts`; `connect_timeout_s` is how long a node of
    patience 1 may take to answer where the inventory does not say so of it; `control_dir` holds
    sockets of shared connections, none when absent (the path must be short: a socket's path has
    at most 108 bytes).
    """

    known_hosts: Path
    connect_timeout_s: int = 10
    control_dir: Path | None = None

    def seconds(self, node: Node) -> int:
        """How long `node` may take to answer."""
        return node.connect_timeout_s or self.connect_timeout_s * node.patience

    def arguments(self, rack: Rack, node: Node) -> list[str]:
        """Options of `ssh` for `node`, without the program and the address."""
        options = [f"ConnectTimeout={self.seconds(node)}"]
        if self.control_dir is not None:
            options += [
                "ControlMaster=auto",
                "ControlPersist=60s",
                f"ControlPath={_quoted(self.control_dir)}/%C",
            ]
        extra = [word for option in options for word in ("-o", option)]
        return ssh_arguments(rack, node, self.known_hosts) + extra


def write_known_hosts(rack: Rack, path: Path) -> None:
    """Write the rack's host keys as a known_hosts file (0600).

    Raises:
        OSError: `path` cannot be written, or the inventory's own known_hosts cannot be read.
    """
    lines = [
        f"{ssh_name(node.address, node.port)} {key}"
        for node in rack.nodes
        for key in node.host_keys
    ]
    text = "".join(line + "\n" for line in lines)
    if rack.known_hosts is not None:
        # Nodes that declare their own keys are held to those: other lines for them would widen
        # what is accepted, so the file only speaks for the rest.
        text += _others(rack, rack.known_hosts.read_text(encoding="utf-8"))
    write_whole(path, text, mode=0o600)


def _others(rack: Rack, text: str) -> str:
    declared = [(n.address, n.port) for n in rack.nodes if n.host_keys]
    kept = [line for line in text.splitlines() if not any(has_key(line, *d) for d in declared)]
    return "".join(line + "\n" for line in kept)


def ssh_arguments(rack: Rack, node: Node, known_hosts: Path) -> list[str]:
    """Options of `ssh` for `node`, without the program and the address.

    An unknown key is refused, nothing is asked, and no other file of keys is looked at. Ours come
    first because ssh keeps the first value of an option.
    """
    options = [
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={_quoted(known_hosts)}",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "VerifyHostKeyDNS=no",
        "NoHostAuthenticationForLocalhost=no",
        "CheckHostIP=no",
        "BatchMode=yes",
    ]
    words = [word for option in options for word in ("-o", option)]
    words += ["-p", str(node.port)]
    if node.user:
        words += ["-l", node.user]
    if node.private_key:
        # `-i` takes the path as one word: quotes would become part of it.
        words += ["-i", str(node.private_key), "-o", "IdentitiesOnly=yes"]
    del rack  # every rack is reached the same way; only the node's own settings differ
    return [*words, *node.ssh_args]


def _quoted(path: Path) -> str:
    """A path inside an option's value, which ssh splits at blanks unless it is quoted."""
    text = str(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text

"""What a message of ssh, sudo or ansible means, in words that a person can act on. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

CONNECTION = "reachable"
HOST_KEY = "host_key"
AUTHENTICATION = "authentication"
PRIVILEGE = "privilege"
PYTHON = "python"


@dataclass(frozen=True)
class Cause:
    """Why a node could not be looked at: `check` is the preflight check that failed by it."""

    check: str
    message: str
    action: str


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    cause: Cause


def _rule(pattern: str, check: str, message: str, action: str) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), Cause(check, message, action))


_RULES = (
    _rule(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed",
        HOST_KEY,
        "the node shows another host key than the inventory has",
        "if the node was reinstalled, compare the new key on its console and write it to "
        "holdfast_host_keys; otherwise somebody may stand between",
    ),
    _rule(
        r"host key is known for|host key verification failed",
        HOST_KEY,
        "the inventory has no host key that the node shows",
        "read the key on the node's console (/etc/ssh/ssh_host_ed25519_key.pub) and write it "
        "to holdfast_host_keys",
    ),
    _rule(
        r"UNPROTECTED PRIVATE KEY|bad permissions",
        AUTHENTICATION,
        "ssh refuses the private key because others can read it",
        "chmod 0600 the file that ansible_ssh_private_key_file names",
    ),
    _rule(
        r"Load key .*: (No such file|error in libcrypto|invalid format)|no such identity",
        AUTHENTICATION,
        "the private key cannot be read",
        "check ansible_ssh_private_key_file",
    ),
    _rule(
        r"Permission denied|Too many authentication failures|Authentication failed"
        r"|Invalid/incorrect password",
        AUTHENTICATION,
        "the node does not let this user in",
        "check ansible_user and ansible_ssh_private_key_file, and that the public key is in the "
        "user's authorized_keys on the node",
    ),
    _rule(
        r"sudo: a password is required|Missing sudo password|Incorrect sudo password"
        r"|is not in the sudoers|not allowed to (execute|run sudo)|sudo: command not found"
        r"|Timeout .*waiting for privilege escalation|sudo: .*must be owned by uid 0",
        PRIVILEGE,
        "the user cannot become root on the node",
        "let the user run sudo without a password, or give ansible_become_password from a vault",
    ),
    _rule(
        r"requires a minimum of Python|future feature annotations"
        r"|SyntaxError: invalid syntax|unsupported Python",
        PYTHON,
        "the node's /usr/bin/python3 is older than 3.9",
        "use EL 9 or 10; EL 8 cannot be managed by a supported ansible-core",
    ),
    _rule(
        r"interpreter .*(was not found|not found)|python3?: (not found|No such file)"
        r"|/usr/bin/python3.*No such file|rc\W+127",
        PYTHON,
        "the node has no /usr/bin/python3",
        "install python3 on the node: dnf install python3",
    ),
    _rule(
        r"Could not resolve hostname|Name or service not known|Temporary failure in name",
        CONNECTION,
        "the node's name does not resolve",
        "check ansible_host, or the resolver of this machine",
    ),
    _rule(
        r"Connection refused",
        CONNECTION,
        "nothing listens on the node's ssh port",
        "start sshd on the node, or check ansible_port",
    ),
    _rule(
        r"No route to host|Network is unreachable|Host is down",
        CONNECTION,
        "there is no route to the node",
        "check that the node is on and its network cable, address and routes",
    ),
    _rule(
        r"timed out|Timeout|did not respond",
        CONNECTION,
        "the node does not answer",
        "check that the node is on, and that no firewall drops ssh",
    ),
    _rule(
        r"Connection (closed|reset)|kex_exchange_identification|Broken pipe|not responding"
        r"|Shared connection .* closed|mux_client",
        CONNECTION,
        "the node closed the connection",
        "look at `journalctl -u sshd` on the node; it may be starting, full or overloaded",
    ),
    _rule(
        r"No space left on device",
        "disk",
        "a disk of the node is full",
        "free space on the node: df -h; journalctl --vacuum-size=200M",
    ),
)

_UNKNOWN = Cause(
    CONNECTION,
    "the node could not be looked at",
    "try the connection by hand: ssh -v to the node's address",
)


def classify(message: str) -> Cause:
    """The cause behind a message of ssh, sudo or ansible.

    The first rule that fits wins; a message that no rule knows still has a cause, whose words
    say only that the node could not be looked at.
    """
    for rule in _RULES:
        if rule.pattern.search(message):
            return rule.cause
    return _UNKNOWN


_NOISE = re.compile(
    r"^(Warning: Permanently added|IT IS POSSIBLE THAT SOMEONE|Someone could be eavesdropping"
    r"|It is also possible that a host key)"
)
_ABOUT_ANSIBLE = re.compile(
    r"^(Task failed:\s*|Failed to connect to the host via ssh:\s*"
    r"|Data could not be sent to remote host \S+\s*"
    r"|Make sure this host can be reached over ssh:\s*)+"
)


def _noise(line: str) -> bool:
    return _NOISE.match(line) is not None


def shorten(message: str, limit: int = 300) -> str:
    """The part of a connection error that says something, as one line."""
    lines = [
        line for raw in message.splitlines() if (line := raw.strip("@ \t")) and not _noise(line)
    ]
    text = _ABOUT_ANSIBLE.sub("", " ".join(lines))
    return text if len(text) <= limit else text[: limit - 1] + "…"

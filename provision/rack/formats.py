"""How single values are written: addresses, networks, keys, names.

Each function returns the value or raises what `refuse` makes: an error that becomes a problem.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from datetime import date, datetime
from urllib.parse import urlsplit

from provision.core.judging import refuse
from provision.core.names import suggest
from provision.core.yamlpos import shown

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"(?=.{1,128}$)[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_ADDRESS = re.compile(r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_GROUP = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,127})")
_DIGITS = re.compile(r"[0-9.]+")
_INTERFACE = re.compile(r"[A-Za-z0-9_.:-]{1,15}")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
_SHARE = re.compile(r"(?:100|[1-9]?[0-9])%")
KEY_TYPES = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
_KEY_BYTES = {"ssh-ed25519": 51, "ssh-rsa": 150}
"""Least bytes of a key; RSA of 1024 bits is longer than that and too weak, sshd refuses it."""


def name(value: str) -> str:
    """A rack's name: small letters, digits and hyphens."""
    if not _NAME.fullmatch(value):
        hint = "small letters, digits and hyphens, at most 63, as in lab-a"
        raise refuse("bad-name", f"{shown(value)} is not a name", hint)
    return value


def node_name(value: str) -> str:
    """A node's name: it becomes part of file names and of patterns for `--limit`.

    An address may be longer than the 128 characters of a name; `ansible_host` holds it then.
    """
    if not _HOST.fullmatch(value):
        hint = "letters, digits, hyphens, dots and underscores, as in gpu-01"
        raise refuse("bad-name", f"{shown(value)} is not a node name", hint)
    return value


def group_name(value: str) -> str:
    """A group's name, by the same reasoning as a node's."""
    if not _GROUP.fullmatch(value):
        hint = "letters, digits, underscores and hyphens, as in gpu_nodes"
        raise refuse("bad-name", f"{shown(value)} is not a group name", hint)
    return value


def address(value: str) -> str:
    """An IP address or a host name."""
    if _DIGITS.fullmatch(value) or ":" in value:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            hint = "an address such as 192.0.2.11, or a host name; a port has its own variable"
            raise refuse("bad-address", f"{shown(value)} is not an IP address", hint) from None
    elif not _ADDRESS.fullmatch(value) or ".." in value:
        hint = "an address such as 192.0.2.11, or a host name"
        raise refuse("bad-address", f"{shown(value)} is not an address", hint)
    return value


def network(value: str) -> str:
    """A network in CIDR form, without host bits."""
    try:
        ipaddress.ip_network(value)
    except ValueError:
        try:
            meant = f"did you mean {str(ipaddress.ip_network(value, strict=False))!r}?"
        except ValueError:
            meant = "a network such as 192.0.2.0/24"
        raise refuse("bad-network", f"{shown(value)} is not a network", meant) from None
    return value


def interface(value: str) -> str:
    """A network interface's name, as Linux allows it."""
    if not _INTERFACE.fullmatch(value):
        hint = "at most 15 letters, digits, dots, hyphens and underscores, as in eno1"
        raise refuse("bad-name", f"{shown(value)} is not an interface name", hint)
    return value


def mac(value: object) -> str:
    """The address of an Ethernet card, in small hexadecimal letters with colons."""
    hint = 'in quotes, with small letters and colons, as in "52:54:00:12:34:56"'
    if not isinstance(value, str):
        # Without quotes, YAML takes one of digits alone for a number to the base of sixty.
        raise refuse("bad-mac", f"{shown(value)} is not a MAC address", hint)
    if not _MAC.fullmatch(value):
        raise refuse("bad-mac", f"{shown(value)} is not a MAC address", hint)
    if int(value[:2], 16) & 1 or not value.strip("0:"):
        raise refuse("bad-mac", f"{shown(value)} is no single card's address", hint)
    return value


def pci_id(value: str) -> str:
    """PCI vendor and device as ``10de:2330``."""
    if not _PCI.fullmatch(value):
        hint = "vendor:device in small hexadecimal letters, as `lspci -n` prints: 10de:2330"
        raise refuse("bad-pci-id", f"{shown(value)} is not a PCI id", hint)
    return value


def host_key(value: str) -> str:
    """A public host key as in /etc/ssh/ssh_host_*_key.pub; a comment may follow it."""
    kind, _, rest = value.strip().partition(" ")
    if kind not in KEY_TYPES:
        raise refuse(
            "bad-host-key", f"{shown(kind)} is no type of host key", suggest(kind, KEY_TYPES)
        )
    text = rest.split(" ")[0]
    hint = "copy the whole line from /etc/ssh/ssh_host_ed25519_key.pub on the node"
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise refuse("bad-host-key", "the key after its type is not base64", hint) from None
    named = blob[4 : 4 + int.from_bytes(blob[:4], "big")] if len(blob) > 4 else b""
    if named != kind.encode() or len(blob) < _KEY_BYTES.get(kind, 32):
        raise refuse("bad-host-key", f"this is not a whole {kind} key", hint)
    return f"{kind} {text}"


def origin(value: str) -> str:
    """The base address of a mirror: http, https or file, without a user, query or fragment."""
    if any(c.isspace() or not c.isprintable() for c in value):
        # `urlsplit` leaves line breaks out, and a repository file would obey what follows one.
        hint = "an address holds no blanks, and nothing that cannot be printed"
        raise refuse("bad-origin", f"{shown(value)} is not the address of a mirror", hint)
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refuse("bad-origin", f"{shown(value)} is not a URL") from None
    if parts.username is not None or parts.password is not None:
        hint = "a secret has no place in an inventory; let the mirror be reachable without it"
        raise refuse("literal-secret", "this URL holds a user or a password", hint)
    whole = bool(host) if parts.scheme in ("http", "https") else parts.path.startswith("/")
    known = ("http", "https", "file")
    if parts.scheme not in known or not whole or parts.query or parts.fragment:
        hint = "as in http://mirror.example.org:8080/el10 or file:///srv/bundle"
        raise refuse("bad-origin", f"{shown(value)} is not the address of a mirror", hint)
    return value.rstrip("/")


def iso_date(value: object) -> date:
    """A day, as YAML reads it or in quotes."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        hint = "year, month and day, as in 2027-06-30"
        raise refuse("bad-date", f"{shown(value)} is not a date", hint) from None


CONTROL_ID = "^[a-z0-9]+(-[a-z0-9]+)*$"


def control_id(value: str) -> str:
    """The id of a control: small letters and digits, with hyphens between words."""
    if not re.fullmatch(CONTROL_ID, value):
        hint = "small letters, digits and hyphens, as in sshd-no-root-login"
        raise refuse("bad-name", f"{shown(value)} is not the id of a control", hint)
    return value


def path_fault(value: str) -> str | None:
    """Why `value` cannot be the path of a file, or None when it can."""
    if not value.strip() or value.endswith("/"):
        return "it names no file"
    if any(not c.isprintable() for c in value):
        return "it holds a character that cannot be printed"
    if value.startswith("~") and not value.startswith("~/"):
        return "of home folders only your own can be named, as ~/..."
    if len(value.encode()) > 1024 or any(len(p.encode()) > 255 for p in value.split("/")):
        return "it is too long"
    return None


def file_path(value: str) -> str:
    """The path of a file."""
    fault = path_fault(value)
    if fault is not None:
        raise refuse("bad-path", f"{shown(value)} is not the path of a file: {fault}")
    return value


def folder_path(value: str) -> str:
    """The path of a folder; a slash may end it."""
    fault = path_fault(value.rstrip("/") or value)
    if fault is not None:
        raise refuse("bad-path", f"{shown(value)} is not the path of a folder: {fault}")
    return value


def share(value: object) -> int | str:
    """A number of things, or a share of all in percent."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100000:
        return value
    if isinstance(value, str) and _SHARE.fullmatch(value):
        return value
    raise refuse("bad-value", f"{shown(value)} is neither a number nor a share", "as in 2, or 10%")


def truth(value: bool | None) -> bool:
    """True or false, where leaving it out is something else."""
    if value is None:
        raise refuse("wrong-type", "it is true or false, and nothing is neither", "leave it out")
    return value

"""What several roles' checks ask of the rpm database, written once."""

from __future__ import annotations

import re
from typing import Any

from provision.checks.declaration import Expected, Package
from provision.checks.declare import CouldNotLook, Looker, Seen, listed

LOOKS = ("packages",)
_KEY_ID = re.compile(r"Key ID ([0-9a-f]{8,64})", re.IGNORECASE)
_FINGERPRINT = re.compile(r"Key Fingerprint:? ([0-9a-f]{40,64})", re.IGNORECASE)


def release_of(look: Looker) -> tuple[str, str]:
    """The node's EL major version and architecture, which choose among the locked packages."""
    release = look("packages", "release")
    return str(release.get("VERSION_ID", "")).split(".")[0], str(release.get("MACHINE", ""))


def installed(look: Looker) -> dict[str, list[dict[str, Any]]]:
    """Installed packages by name; a name can be there more than once."""
    found: dict[str, list[dict[str, Any]]] = {}
    for package in look("packages", "installed"):
        found.setdefault(package["name"], []).append(package)
    return found


def role_packages(role: str, look: Looker, expected: Expected) -> tuple[Package, ...]:
    """The locked packages that `role` needs on this node."""
    el, arch = release_of(look)
    if not expected.packages_for(el, arch):
        raise AssertionError(f"the stack lock holds nothing for EL {el} on {arch}")
    return expected.packages_of(role, el, arch)


def assert_locked(role: str, look: Looker, seen: Seen, expected: Expected) -> None:
    """Every package that `role` needs is installed in exactly the locked version."""
    wanted = role_packages(role, look, expected)
    assert wanted, f"the stack lock names no package for the role {role} on this release"
    present = installed(look)
    wrong = [
        f"{p.nevra} ({_instead(present.get(p.name, []))})"
        for p in wanted
        if p.nevra not in [x["nevra"] for x in present.get(p.name, [])]
    ]
    seen("installed: " + listed([p.nevra for p in wanted]))
    assert not wrong, "not as locked: " + listed(wrong)


def _instead(found: list[dict[str, Any]]) -> str:
    return "found " + ", ".join(x["nevra"] for x in found) if found else "not installed"


def signer(signature: str) -> str | None:
    """The key id or fingerprint that rpm names in a signature, in lower case; None when unsigned.

    Raises:
        CouldNotLook: rpm says something in a form that is not known.
    """
    if not signature.strip():
        return None
    for pattern in (_FINGERPRINT, _KEY_ID):
        found = pattern.search(signature)
        if found:
            return found.group(1).lower()
    raise CouldNotLook(f"rpm describes a signature in an unknown form: {signature[:80]!r}")


def made_by(who: str | None, fingerprint: str) -> bool:
    """Whether a key id or fingerprint is that of the key with `fingerprint`."""
    return who is not None and len(who) >= 16 and fingerprint.lower().endswith(who)

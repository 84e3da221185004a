"""Repositories: dnf asks only the locked ones, and checks every signature."""

from __future__ import annotations

from typing import Any

from provision.checks.applies import where_packages_are_locked
from provision.checks.declaration import Expected, Repository
from provision.checks.declare import Looker, Seen, check, listed
from provision.checks.packages import assert_locked, release_of
from provision.verdict.model import Severity

_LOOKS = ("repositories", "packages")


def _enabled(look: Looker) -> list[dict[str, Any]]:
    found = look("repositories", "configuration")["repositories"]
    return [r for r in found if r["enabled"]]


def _wanted(look: Looker, expected: Expected) -> dict[str, Repository]:
    el, arch = release_of(look)
    found = {r.id: r for r in expected.repositories if r.release == el and r.arch == arch}
    assert found, f"the stack lock holds no repository for EL {el} on {arch}"
    return found


@check(
    "repositories.packages",
    title="The packages of the repositories role are installed as locked",
    expected="the name, epoch, version, release and architecture of the stack lock",
    severity=Severity.HIGH,
    action="run `holdfast up` for this node",
    clears="every package of the role stands in the rpm database exactly as locked",
    looks=("packages",),
    applies=where_packages_are_locked("repositories"),
)
def test_packages(look: Looker, seen: Seen, expected: Expected) -> None:
    """The rpm database against the lock."""
    assert_locked("repositories", look, seen, expected)


@check(
    "repositories.only_locked",
    title="Packages can come from the locked repositories only",
    expected=lambda e: "enabled: " + listed([f"{r.id} at {r.address}" for r in e.repositories]),
    severity=Severity.HIGH,
    action="disable what is not in the stack lock, then run `holdfast up` for this node",
    clears="dnf's own view of its configuration holds the locked repositories and no other",
    looks=_LOOKS,
)
def test_only_locked(look: Looker, seen: Seen, expected: Expected) -> None:
    """Identity and address of what dnf would ask, including files nobody thought of."""
    wanted = _wanted(look, expected)
    enabled = {r["id"]: r for r in _enabled(look)}
    seen("enabled: " + listed([f"{i} at {' '.join(r['baseurl'])}" for i, r in enabled.items()]))
    wrong = [f"{name} is not enabled" for name in wanted if name not in enabled]
    for name, repo in enabled.items():
        if name not in wanted:
            wrong.append(f"{name} is enabled and not locked")
            continue
        found = [url.rstrip("/") for url in repo["baseurl"]]
        if wanted[name].subscribed:
            continue
        if found != [wanted[name].address]:
            wrong.append(f"{name} asks {listed(found) or 'nothing'}, not {wanted[name].address}")
        if repo["indirect"]:
            wrong.append(f"{name} follows {listed(repo['indirect'])}")
    assert not wrong, "; ".join(wrong)


@check(
    "repositories.signatures_checked",
    title="dnf refuses packages and metadata without a valid signature",
    expected="gpgcheck on by default, and with repo_gpgcheck in every repository",
    severity=Severity.CRITICAL,
    action="find who turned it off, then run `holdfast up` for this node",
    clears="gpgcheck and repo_gpgcheck are on in what dnf itself reads",
    looks=_LOOKS,
)
def test_signatures_checked(look: Looker, seen: Seen, expected: Expected) -> None:
    """The switches as dnf sees them, after defaults and every file."""
    # A vendor that signs packages but no metadata is known only from the declaration.
    unsigned = {r.id for r in expected.repositories if r.subscribed}
    configuration = look("repositories", "configuration")
    off = [f"{name} is off" for name, on in configuration["main"].items() if not on]
    for repo in _enabled(look):
        demanded = ["gpgcheck"] if repo["id"] in unsigned else ["gpgcheck", "repo_gpgcheck"]
        off += [f"{repo['id']}: {name} is off" for name in demanded if not repo[name]]
    seen(f"on by default and in {listed([r['id'] for r in _enabled(look)])}")
    assert not off, "; ".join(off)


@check(
    "repositories.keys",
    title="The locked key stands behind every repository, and no other",
    expected=lambda e: "fingerprint " + listed(sorted({r.fingerprint for r in e.repositories})),
    severity=Severity.CRITICAL,
    action="find who replaced the key file, then run `holdfast up` for this node",
    clears="the key files that dnf names hold exactly the keys of the stack lock",
    looks=_LOOKS,
)
def test_keys(look: Looker, seen: Seen, expected: Expected) -> None:
    """Fingerprints computed from the key files on the node."""
    wanted = _wanted(look, expected)
    wrong = []
    enabled = [repo for repo in _enabled(look) if repo["id"] in wanted]
    assert enabled, "none of the locked repositories is enabled"
    for repo in enabled:
        fingerprint = wanted[repo["id"]].fingerprint
        found = sorted(set(repo["keys"]))
        seen(f"{repo['id']}: {listed(found) or 'no key'}")
        if fingerprint not in found or (
            found != [fingerprint] and not wanted[repo["id"]].subscribed
        ):
            wrong.append(f"{repo['id']} trusts {listed(found) or 'no key'}, not {fingerprint}")
    assert not wrong, "; ".join(wrong)


@check(
    "repositories.trusted",
    title="rpm itself trusts the locked keys",
    expected=lambda e: "fingerprint " + listed(sorted({r.fingerprint for r in e.repositories})),
    severity=Severity.HIGH,
    action="run `holdfast up` for this node",
    clears="the rpm database holds the keys of the stack lock",
    looks=_LOOKS,
)
def test_trusted(look: Looker, seen: Seen, expected: Expected) -> None:
    """Keys in the rpm database; those that the node came with stay, and are shown."""
    found = look("repositories", "trusted")
    wanted = {r.fingerprint for r in _wanted(look, expected).values()}
    seen("the rpm database trusts " + (listed(found) or "no key"))
    lacking = sorted(wanted - set(found))
    assert not lacking, f"lacks {listed(lacking)}; trusts {listed(found) or 'no key'}"

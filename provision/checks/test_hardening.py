"""Hardening: every control of the node's profile is in force, by what the node itself says.

One check for each type of resource. This is the first of two verdicts; OpenSCAP gives the other.
"""

from __future__ import annotations

from collections.abc import Callable

from provision.checks.declaration import Expected
from provision.checks.declare import CouldNotLook, Looker, Seen, check
from provision.checks.hardened import declared
from provision.checks.hardened.judging import judge
from provision.checks.hardened.registry import KINDS, Kind

AREAS = ("hardening", "hardening_access", "hardening_files", "packages")


def _applies(name: str) -> Callable[[Expected], str | None]:
    def applies(node: Expected) -> str | None:
        if not node.controls:
            return "the inventory asks for no profile"
        if any(any(declared.of_type(c, name)) for c in declared.releases(node).values()):
            return None
        told = f"no control of {node.profile} sets {KINDS[name].things}"
        lacks = " and ".join(lack.replace("_", " ") for lack in node.lacks)
        return f"{told} on a node of kind {node.kind}" + (f" without {lacks}" if lacks else "")

    return applies


def _expected(name: str) -> Callable[[Expected], str]:
    def expected(node: Expected) -> str:
        counts = {
            release: sum(1 for _ in declared.of_type(controls, name))
            for release, controls in declared.releases(node).items()
        }
        told = " or ".join(f"{count} on {release}" for release, count in counts.items())
        return f"what the controls of {node.profile} want of {KINDS[name].things} ({told})"

    return expected


def _made(name: str, kind: Kind) -> Callable[..., None]:
    @check(
        f"hardening.{name}",
        title=f"What the profile wants of {kind.things} is in force",
        expected=_expected(name),
        severity=kind.severity,
        action="run `holdfast plan` and `holdfast up` for this node",
        clears=f"{kind.means}: as the controls want it",
        looks=AREAS,
        applies=_applies(name),
    )
    def test(look: Looker, seen: Seen, expected: Expected) -> None:
        controls = declared.controls_here(expected, look)
        found = judge(name, controls, kind.judge, look)
        seen(found.summary or f"no control of {expected.profile} for this release sets any")
        said = f"{found.summary}\n{found.details}".strip()
        assert not {**found.wrong, **found.waits}, said
        if found.unseen:
            raise CouldNotLook(said)

    test.__name__ = f"test_{name}"
    test.__doc__ = f"Judges {kind.things} by {kind.means}."
    return test


for _name, _kind in KINDS.items():
    globals()[f"test_{_name}"] = _made(_name, _kind)

"""The names that an inventory may refer to and that other rooms own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownNames:
    """Profiles, models, images and engines that exist.

    None where the names could not be found out (the stack lock is missing); they are then not
    checked, and whoever passes None has a problem of their own to report.
    """

    profiles: frozenset[str] | None = None
    models: frozenset[str] | None = None
    images: frozenset[str] | None = None
    engines: frozenset[str] | None = None

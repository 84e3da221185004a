"""The result of one check on one node."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The result of one check on one node."""

    PASS = "pass"
    FAIL = "fail"
    WAIVED = "waived"
    NOT_APPLICABLE = "not_applicable"
    """Follows from what is declared, never from a probe that failed."""
    UNKNOWN = "unknown"
    """The check could not look. Gates like a failure."""

    @property
    def gates(self) -> bool:
        """Whether this status makes the whole verdict a failure."""
        return self in (Status.FAIL, Status.UNKNOWN)

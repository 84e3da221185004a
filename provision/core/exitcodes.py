"""The exit codes of every verb, in one place."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a verb's exit status means. Every verb uses these five and no others."""

    OK = 0
    """Nothing fails. `plan` exits 0 with changes pending."""
    FINDINGS = 1
    """Something fails or is unknown."""
    USAGE = 2
    """Bad input or usage; nothing was contacted."""
    NOT_DONE = 3
    """Could not run or finish: unreachable, refused by preflight, locked, internal."""
    INTERRUPTED = 130
    """Interrupted by a signal; `--resume` continues."""

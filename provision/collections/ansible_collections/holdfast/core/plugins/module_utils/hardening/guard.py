# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Against locking oneself out: what is refused beforehand, and an undo that fires by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import journal
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Node


def refusals(node: Node, reached: dict[str, Any] | None) -> list[str]:
    """Why the staged changes would obviously lock out."""
    del node, reached
    return []


def armed(home: str, deadline: int) -> Callable[[journal.Entry], None]:
    """What arms the undo once the journal stands."""
    raise NotImplementedError


def disarm(home: str) -> bool:
    """Cancel the undo; False when it has begun."""
    raise NotImplementedError

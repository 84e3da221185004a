# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""What the documentation of the modules that change how one logs in has in common."""

from __future__ import annotations


class ModuleDocFragment:
    """How the node is reached, and how long it waits for a login."""

    DOCUMENTATION = r"""
options:
  guard:
    description:
      - How the node is reached, so that a change that would lock out is refused beforehand.
    type: dict
    suboptions:
      user:
        description: The user that logs in.
        type: str
        required: true
      become:
        description: Whether this user becomes root.
        type: bool
        default: true
      become_password:
        description: Whether a password for that is known.
        type: bool
        default: false
      password:
        description: Whether the user logs in with a password.
        type: bool
        default: false
      port:
        description: The port that is connected to; 0 where that does not matter.
        type: int
        default: 0
  deadline:
    description:
      - Seconds after which the node undoes the change by itself, unless it is told that a login
        succeeded. 0 never does.
    type: int
    default: 0
"""

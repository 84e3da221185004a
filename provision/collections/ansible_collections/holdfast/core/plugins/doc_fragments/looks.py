# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""What the documentation of all modules that only look has in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Of modules that change nothing; `ROOT` is of those that read files below a folder."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: The module changes nothing.
  diff_mode:
    support: none
    description: The module changes nothing.
"""

    ROOT = r"""
options:
  root:
    description: The folder to look below, for tests.
    type: path
    default: /
"""

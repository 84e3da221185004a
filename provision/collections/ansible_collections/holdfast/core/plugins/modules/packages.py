# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install exactly the packages of a stack lock
version_added: 0.1.0
description:
  - Compares the rpm database with the packages given. Where all are installed in exactly that
    version, nothing else is done.
  - Otherwise dnf resolves the installation, every package of the result is held against the
    stack lock, C(ansible.builtin.dnf) installs it, and the rpm database is read again.
  - Check mode reads only the rpm database, so it works before the repositories are there.
options:
  packages:
    description: Packages by NEVRA, as the stack lock names them.
    type: list
    elements: dict
    default: []
  absent:
    description: Names of packages that must not be installed.
    type: list
    elements: str
    default: []
  locked:
    description: Every package that the stack lock allows, dependencies included.
    type: list
    elements: dict
    default: []
  older:
    description:
      - Packages that may become older without being asked for, such as those of the same unit.
        What is asked for may always.
    type: list
    elements: dict
    default: []
author:
  - Holdfast contributors
attributes:
  action:
    support: full
    description: Runs partly on the controller.
  check_mode:
    support: full
    description: Names what would be installed or removed.
  diff_mode:
    support: none
    description: The changes are named in RV(holdfast_changes).
  platform:
    support: full
    platforms: el
    description: Needs rpm and dnf 4.
"""

EXAMPLES = r"""
- name: Install what the role needs
  holdfast.core.packages:
    packages: "{{ time_packages }}"
    locked: "{{ time_locked }}"
"""

RETURN = r"""
holdfast_changes:
  description: What was, or would be, installed or removed.
  returned: when changed
  type: list
  elements: str
  sample: ["install chrony-0:4.6-1.el10.x86_64"]
names:
  description: Names of the packages that were, or would be, installed.
  returned: always
  type: list
  elements: str
"""

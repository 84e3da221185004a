# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access
short_description: Apply controls that could lock somebody out, without locking anybody out
version_added: 0.2.0
description:
  - Runs M(holdfast.core.hardening) for the phase V(access) with proofs before and after it.
  - Before a change, a login over a fresh connection that becomes root is proven. Then the node
    arms its own undo and changes. Then another login over a fresh connection is proven, and only
    that one cancels the undo.
  - When the login fails after the change, the change is put back over the connection that is still
    open. When that fails too, or when the controller dies, the node puts it back by itself.
options:
  controls:
    description: The rendered controls of all phases.
    type: list
    elements: dict
    required: true
  run:
    description: The run that asks; the undo journal is kept under this name.
    type: str
    default: ""
  pending:
    description: Packages that an earlier task would have installed. Only used in check mode.
    type: list
    elements: str
    default: []
  deadline:
    description: Seconds after which the node puts the change back by itself.
    type: int
    default: 120
  offline:
    description: Change files only and prove no login, for an image build.
    type: bool
    default: false
author:
  - Holdfast contributors
attributes:
  action:
    support: full
    description: Runs partly on the controller, which opens the fresh connections.
  check_mode:
    support: full
    description: Says in the same words what would be changed, and refuses what would lock out.
  diff_mode:
    support: full
    description: Shows files that everybody may read.
  platform:
    support: full
    platforms: el
    description: Needs systemd.
"""

EXAMPLES = r"""
- name: Apply the controls that could lock somebody out
  holdfast.core.access:
    controls: "{{ access_controls }}"
    deadline: 120
"""

RETURN = r"""
holdfast_changes:
  description: What was, or would be, changed.
  returned: when changed
  type: list
  elements: str
waiting:
  description: What takes effect at the next start only.
  returned: always
  type: list
  elements: str
"""

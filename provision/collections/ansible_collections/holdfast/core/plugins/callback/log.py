# Copyright: Holdfast contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# This file imports ansible.plugins and is therefore under the GNU General Public License,
# version 3 or later; see LICENSES/GPL-3.0-or-later.txt.
"""Writes a run's log as Ansible does, without what files held.

A file that a node had before may hold a secret: a password in a repository's address, a comment.
Ansible's diffs would copy it to the controller.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default

DOCUMENTATION = r"""
name: log
type: stdout
short_description: Ansible's own output without diffs
version_added: 0.1.0
description:
  - Writes what C(ansible.builtin.default) writes, without the contents of files.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
author:
  - Holdfast contributors
"""


class CallbackModule(Default):
    """Ansible's default output, which keeps quiet about contents."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "holdfast.core.log"

    def v2_on_file_diff(self, result: Any) -> None:
        """Show nothing: the events name the paths."""

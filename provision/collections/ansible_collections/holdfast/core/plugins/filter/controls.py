# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Filters that read rendered controls: what a role needs out of them."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
name: controls
short_description: Read what a role needs out of rendered controls
version_added: 0.2.0
description:
  - C(control_packages) gives the names of packages that controls of a phase want present or
    absent.
options: {}
"""


def control_packages(controls: Any, phase: str, state: str = "present") -> list[str]:
    """Names of the packages that the controls of a phase want present or absent."""
    return sorted(
        {
            str(resource["name"])
            for control in controls
            if control.get("phase", "hardening") == phase
            for resource in control.get("resources", [])
            if resource["type"] == "package" and resource.get("state", "present") == state
        }
    )


class FilterModule:
    """Gives the filters to Ansible."""

    def filters(self) -> dict[str, Any]:
        """The filters by name."""
        return {"control_packages": control_packages}

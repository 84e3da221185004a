"""Profiles, controls and overlays as plain data for `--json`."""

from __future__ import annotations

from typing import Any

from provision.policy.load import Policy
from provision.policy.model import Control, Overlay, Profile
from provision.policy.resolve import Resolution, render


def listing(policy: Policy) -> dict[str, Any]:
    """Every profile and overlay."""
    return {
        "profiles": [
            {
                **profile.model_dump(mode="json"),
                "controls": {
                    release: sum(
                        profile.id in control.profiles(release)
                        for control in policy.controls.values()
                    )
                    for release in profile.benchmark
                },
            }
            for profile in policy.profiles.values()
        ],
        "overlays": [
            {
                "id": overlay.id,
                "title": overlay.title,
                "description": overlay.description,
                "deviations": len(overlay.deviations),
            }
            for overlay in policy.overlays.values()
        ],
    }


def resolved(profile: Profile, resolution: Resolution) -> dict[str, Any]:
    """What becomes of each control of a profile on one target."""
    target = resolution.target
    return {
        "profile": profile.id,
        "title": profile.title,
        "benchmark": profile.benchmark[target.release].model_dump(mode="json"),
        "release": target.release,
        "kind": target.kind,
        "traits": sorted(target.traits),
        "lacks": dict(target.lacks),
        "applied": [
            {
                **render(item),
                "exemption": item.exemption.to_json() if item.exemption else None,
                "extended_by": [one.to_json() for one in item.extended_by],
            }
            for item in resolution.applied
        ],
        "provided": [
            {"id": c.id, "title": c.title, "by": c.provided_by} for c in resolution.provided
        ],
        "waived": [
            {"id": w.control.id, "title": w.control.title, **w.exemption.to_json()}
            for w in resolution.waived
        ],
        "not_applicable": [
            {"id": n.control.id, "title": n.control.title, "reason": n.reason}
            for n in resolution.not_applicable
        ],
        "not_automated": [
            {"id": c.id, "title": c.title, "reason": c.not_automated}
            for c in resolution.not_automated
        ],
    }


def control(policy: Policy, one: Control) -> dict[str, Any]:
    """One control as it was written, where that is, and which overlays deviate from it."""
    place = policy.place("control", one.id)
    at = place.document.at(place.path)
    return {
        **one.model_dump(mode="json"),
        "cannot_be_undone": one.lasting,
        "file": at.file,
        "line": at.line,
        "deviations": [
            {"overlay": overlay.id, **deviation.model_dump(mode="json")}
            for overlay in policy.overlays.values()
            for deviation in overlay.deviations
            if deviation.control == one.id
        ],
    }


def overlay(one: Overlay) -> dict[str, Any]:
    """An overlay with its deviations."""
    return one.model_dump(mode="json")

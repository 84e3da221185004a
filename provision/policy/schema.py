"""The JSON Schema of files of controls, profiles and overlays, for editors.

It says less than loading them does: names in other files and clashes no schema can say.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from provision.policy.model import ControlsFile, OverlayFile, ProfileFile

_REF = "#/$defs/"


def json_schema() -> dict[str, Any]:
    """The schema of any of the three kinds of file."""
    kinds: Any = [
        (kind.__name__, "validation", TypeAdapter(kind))
        for kind in (ControlsFile, ProfileFile, OverlayFile)
    ]
    found, shared = TypeAdapter.json_schemas(kinds, by_alias=True, ref_template=_REF + "{model}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "holdfast.policy.schema.json",
        "title": "Holdfast controls, profile or overlay",
        "oneOf": list(found.values()),
        "$defs": shared["$defs"],
    }


def published() -> str:
    """The text of provision/policy/policy.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"

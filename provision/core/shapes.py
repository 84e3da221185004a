"""Shapes of what a person writes: frozen, strict models, and lists that are kept as tuples."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import CoreSchema, core_schema

from provision.core.judging import refuse
from provision.core.yamlpos import shown

T = TypeVar("T")


class Model(BaseModel):
    """Frozen, strict, and without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Listing = Annotated[tuple[T, ...], BeforeValidator(_as_tuple)]
"""A YAML list; kept as a tuple."""
Some = Annotated[
    tuple[T, ...],
    BeforeValidator(_as_tuple),
    # After the items, or a list whose only item is wrong would be called empty as well.
    Field(min_length=1, json_schema_extra={"minItems": 1}),
]
"""The same, and not empty."""


_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"
"""What some scripts need between two letters."""


def legible(value: str) -> str:
    """Refuse what no reader sees: a terminal would obey it, and no XML may hold it.

    Lines may end, as those of a YAML block do.
    """
    for sign in value:
        if unicodedata.category(sign) in _UNSEEN and sign not in "\n\t" + _JOINERS:
            message = f"{shown(value)} holds the character U+{ord(sign):04X}, which nobody sees"
            raise refuse("bad-text", message, "take it out")
    return value


Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(legible)]
"""A few words."""


@dataclass(frozen=True)
class Like:
    """Text that `pattern` describes whole: `what` it is, in words, and an example."""

    pattern: str
    what: str
    example: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^{self.pattern}$"}

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            message = f"{shown(value)} is not {self.what}"
            raise refuse("bad-name", message, f"as in {self.example}")
        return value

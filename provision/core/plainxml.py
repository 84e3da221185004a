"""Reading XML that somebody else wrote: piece by piece, and nothing that it could order us to do.

A document with a document type is refused before anything of it is expanded: entities, external
files and parameters all need one, and no format that is read here has one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol
from xml.parsers import expat


class NotPlain(ValueError):
    """The file is not well-formed XML, or has a document type."""


class Reader(Protocol):
    """What is told of a document's elements, in their order.

    Names are those of ElementTree: ``{namespace}name``.
    """

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def end(self, tag: str, text: str) -> None:
        """An element ends; `text` is what stood in it after its last child, or all of it."""


def read(path: Path, reader: Reader) -> None:
    """Tell `reader` of every element of the file.

    Raises:
        NotPlain: the file is not well-formed XML, or has a document type.
        OSError: it cannot be read.
    """
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    text: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        text.clear()
        reader.start(_tag(name), attributes)

    def end(name: str) -> None:
        reader.end(_tag(name), "".join(text))
        text.clear()

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = _refuse
    try:
        with path.open("rb") as stream:
            parser.ParseFile(stream)
    except expat.ExpatError as error:
        raise NotPlain(f"it is not XML: {error}") from error


def _refuse(name: str, *_: Any) -> None:
    raise NotPlain(f"it has a document type, {name!r}")


def _tag(name: str) -> str:
    return f"{{{name}" if "}" in name else name

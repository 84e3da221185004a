"""What a stage is, and what it is given.

A stage is a module ``provision/image/stage_NAME.py`` (or a package of that name) that offers what
`Stage` lists. It fills ``work.out`` and returns; the engine does the rest: names the result by what
it was made from, keeps it, and makes it the stage's output only when it is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from provision.core.events import Event, EventSink
from provision.core.shapes import Model
from provision.image.definition import Definition
from provision.image.sandbox import Sandbox


@dataclass(frozen=True)
class Given:
    """What one build is given beside its definition: paths of this machine.

    None of it is part of a stage's id by itself: a stage puts into its `Options` what identifies
    the content (a digest, a fingerprint).

    `extra` holds what a single stage is given, by name (``sign.key``); the stage documents it.
    """

    base: Path | None = None
    """The folder of the rehearsal base, where the definition's base is ``rehearsal``."""
    lock: Path | None = None
    """The stack lock."""
    files: Path | None = None
    """The folder with the bytes that the stack lock names."""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageRecord:
    """A stage of this build that is done: its id, the versions of its tools, and the digests of the
    parts of its output, where it has any; both by name.
    """

    id: str
    tools: Mapping[str, str]
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """One run of one stage.

    `inputs` are the outputs of earlier stages by name, never to be written into. `out` is an empty
    folder. `epoch` is what every time stamp written anywhere says, in Unix seconds. `definition`
    holds only the fields that the stage names in READS; asking for another is an error. `stages`
    says by what every stage that this one builds on, near or far, is known.
    """

    stage: str
    definition: Definition
    options: Any
    inputs: Mapping[str, Path]
    out: Path
    epoch: int
    sandbox: Sandbox
    events: EventSink
    given: Given = Given()
    stages: Mapping[str, StageRecord] = field(default_factory=dict)

    def says(self, text: str) -> None:
        """Tell people what the stage does now."""
        self.events.emit(Event("stage.says", phase=self.stage, data={"says": text}))


class Stage(Protocol):
    """What the module of a stage offers."""

    VERSION: int
    """Raised when the stage's output changes for a reason that its source does not show."""
    NEEDS: tuple[str, ...]
    """The stages whose output it reads. Where it reads no more than a part of one, ``PARTS`` maps
    that stage to the part (see `provision.image.parts`), and the part alone decides its id."""
    READS: tuple[str, ...]
    """The fields of the definition that it reads; they are part of its id."""
    TOOLS: tuple[str, ...]
    """The tools whose versions are part of its id: names of programs on the path."""
    Options: type[Model]
    """Its options: frozen, plain data. Paths of this machine have no place in them."""

    def options(self, definition: Definition, given: Given) -> Model:
        """The stage's options for this build.

        Raises:
            HoldfastError: something that the stage needs was not given.
        """
        ...

    def run(self, work: Work) -> None:
        """Fill ``work.out``.

        Raises:
            HoldfastError: what failed.
        """
        ...

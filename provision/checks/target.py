"""What `verify` tells the pytest plugin: which nodes, how to get there, what they should be."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from provision.checks.declaration import Expected


class Target(BaseModel):
    """A node to look at: testinfra's word for how to get there, options of ssh, what it should be.

    `timeout` is how long a look may take, in seconds; `patience` how many times longer than usual
    each command of it may.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    hostspec: str
    arguments: tuple[str, ...]
    expected: Expected
    timeout: int
    patience: int = 1


class Job(BaseModel):
    """The nodes, and the file to append results to."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    targets: tuple[Target, ...]
    results: str

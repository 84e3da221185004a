"""What a control's resources look like on a node, right and broken, derived from each resource.

For each type of resource there is one `Fixture`: what the probes would see where it holds, each way
to deviate from that, and a node in a folder on which the module finds something to do. Nothing here
names a control, so that a new one has its fixtures by being there; a new type has none until it is
added here, and the tests say so.
"""

from __future__ import annotations

from tests.unit.hardening_fixtures import access, audit, files, system
from tests.unit.hardening_fixtures.ground import Fixture, Sight, looker, sample

__all__ = ["FIXTURES", "Sight", "looker", "sample"]

FIXTURES: dict[str, Fixture] = {
    **system.FIXTURES,
    **files.FIXTURES,
    **access.FIXTURES,
    **audit.FIXTURES,
}
"""By type."""

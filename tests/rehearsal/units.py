"""GPU units that the journey of day two changes a rack to."""

from __future__ import annotations

from provision.rehearsal.gpu.packages import Other

NEWER = Other("590.44.01", "1.21.0", kernel="6.18.99-1.hfr10.x86_64")
"""The upgrade: another driver, and a kernel of its own."""
UNTRUSTED = Other("590.48.01", "1.21.1", signer="Somebody else")
"""Modules that another signed than the lock says."""
SWALLOWED = Other("590.50.02", "1.21.2", swallowed=True)
"""Packages that install well and bring no module, as when DKMS failed and said nothing."""
UNITS = (NEWER, UNTRUSTED, SWALLOWED)

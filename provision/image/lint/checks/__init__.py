"""The checks of an image, one file each. Importing this brings them into `CHECKS`."""

from __future__ import annotations

import importlib
import pkgutil

from provision.image.lint.words import CHECKS

__all__ = ["CHECKS"]

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

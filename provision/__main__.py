"""`python -m provision` is `holdfast`."""

from __future__ import annotations

import sys

from provision.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

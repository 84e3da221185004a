"""``python -m provision.health``."""

import sys

from provision.health.cli import main

if __name__ == "__main__":
    sys.exit(main())
